/**
 * Recycled pinned host memory: what the GPU copies from and to without the driver's own staging, and what the wire sends
 * and receives like any other host memory.
 *
 * @module
 */
import { type DipcError, LocalError } from "../../errors.ts";
import type { Block, Body, Pool } from "../block.ts";
import { acquireWaiting } from "./acquire.ts";
import { addEvent, checkFits, type UsedByCopies } from "./device_block.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { CudaPoolOptions } from "./device_pool.ts";
import { type Cell, type RawMemory, SlabAllocator, type SlabStats } from "./slabs.ts";
import type { CopyWaitOptions } from "./wait.ts";

interface Watched {
  readonly cell: Cell;
  readonly generation: number;
  readonly events: readonly DeviceEvent[];
}

/** A block while it has an owner: its cell, its ArrayBuffer once its bytes were read, and the copies that use it. */
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

  /** The ArrayBuffer over the block. From now on views of it may outlive its holder, so it is watched instead. */
  buffer(holder: object): ArrayBuffer {
    if (this.#buffer !== null) return this.#buffer;
    this.unwatch(holder);
    const cell = this.#cell;
    let buffer = cell.buffer;
    cell.buffer = null;
    if (buffer === null) {
      const pointer = Deno.UnsafePointer.create(cell.address)!;
      buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, cell.byteLength) as ArrayBuffer;
    }
    this.#buffer = buffer;
    this.watch(holder);
    return buffer;
  }

  /** Gives the block back once nothing refers to it: no block, no body, and no view into it. */
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

/** What a block and a body have in common: a piece of pinned memory, while they hold it. */
export abstract class PinnedMemory implements UsedByCopies {
  /** Always `"host"`. */
  readonly space = "host";
  /** @ignore Name of the object in messages */
  protected abstract readonly what: string;
  #holding: Holding | null;

  /** @ignore */
  constructor(holding: Holding) {
    this.#holding = holding;
    holding.watch(this);
  }

  usedBy(event: DeviceEvent): void {
    addEvent(this.#held().events, event);
  }

  /** Gives it back to its pool, which recycles it once copies that use it are done; views become empty. Idempotent. */
  release(): void {
    if (this.#holding !== null) this.giveAway().release();
  }

  /** @ignore The ArrayBuffer over all of it */
  protected buffer(): ArrayBuffer {
    return this.#held().buffer(this);
  }

  /** @ignore Ends the hold on it */
  protected giveAway(): Holding {
    const holding = this.#held();
    this.#holding = null;
    holding.unwatch(this);
    return holding;
  }

  #held(): Holding {
    if (this.#holding === null) {
      throw new LocalError("closed", `cannot use ${this.what}: it was given away or released`);
    }
    return this.#holding;
  }
}

/** A writable block of pinned host memory. */
export class PinnedBlock extends PinnedMemory implements Block {
  /** @ignore */
  protected readonly what = "this block";
  /** Usable bytes. */
  readonly capacity: number;
  /** Address of the first byte, a multiple of 256. */
  readonly address: bigint;

  /** @ignore Made by a pool */
  constructor(holding: Holding) {
    super(holding);
    this.capacity = holding.capacity;
    this.address = holding.address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer());
  }

  toBody(byteLength: number): PinnedBody {
    checkFits(byteLength, this.capacity);
    return new PinnedBody(this.giveAway(), byteLength);
  }
}

/** A body in pinned host memory. */
export class PinnedBody extends PinnedMemory implements Body {
  /** @ignore */
  protected readonly what = "this body";
  /** Number of valid bytes. */
  readonly byteLength: number;
  /** Address of the first byte; `0n` for an empty body. */
  readonly address: bigint;

  /** @ignore Made by a block */
  constructor(holding: Holding, byteLength: number) {
    super(holding);
    this.byteLength = byteLength;
    this.address = byteLength === 0 ? 0n : holding.address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer(), 0, this.byteLength);
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

  /** What the pool holds at the moment, and what it has allocated from the driver. */
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
   * Like {@linkcode acquire}; if there is no memory, but copies under way will free some, it waits for them.
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
   * @param buffer The ArrayBuffer that its holder exposed, if any; detached here
   */
  _takeBack(cell: Cell, buffer: ArrayBuffer | null, events: readonly DeviceEvent[]): void {
    if (buffer !== null && buffer.detached) {
      // Its bytes were transferred, perhaps to a worker that still uses them: the block never comes back.
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
