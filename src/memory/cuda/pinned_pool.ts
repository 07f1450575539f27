/**
 * Recycled pinned host memory: what the GPU copies from and to without the driver's own staging, and what the wire sends
 * and receives like any other host memory.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { Block, Body, Pool } from "../block.ts";
import { acquireWaiting } from "./acquire.ts";
import type { UsedByCopies } from "./device_block.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { CudaPoolOptions } from "./device_pool.ts";
import { type Cell, type RawMemory, SlabAllocator, type SlabStats } from "./slabs.ts";
import type { CopyWaitOptions } from "./wait.ts";

interface Watched {
  readonly cell: Cell;
  readonly generation: number;
  readonly events: readonly DeviceEvent[];
}

/** A block while it has an owner: its cell, its ArrayBuffer once somebody has looked inside, and the copies that use it. */
class Holding {
  readonly events: DeviceEvent[] = [];
  #buffer: ArrayBuffer | null = null;
  readonly #pool: PinnedPool;
  readonly #cell: Cell;

  constructor(pool: PinnedPool, cell: Cell) {
    this.#pool = pool;
    this.#cell = cell;
  }

  get address(): bigint {
    return this.#cell.address;
  }

  get capacity(): number {
    return this.#cell.byteLength;
  }

  buffer(): ArrayBuffer {
    if (this.#buffer !== null) return this.#buffer;
    const cell = this.#cell;
    let buffer = cell.buffer;
    cell.buffer = null;
    if (buffer === null) {
      const pointer = Deno.UnsafePointer.create(cell.address)!;
      buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, cell.byteLength) as ArrayBuffer;
    }
    return this.#buffer = buffer;
  }

  usedBy(event: DeviceEvent): void {
    for (let i = this.events.length - 1; i >= 0; i--) {
      if (this.events[i] === event) return;
      if (this.events[i].isFinished()) this.events.splice(i, 1);
    }
    this.events.push(event);
  }

  /** Gives the block back when nothing shows it any more: no block, no body, and no view of its bytes. */
  watch(holder: object): void {
    this.#pool._watch(this.#buffer ?? holder, holder, this.#cell, this.events);
  }

  unwatch(holder: object): void {
    this.#pool._unwatch(holder);
  }

  release(): void {
    this.#pool._takeBack(this.#cell, this.#buffer, this.events);
  }
}

/** A writable block of pinned host memory. */
export class PinnedBlock implements Block, UsedByCopies {
  /** Always `"host"`. */
  readonly space = "host";
  /** Usable bytes. */
  readonly capacity: number;
  /** Address of the first byte, a multiple of 256. */
  readonly address: bigint;
  #holding: Holding | null;

  /** @ignore Made by a pool */
  constructor(holding: Holding) {
    this.#holding = holding;
    this.capacity = holding.capacity;
    this.address = holding.address;
    holding.watch(this);
  }

  usedBy(event: DeviceEvent): void {
    this.#held().usedBy(event);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const holding = this.#held();
    const bytes = new Uint8Array(holding.buffer());
    holding.unwatch(this);
    holding.watch(this);
    return bytes;
  }

  toBody(byteLength: number): PinnedBody {
    const holding = this.#held();
    if (!(byteLength >= 0 && byteLength <= this.capacity)) {
      throw new DipcError("invalid_argument", `a body of ${byteLength} bytes does not fit a block of ${this.capacity}`);
    }
    this.#holding = null;
    holding.unwatch(this);
    return new PinnedBody(holding, byteLength);
  }

  release(): void {
    const holding = this.#holding;
    if (holding === null) return;
    this.#holding = null;
    holding.unwatch(this);
    holding.release();
  }

  #held(): Holding {
    if (this.#holding === null) throw new DipcError("closed", "this block was given away or released");
    return this.#holding;
  }
}

/** A body in pinned host memory. */
export class PinnedBody implements Body, UsedByCopies {
  /** Always `"host"`. */
  readonly space = "host";
  /** Number of valid bytes. */
  readonly byteLength: number;
  /** Address of the first byte; `0n` for an empty body. */
  readonly address: bigint;
  #holding: Holding | null;

  /** @ignore Made by a block */
  constructor(holding: Holding, byteLength: number) {
    this.#holding = holding;
    this.byteLength = byteLength;
    this.address = byteLength === 0 ? 0n : holding.address;
    holding.watch(this);
  }

  usedBy(event: DeviceEvent): void {
    this.#held().usedBy(event);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const holding = this.#held();
    const bytes = new Uint8Array(holding.buffer(), 0, this.byteLength);
    holding.unwatch(this);
    holding.watch(this);
    return bytes;
  }

  release(): void {
    const holding = this.#holding;
    if (holding === null) return;
    this.#holding = null;
    holding.unwatch(this);
    holding.release();
  }

  #held(): Holding {
    if (this.#holding === null) throw new DipcError("closed", "this body was released and its bytes are gone");
    return this.#holding;
  }
}

/** A pool of pinned host memory. */
export class PinnedPool implements Pool {
  /** Always `"host"`. */
  readonly space = "host";
  readonly #slabs: SlabAllocator;
  readonly #registry: FinalizationRegistry<Watched>;

  /** @ignore Made by a device */
  constructor(raw: RawMemory, options: CudaPoolOptions = {}) {
    const slabs = this.#slabs = new SlabAllocator(raw, {
      maxRetainedBytes: options.maxRetainedBytes ?? 256 << 20,
      maxBytes: options.maxBytes ?? Infinity,
    });
    this.#registry = new FinalizationRegistry<Watched>(({ cell, generation, events }) => {
      if (cell.generation === generation) slabs.giveBack(cell, events, true);
    });
  }

  /** What the pool holds at the moment, and what it has asked of the driver. */
  get stats(): SlabStats {
    return this.#slabs.stats;
  }

  /**
   * A block of at least `byteLength` bytes.
   *
   * @throws {DipcError} `out_of_memory`, `invalid_argument`, `closed`, `cuda`
   */
  acquire(byteLength: number): PinnedBlock {
    return new PinnedBlock(new Holding(this, this.#slabs.take(byteLength)));
  }

  /**
   * Like {@linkcode acquire}; where there is no memory, but copies are about to free some, it waits for them.
   *
   * @throws {DipcError} `out_of_memory`, `invalid_argument`, `closed`, `cuda`, `timeout`, `cancelled`
   */
  acquireWaiting(byteLength: number, options: CopyWaitOptions = {}): Promise<PinnedBlock> {
    return acquireWaiting(this.#slabs, () => this.acquire(byteLength), options);
  }

  /** @ignore */
  _watch(target: object, token: object, cell: Cell, events: readonly DeviceEvent[]): void {
    this.#registry.register(target, { cell, generation: cell.generation, events }, token);
  }

  /** @ignore */
  _unwatch(token: object): void {
    this.#registry.unregister(token);
  }

  /**
   * @ignore
   * @param buffer What its holder has shown of it; detached from now on
   */
  _takeBack(cell: Cell, buffer: ArrayBuffer | null, events: readonly DeviceEvent[]): void {
    if (buffer !== null && buffer.detached) {
      // Its bytes were transferred, perhaps to a worker that still shows them: the block is theirs for good.
      this.#slabs.forget(cell);
      return;
    }
    if (buffer !== null) cell.buffer = buffer.transfer();
    this.#slabs.giveBack(cell, events);
  }

  /** @ignore Called by the device, once copies are done. @returns why the driver refused to take memory back, if it did */
  _close(): DipcError | null {
    this.#slabs.close();
    return this.#slabs.firstFailure;
  }

  /** @ignore Whether all memory went back to the driver. */
  get _isEmpty(): boolean {
    return this.#slabs.isEmpty;
  }
}
