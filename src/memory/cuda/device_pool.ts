/**
 * Recycled device memory for bodies.
 *
 * @module
 */
import type { DipcError } from "../../errors.ts";
import type { Pool } from "../block.ts";
import { type BlockOwner, DeviceBlock } from "./device_block.ts";
import type { DeviceEvent } from "./device_event.ts";
import { acquireWaiting } from "./acquire.ts";
import { type Cell, type RawMemory, SlabAllocator, type SlabStats } from "./slabs.ts";
import type { CopyWaitOptions } from "./wait.ts";

/** Limits of a {@linkcode DevicePool} or {@linkcode PinnedPool}. */
export interface CudaPoolOptions {
  /**
   * Most bytes of free blocks that stay allocated.
   *
   * @default {536870912} of a device, {268435456} pinned
   */
  maxRetainedBytes?: number;
  /**
   * Most bytes allocated from the driver at once; beyond it `acquire` throws `out_of_memory`.
   *
   * @default {Infinity} what the driver has
   */
  maxBytes?: number;
}

interface Watched {
  readonly cell: Cell;
  readonly generation: number;
  readonly events: readonly DeviceEvent[];
}

/** A pool of device memory. */
export class DevicePool implements Pool {
  /** `"cuda:N"`. */
  readonly space: string;
  readonly #slabs: SlabAllocator;
  readonly #owner: BlockOwner;

  /** @ignore Made by a device */
  constructor(space: string, raw: RawMemory, options: CudaPoolOptions = {}) {
    this.space = space;
    const slabs = this.#slabs = new SlabAllocator(raw, {
      maxRetainedBytes: options.maxRetainedBytes ?? 512 << 20,
      maxBytes: options.maxBytes ?? Infinity,
    });
    const registry = new FinalizationRegistry<Watched>(({ cell, generation, events }) => {
      if (cell.generation === generation) slabs.giveBack(cell, events, true);
    });
    this.#owner = {
      space,
      giveBack: (cell: Cell, events) => slabs.giveBack(cell, events),
      watch: (holder, cell: Cell, events) =>
        registry.register(holder, { cell, generation: cell.generation, events }, holder),
      unwatch: (holder) => void registry.unregister(holder),
    };
  }

  /** What the pool holds at the moment, and what it has allocated from the driver. */
  get stats(): SlabStats {
    return this.#slabs.stats;
  }

  /**
   * A block of at least `byteLength` bytes. Its content is undefined.
   *
   * @throws {DipcError} `out_of_memory` beyond `maxBytes` or if the driver has no more; `invalid_argument`, `closed`, `cuda`
   */
  acquire(byteLength: number): DeviceBlock {
    return new DeviceBlock(this.#owner, this.#slabs.take(byteLength));
  }

  /**
   * Like {@linkcode acquire}; if there is no memory, but copies under way will free some, it waits for them.
   *
   * @throws {DipcError} `out_of_memory`, `invalid_argument`, `closed`, `cuda`, `timeout`, `cancelled`
   */
  acquireWaiting(byteLength: number, options: CopyWaitOptions = {}): Promise<DeviceBlock> {
    return acquireWaiting(this.#slabs, () => this.acquire(byteLength), options);
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
