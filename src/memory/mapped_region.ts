/**
 * Memory of a server that is mapped here to be read in place: checked before it is mapped, mapped privately, unmapped once nothing of
 * it is in use.
 *
 * A program may write into a column. The system then gives the page to this process alone, so nobody else sees that; once the body is
 * released, such pages are dropped, so that the next body there is not hidden by them. No page is written to without a page fault, so
 * only if there was one does it have to be asked which pages those are; as even that takes as long as copying some kilobytes, it is
 * done for many bodies at once.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { libc } from "../../ffi/libc.ts";
import { pageFaults } from "../../ffi/page_faults.ts";
import {
  dropPrivatePages,
  hasPrivatePages,
  isPlainMemory,
  mapDescriptor,
  MEMORY_CONSTANTS,
  openPagemap,
  pageBytes,
  sealsOf,
  sizeOfDescriptor,
  unmap,
} from "../../ffi/shared_memory.ts";
import type { Body } from "./block.ts";
import { hostPool } from "./host_pool.ts";
import type { LentRegion, LentRegionOptions, ScatteredBody } from "./lent_region.ts";
import { MemoryPressure } from "./pressure.ts";
import { type Watchable, watchLater } from "./watch_later.ts";

const { F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE } = MEMORY_CONSTANTS;

/** A part of the memory that is in use here. */
interface Part {
  readonly region: MappedRegion;
  readonly start: number;
  readonly byteLength: number;
  /** What is given back when the part is not used any more. */
  readonly addresses: readonly bigint[];
  /** Page faults of this process at some time before anybody could write to it; `null` if nobody could. */
  faults: number | null;
}

/** Page faults of this process when they were counted last. */
let knownFaults = NaN;

const registry = new FinalizationRegistry<Part>((part) => part.region._release(part));

/** A mapping. */
export class MappedRegion implements LentRegion {
  /** Its size in bytes. */
  readonly byteLength: number;
  /** Whether nobody can write to the memory any more, not even the server. */
  readonly isConstant: boolean;
  readonly #address: bigint;
  readonly #onFree: LentRegionOptions["onFree"];
  readonly #onUnused: () => void;
  readonly #onResting: () => void;
  readonly #pressure = new MemoryPressure(() => this.#bytesOut);
  /** Opened when it is first needed. */
  #pagemap: number | null = null;
  #bytesOut = 0;
  #parts = 0;
  /** Parts that were released, and may have been written to. */
  #unsettled: Part[] = [];
  #isResting = false;
  #isClosed = false;

  private constructor(address: bigint, byteLength: number, isConstant: boolean, options: LentRegionOptions) {
    this.#address = address;
    this.byteLength = byteLength;
    this.isConstant = isConstant;
    this.#onFree = options.onFree;
    this.#onUnused = options.onUnused;
    this.#onResting = options.onResting;
  }

  /**
   * Checks what a server has handed over, and maps it.
   *
   * @param fd The descriptor; stays the caller's
   * @param byteLength Size of the memory as the server says
   * @param options What is called later
   * @throws {DipcError} `protocol` if it is not memory of that size which is sealed against shrinking and against writers other than
   * the server, `out_of_memory` if it cannot be mapped
   */
  static map(fd: number, byteLength: number, options: LentRegionOptions): MappedRegion {
    const seals = sealsOf(fd);
    // Without these the server could take pages away, and this process would die when it reads them.
    if (seals < 0 || !isPlainMemory(fd)) throw refused("the descriptor is not a memfd of ordinary pages");
    const size = F_SEAL_SHRINK | F_SEAL_GROW;
    if ((seals & size) !== size || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) === 0) {
      throw refused(`its seals are ${seals}, expected those against shrinking, growing and further writers`);
    }
    const actual = sizeOfDescriptor(fd);
    if (actual !== byteLength) throw refused(`it has ${actual} bytes, the server says ${byteLength}`);
    const address = mapDescriptor(fd, byteLength, "private");
    if (address === null) {
      throw new LocalError("out_of_memory", `cannot map the server's memory: the system refused ${byteLength} bytes`);
    }
    return new MappedRegion(address, byteLength, (seals & F_SEAL_WRITE) !== 0, options);
  }

  /** Parts in use. */
  get parts(): number {
    return this.#parts;
  }

  body(start: number, byteLength: number, addresses: readonly bigint[]): Body {
    this.#parts++;
    this.#bytesOut += byteLength;
    // Memory that is never used again costs nobody anything.
    if (!this.isConstant && this.#bytesOut > this.#pressure.threshold) this.#pressure.press(byteLength);
    const part = { region: this, start, byteLength, addresses, faults: null };
    return new MappedBody(part, this.#address + BigInt(start));
  }

  gather({ offsets, buffers, byteLength, addresses }: ScatteredBody): Body {
    const block = hostPool().acquire(byteLength);
    const target = block.bytes();
    target.fill(0, 0, byteLength);
    for (let i = 0; i < offsets.length; i++) {
      const at = buffers[2 * i], length = buffers[2 * i + 1];
      if (length > 0) this.#copy(offsets[i], target.subarray(at, at + length));
    }
    // There may be nothing but padding.
    if (addresses.length > 0) this.#onFree(addresses, byteLength);
    return block.toBody(byteLength);
  }

  settle(): void {
    if (this.#unsettled.length === 0) return;
    knownFaults = pageFaults();
    for (const { start, byteLength, faults } of this.#unsettled) {
      if (faults !== knownFaults) this.#dropWritten(start, byteLength);
    }
    this.#unsettled.length = 0;
  }

  rest(): void {
    this.#isResting = true;
    this.#checkUnused();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#checkUnused();
  }

  /** @ignore */
  _release(part: Part): void {
    const { byteLength, addresses } = part;
    if (part.faults !== null) this.#unsettled.push(part);
    this.#parts--;
    this.#bytesOut -= byteLength;
    this.#onFree(addresses, this.isConstant ? 0 : byteLength);
    this.#checkUnused();
  }

  #copy(start: number, target: Uint8Array<ArrayBuffer>): void {
    Deno.UnsafePointerView.copyInto(Deno.UnsafePointer.create(this.#address + BigInt(start))!, target);
  }

  #dropWritten(start: number, byteLength: number): void {
    const page = pageBytes();
    const from = start - start % page;
    const bytes = Math.ceil((start + byteLength - from) / page) * page;
    const address = this.#address + BigInt(from);
    this.#pagemap ??= openPagemap();
    if (this.#pagemap < 0 || hasPrivatePages(this.#pagemap, address, bytes)) dropPrivatePages(address, bytes);
  }

  #checkUnused(): void {
    if (this.#parts > 0) return;
    if (this.#isClosed) {
      this.#unsettled.length = 0;
      unmap(this.#address, this.byteLength);
      if (this.#pagemap !== null && this.#pagemap >= 0) libc().close(this.#pagemap);
      this.#onUnused();
    } else if (this.#isResting) {
      this.#isResting = false;
      this.settle();
      this.#onResting();
    }
  }
}

class MappedBody implements Body, Watchable {
  readonly space = "host";
  readonly byteLength: number;
  readonly #address: bigint;
  #part: Part | null;
  #buffer: ArrayBuffer | null = null;
  #watched: object | null = null;

  constructor(part: Part, address: bigint) {
    this.#part = part;
    this.byteLength = part.byteLength;
    this.#address = address;
    watchLater(this);
  }

  get isReleased(): boolean {
    return this.#part === null;
  }

  get isChangeable(): boolean {
    return this.#part !== null && !this.#part.region.isConstant;
  }

  get address(): bigint {
    if (this.#part === null) return 0n;
    expose(this.#part);
    return this.#address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const part = this.#part;
    if (part === null) throw new LocalError("closed", "cannot read this body: it was released");
    if (this.#buffer === null) {
      expose(part);
      const pointer = Deno.UnsafePointer.create(this.#address)!;
      this.#buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, this.byteLength) as ArrayBuffer;
      // From now on a column may outlive the body.
      if (this.#watched !== null) this.watch();
    }
    return new Uint8Array(this.#buffer);
  }

  watch(): void {
    if (this.#watched !== null) registry.unregister(this.#watched);
    this.#watched = this.#buffer ?? this;
    registry.register(this.#watched, this.#part!, this.#watched);
  }

  release(): void {
    const part = this.#part;
    if (part === null) return;
    this.#part = null;
    if (this.#watched !== null) registry.unregister(this.#watched);
    const buffer = this.#buffer;
    this.#buffer = this.#watched = null;
    // If its bytes were transferred, perhaps to a worker that still uses them, the part never comes back.
    if (buffer !== null && buffer.detached) return;
    buffer?.transfer(0);
    part.region._release(part);
  }
}

/** From now on a part can be written to. */
function expose(part: Part): void {
  part.faults ??= knownFaults;
}

function refused(why: string): LocalError {
  return new LocalError("protocol", `cannot map the server's memory: ${why}`);
}
