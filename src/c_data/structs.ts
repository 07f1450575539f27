/**
 * Layouts of the structures of Arrow's C interfaces on 64-bit systems, and native memory for one of them.
 *
 * The specification's header is `arrow/c/abi.h`; `native/c_data/layout.c` checks every offset against it.
 *
 * @module
 */
import { allocate, callPointer } from "../../ffi/raw_memory.ts";
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../errors.ts";
import { readAddress, zeroAddress } from "./raw.ts";

/** Sizes and byte offsets, by the C names of the structures and fields. */
export const C_LAYOUT = {
  ArrowSchema: {
    ...{ size: 72, format: 0, name: 8, metadata: 16, flags: 24, n_children: 32, children: 40, dictionary: 48 },
    ...{ release: 56, private_data: 64 },
  },
  ArrowArray: {
    ...{ size: 80, length: 0, null_count: 8, offset: 16, n_buffers: 24, n_children: 32, buffers: 40, children: 48 },
    ...{ dictionary: 56, release: 64, private_data: 72 },
  },
  ArrowArrayStream: { size: 40, get_schema: 0, get_next: 8, get_last_error: 16, release: 24, private_data: 32 },
  ArrowDeviceArray: { size: 128, array: 0, device_id: 80, device_type: 88, sync_event: 96, reserved: 104 },
  ArrowDeviceArrayStream: {
    ...{ size: 48, device_type: 0, get_schema: 8, get_next: 16, get_last_error: 24, release: 32, private_data: 40 },
  },
  ArrowAsyncTask: { size: 16, extract_data: 0, private_data: 8 },
  ArrowAsyncProducer: { size: 40, device_type: 0, request: 8, cancel: 16, additional_metadata: 24, private_data: 32 },
  ArrowAsyncDeviceStreamHandler: {
    ...{ size: 48, on_schema: 0, on_next_task: 8, on_error: 16, release: 24, producer: 32, private_data: 40 },
  },
} as const satisfies Record<string, Record<string, number>>;

/** Flags of an `ArrowSchema`. */
export const SCHEMA_FLAGS = { dictionaryOrdered: 1, nullable: 2, mapKeysSorted: 4 } as const;

/** `ArrowDeviceType`: the kinds of device whose memory dipc knows. */
export const DEVICE_TYPE = { cpu: 1, cuda: 2, cudaHost: 3, rocmHost: 11, cudaManaged: 13 } as const;

/** The structures that are released by a callback of their own, and so can be moved. */
export type ReleasableName =
  | "ArrowSchema"
  | "ArrowArray"
  | "ArrowArrayStream"
  | "ArrowDeviceArray"
  | "ArrowDeviceArrayStream";

/** Offset of the release callback of a structure in bytes. */
function releaseOffset(name: ReleasableName): number {
  return name === "ArrowDeviceArray" ? C_LAYOUT.ArrowArray.release : C_LAYOUT[name].release;
}

/**
 * Moves a structure: its bytes are copied, and the source is marked as released, so that only the copy is to be released.
 *
 * @param name Which structure
 * @param source Address of the structure to move
 * @param target Address of memory for one structure of the kind
 * @returns Address of the release callback
 * @throws {DipcError} `invalid_argument` if the source is a null pointer or was released or moved before
 */
export function moveStruct(name: ReleasableName, source: bigint, target: bigint): bigint {
  const at = BigInt(releaseOffset(name));
  if (source === 0n) {
    throw new DipcError("invalid_argument", `cannot take over an ${name}: its address is 0; give that of a structure`);
  }
  const release = readAddress(source + at);
  if (release === 0n) {
    throw new DipcError(
      "invalid_argument",
      `cannot take over an ${name}: it was released or moved before; give one that is not`,
    );
  }
  const { memcpy } = libc();
  memcpy(target, source, BigInt(C_LAYOUT[name].size));
  memcpy(source + at, zeroAddress(), 8n);
  return release;
}

/** Calls the release callback of a structure, if it was not released or moved before. */
export function releaseStruct(name: ReleasableName, address: bigint): void {
  const release = readAddress(address + BigInt(releaseOffset(name)));
  if (release !== 0n) callPointer(release, address, address);
}

/**
 * Native memory for one structure: the place where a C function is to put what it exports, or from which it takes what it
 * imports. It begins as released.
 *
 * @example Usage
 * ```ts ignore
 * using array = new CStruct("ArrowArray");
 * using schema = new CStruct("ArrowSchema");
 * exportRecordBatch(batch, array.address, schema.address);
 * library.symbols.consume(array.address, schema.address);
 * ```
 */
export class CStruct implements Disposable {
  /** Which structure it is. */
  readonly name: ReleasableName;
  #address: bigint;

  /**
   * Allocates it.
   *
   * @param name Which structure
   * @throws {DipcError} `out_of_memory`, `permission_denied` without `--allow-ffi`
   */
  constructor(name: ReleasableName) {
    this.name = name;
    const { size } = C_LAYOUT[name];
    this.#address = allocate(size);
    libc().memcpy(this.#address, zeroAddress(), BigInt(size));
  }

  /** Its address, valid until it is disposed. @throws {DipcError} `closed` */
  get address(): bigint {
    if (this.#address === 0n) throw new DipcError("closed", `cannot use this ${this.name}: it was disposed`);
    return this.#address;
  }

  /** Whether there is nothing in it to be released. @throws {DipcError} `closed` */
  get isReleased(): boolean {
    return readAddress(this.address + BigInt(releaseOffset(this.name))) === 0n;
  }

  /** Calls the release callback of what is in it, if there is something, and frees the memory. Idempotent. */
  [Symbol.dispose](): void {
    const address = this.#address;
    if (address === 0n) return;
    this.#address = 0n;
    releaseStruct(this.name, address);
    libc().free(address);
  }
}
