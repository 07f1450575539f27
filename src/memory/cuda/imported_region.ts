/**
 * Memory of a server on the same GPU, read in place.
 *
 * @module
 */
import type { Body } from "../block.ts";
import type { LentRegion, LentRegionOptions, ScatteredBody } from "../lent_region.ts";
import type { Gpu } from "./device.ts";
import { addEvent, type BlockOwner, DeviceBody, type DeviceCell } from "./device_block.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { OpenedMemory } from "./ipc.ts";
import type { CopyWaitOptions } from "./wait.ts";

/** A part of the memory that is in use here. */
interface Part extends DeviceCell {
  readonly region: ImportedRegion;
  readonly byteLength: number;
  /** What is given back when the part is not used any more. */
  readonly addresses: readonly bigint[];
}

interface Watched {
  readonly part: Part;
  readonly events: readonly DeviceEvent[];
}

const registry = new FinalizationRegistry<Watched>(({ part, events }) => part.region._giveBack(part, events));

/** What a server says of its memory. */
export interface ImportedMemoryFacts {
  /** Differs for every memory of a server. */
  readonly generation: bigint;
  /** Its size in bytes. */
  readonly byteLength: number;
  /** Its `CUipcMemHandle`. */
  readonly memory: Uint8Array;
  /** `CUipcEventHandle` of the event after which it is filled; `null` if it is already. */
  readonly event: Uint8Array | null;
}

/** The memory. Its bodies are given back once copies that use them are done. */
export class ImportedRegion implements LentRegion {
  readonly #device: Gpu;
  readonly #memory: OpenedMemory;
  readonly #options: LentRegionOptions;
  readonly #owner: BlockOwner;
  #parts = 0;
  #isClosed = false;

  private constructor(device: Gpu, memory: OpenedMemory, options: LentRegionOptions) {
    this.#device = device;
    this.#memory = memory;
    this.#options = options;
    this.#owner = {
      space: device.space,
      giveBack: (part: Part, events) => this._giveBack(part, events),
      watch: (holder, part: Part, events) => registry.register(holder, { part, events }, holder),
      unwatch: (holder) => void registry.unregister(holder),
    };
  }

  /**
   * Opens it, and waits until it is filled.
   *
   * @param device GPU on which it lies
   * @param facts What the server says of it
   * @param options What is called later; the longest wait
   * @throws {DipcError} `protocol` if the memory is shorter, or of another GPU; `timeout`; what the driver reports
   */
  static async open(
    device: Gpu,
    facts: ImportedMemoryFacts,
    options: LentRegionOptions & CopyWaitOptions,
  ): Promise<ImportedRegion> {
    const memory = device.ipc.open(facts.memory, facts.generation, facts.byteLength);
    try {
      if (facts.event !== null) await device.ipc.wait(facts.event, options);
      return new ImportedRegion(device, memory, options);
    } catch (error) {
      device.ipc.close(memory);
      throw error;
    }
  }

  body(start: number, byteLength: number, addresses: readonly bigint[]): Body {
    this.#parts++;
    const part: Part = {
      region: this,
      slab: this.#memory,
      address: this.#memory.address + BigInt(start),
      byteLength,
      addresses,
    };
    return new DeviceBody(this.#owner, part, [], byteLength);
  }

  gather({ offsets, buffers, byteLength, addresses }: ScatteredBody): Body {
    const { copies, pool } = this.#device;
    const block = pool.acquire(byteLength);
    const events: DeviceEvent[] = [];
    const uses = [block, { usedBy: (event: DeviceEvent) => addEvent(events, event) }];
    this.#parts++;
    try {
      let last = copies.fill(block.address, 0, byteLength, { uses });
      for (let i = 0; i < offsets.length; i++) {
        const at = BigInt(buffers[2 * i]), length = buffers[2 * i + 1];
        if (length === 0) continue;
        const source = this.#memory.address + BigInt(offsets[i]);
        last = copies.copyOnDevice(block.address + at, source, length, { uses });
      }
      return block.toBody(byteLength, last);
    } catch (error) {
      block.release();
      throw error;
    } finally {
      this.#device.ipc.afterCopies.run(events, () => this.#free(addresses, byteLength));
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closeUnused();
  }

  /** @ignore */
  _giveBack({ addresses, byteLength }: Part, events: readonly DeviceEvent[]): void {
    this.#device.ipc.afterCopies.run(events, () => this.#free(addresses, byteLength));
  }

  #free(addresses: readonly bigint[], byteLength: number): void {
    this.#parts--;
    // There may be nothing but padding.
    if (addresses.length > 0) this.#options.onFree(addresses, byteLength);
    this.#closeUnused();
  }

  #closeUnused(): void {
    if (!this.#isClosed || this.#parts > 0) return;
    this.#device.ipc.close(this.#memory);
    this.#options.onUnused();
  }
}
