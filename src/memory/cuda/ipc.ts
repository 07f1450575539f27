/**
 * Memory of a GPU that several processes use, by CUDA IPC: made here for others, or opened here.
 *
 * CUDA counts how often a process has opened memory; here that happens once, whoever uses it. Memory must not be freed before all
 * others have closed it: its owner sees to that.
 *
 * @module
 */
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import { MIB } from "../../bytes.ts";
import { type DipcError, LocalError } from "../../errors.ts";
import { AfterCopies } from "./after_copies.ts";
import { ExportedMemory, type IpcDevice } from "./exported_memory.ts";
import { checkDeviceRange } from "./pointer.ts";
import { type CopyWaitOptions, waitUntil } from "./wait.ts";

/** The driver hands out whole blocks of this size: whatever else lies in them can be read, too. */
const BLOCK_BYTES = 2 * MIB;

/** Memory of another process. */
export interface OpenedMemory {
  /** Device address of its first byte in this process. */
  readonly address: bigint;
  /** Its size in bytes, at least. */
  readonly byteLength: number;
}

interface Opened extends OpenedMemory {
  readonly key: string;
  byteLength: number;
  users: number;
}

/** What one GPU shares with other processes. */
export class DeviceIpc {
  /** What waits for copies before it goes back. */
  readonly afterCopies: AfterCopies = new AfterCopies();
  readonly #device: IpcDevice;
  readonly #opened = new Map<string, Opened>();
  readonly #onEmpty: () => void;
  #exported = 0;
  /** Why the driver refused to take something back, the first time it did. */
  firstFailure: DipcError | null = null;

  /**
   * @param device The GPU
   * @param onEmpty Called when nothing is shared any more
   */
  constructor(device: IpcDevice, onEmpty: () => void) {
    this.#device = device;
    this.#onEmpty = onEmpty;
  }

  /** Whether nothing is shared. */
  get isEmpty(): boolean {
    return this.#exported === 0 && this.#opened.size === 0;
  }

  /**
   * Makes memory that other processes can open.
   *
   * @param byteLength Its size in bytes, at least
   * @throws {DipcError} `out_of_memory`; `unsupported` or what the driver reports if it does not share memory
   */
  export(byteLength: number): ExportedMemory {
    const { symbols, context, space } = this.#device;
    const size = Math.max(1, Math.ceil(byteLength / BLOCK_BYTES)) * BLOCK_BYTES;
    const out = new BigUint64Array(1);
    this.#check(
      context.run(() => symbols.cuMemAlloc_v2(out, BigInt(size))),
      `allocate ${size} bytes of device memory of ${space}`,
    );
    const address = out[0];
    this.#exported++;
    const memory = new ExportedMemory(this.#device, this.afterCopies, address, size, (failure) => {
      this.#exported--;
      this.#released(failure);
    });
    try {
      const result = context.run(() => memory._share());
      this.#check(result, `share memory of ${space}`, "this driver or system has no CUDA IPC: leave share out");
      return memory;
    } catch (error) {
      memory.free();
      throw error;
    }
  }

  /**
   * Opens memory of another process. To be given to {@linkcode close} as often as it was opened.
   *
   * @param handle Its `CUipcMemHandle`
   * @param generation Differs for every memory of a process
   * @param byteLength How much of it is used, in bytes
   * @throws {DipcError} `protocol` if it is shorter, or not memory of this GPU; what the driver reports
   */
  open(handle: Uint8Array, generation: bigint, byteLength: number): OpenedMemory {
    const key = `${generation} ${handle.toHex()}`;
    const opened = this.#opened.get(key) ?? this.#openNew(key, handle);
    try {
      if (byteLength > opened.byteLength) this.#checkRange(opened, byteLength);
      opened.users++;
      return opened;
    } catch (error) {
      if (opened.users === 0) this.#close(opened);
      throw error;
    }
  }

  /** Ends one use of memory of another process; after the last one it is closed. */
  close(memory: OpenedMemory): void {
    const opened = memory as Opened;
    if (--opened.users === 0) this.#close(opened);
  }

  /**
   * Waits for an event of another process. No stream waits for it: it would stand still with that process.
   *
   * @param handle Its `CUipcEventHandle`
   * @param options Time-out and signal
   * @throws {DipcError} `timeout`, `cancelled`; what the driver reports
   */
  async wait(handle: Uint8Array, options: CopyWaitOptions): Promise<void> {
    const { symbols, context, space } = this.#device;
    const out = new BigUint64Array(1);
    const action = `wait for an event of another process on ${space}`;
    this.#check(context.run(() => symbols.cuIpcOpenEventHandle(out, handle.slice())), action);
    const isDone = (): boolean => {
      const result = context.run(() => symbols.cuEventQuery(out[0]));
      if (result === CUDA.CUDA_ERROR_NOT_READY) return false;
      this.#check(result, action);
      return true;
    };
    try {
      await waitUntil(isDone, action, options);
    } finally {
      this.firstFailure ??= this.#device._release(
        "close an event of another process",
        () => symbols.cuEventDestroy_v2(out[0]),
      );
    }
  }

  #openNew(key: string, handle: Uint8Array): Opened {
    const { symbols, context, space } = this.#device;
    const out = new BigUint64Array(1);
    const flags = CUDA.CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS;
    const result = context.run(() => symbols.cuIpcOpenMemHandle_v2(out, handle.slice(), flags));
    this.#check(result, `open memory of another process on ${space}`);
    const opened: Opened = { key, address: out[0], byteLength: 0, users: 0 };
    this.#opened.set(key, opened);
    return opened;
  }

  /** @throws {DipcError} `protocol` */
  #checkRange(opened: Opened, byteLength: number): void {
    const { symbols, context, space, info } = this.#device;
    try {
      context.run(() =>
        checkDeviceRange(symbols, space, info.ordinal, opened.address, byteLength, "memory of another process")
      );
    } catch (cause) {
      throw new LocalError(
        "protocol",
        `cannot open memory of another process: it is said to have ${byteLength} bytes in ${space}, and has not`,
        { cause },
      );
    }
    opened.byteLength = byteLength;
  }

  #close(opened: Opened): void {
    this.#opened.delete(opened.key);
    const { symbols } = this.#device;
    const close = (): number => symbols.cuIpcCloseMemHandle(opened.address);
    this.#released(this.#device._release("close memory of another process", close));
  }

  #released(failure: DipcError | null): void {
    this.firstFailure ??= failure;
    if (this.isEmpty) this.#onEmpty();
  }

  #check(result: number, action: string, advice?: string): void {
    if (result !== CUDA.CUDA_SUCCESS) throw cudaError(this.#device.symbols, result, action, advice);
  }
}
