/**
 * Memory of a GPU that other processes can open.
 *
 * @module
 */
import { CUDA, CUDA_SIZES } from "../../../ffi/cuda_constants.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import type { DipcError } from "../../errors.ts";
import type { AfterCopies } from "./after_copies.ts";
import type { PrimaryContext } from "./context.ts";
import type { CopyEngine } from "./copies.ts";
import { addEvent, type BlockOwner, DeviceBody, type DeviceCell } from "./device_block.ts";
import type { DeviceEvent } from "./device_event.ts";

/** What it needs of a GPU. */
export interface IpcDevice {
  readonly symbols: CudaSymbols;
  readonly context: PrimaryContext;
  readonly copies: CopyEngine;
  /** `"cuda:N"`. */
  readonly space: string;
  readonly info: { readonly ordinal: number };
  /** Gives something back to the driver. @returns why that failed */
  _release(action: string, call: () => number): DipcError | null;
}

/** Memory, and the bodies in it. Its owner frees it, once no other process has it open. */
export class ExportedMemory {
  /** Device address of its first byte. */
  readonly address: bigint;
  /** Its size in bytes. */
  readonly byteLength: number;
  /** Its `CUipcMemHandle`. */
  readonly handle: Uint8Array<ArrayBuffer> = new Uint8Array(CUDA_SIZES.CUipcMemHandle);
  /** `CUipcEventHandle` of the event after which it is filled; done as long as it is not recorded. */
  readonly event: Uint8Array<ArrayBuffer> = new Uint8Array(CUDA_SIZES.CUipcEventHandle);
  readonly #device: IpcDevice;
  readonly #afterCopies: AfterCopies;
  readonly #onFreed: (failure: DipcError | null) => void;
  readonly #events: DeviceEvent[] = [];
  readonly #owner: BlockOwner;
  /** `CUevent`; 0 if there is none. */
  #event = 0n;
  #isFreed = false;

  /** @ignore Made by `DeviceIpc.export` */
  constructor(
    device: IpcDevice,
    afterCopies: AfterCopies,
    address: bigint,
    byteLength: number,
    onFreed: (failure: DipcError | null) => void,
  ) {
    this.#device = device;
    this.#afterCopies = afterCopies;
    this.address = address;
    this.byteLength = byteLength;
    this.#onFreed = onFreed;
    this.#owner = {
      space: device.space,
      giveBack: (_cell, events) => {
        for (const event of events) this.usedBy(event);
      },
      watch: () => {},
      unwatch: () => {},
    };
  }

  /**
   * A part of it as a body, whose release frees nothing.
   *
   * @param offset Offset of its first byte
   * @param byteLength Its size in bytes
   */
  body(offset: number, byteLength: number): DeviceBody {
    const cell: DeviceCell = { slab: this, address: this.address + BigInt(offset) };
    return new DeviceBody(this.#owner, cell, [], byteLength);
  }

  /** It is freed after this event. */
  usedBy(event: DeviceEvent): void {
    addEvent(this.#events, event);
  }

  /** @ignore Has the driver make its handles. @returns a `CUresult`; the context is current */
  _share(): number {
    const { symbols } = this.#device;
    const result = symbols.cuIpcGetMemHandle(this.handle, this.address);
    if (result !== CUDA.CUDA_SUCCESS) return result;
    const out = new BigUint64Array(1);
    const made = symbols.cuEventCreate(out, CUDA.CU_EVENT_DISABLE_TIMING | CUDA.CU_EVENT_INTERPROCESS);
    if (made !== CUDA.CUDA_SUCCESS) return made;
    this.#event = out[0];
    return symbols.cuIpcGetEventHandle(this.event, this.#event);
  }

  /**
   * Records the event that other processes wait for: from then on it is done when the copies are.
   *
   * @param last The end of the last copy that fills the memory
   * @returns the same for this process
   * @throws {DipcError} what the driver reports
   */
  filledAfter(last: DeviceEvent): DeviceEvent {
    return this.#device.copies.record(this.#event, { after: [last], uses: [this] });
  }

  /** Frees it once copies that use it are done. Idempotent. */
  free(): void {
    if (this.#isFreed) return;
    this.#isFreed = true;
    const { symbols, space } = this.#device;
    this.#afterCopies.run(this.#events, () => {
      const event = this.#event;
      const destroyed = event === 0n
        ? null
        : this.#device._release(`destroy an event of ${space}`, () => symbols.cuEventDestroy_v2(event));
      const freed = this.#device._release(`free device memory of ${space}`, () => symbols.cuMemFree_v2(this.address));
      this.#onFreed(destroyed ?? freed);
    });
  }
}
