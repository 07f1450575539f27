/**
 * What the driver knows of an address.
 *
 * @module
 */
import { addressOf } from "../../../ffi/libc.ts";
import { CUDA } from "../../../ffi/cuda_constants.ts";
import { cudaError } from "../../../ffi/cuda_status.ts";
import type { CudaSymbols } from "../../../ffi/cuda_symbols.ts";
import { LocalError } from "../../errors.ts";
import { deviceSpace } from "./space.ts";

/** Kind of memory: of a device; pinned or registered host memory; managed (both); or nothing that the driver knows. */
export type PointerKind = "device" | "host" | "managed" | "unknown";

/** What the driver knows of an address. */
export interface PointerInfo {
  /** Kind of memory. */
  readonly kind: PointerKind;
  /** Number of the device that it belongs to, or `null` if the kind is `"unknown"`. */
  readonly ordinal: number | null;
  /** `CUcontext` in which it was allocated; `0n` for none in particular. */
  readonly context: bigint;
  /** First byte of the allocation around it; `0n` if the kind is `"unknown"`. */
  readonly rangeAddress: bigint;
  /** Bytes of that allocation. */
  readonly rangeByteLength: bigint;
  /** Whether another process on this machine may be given it by CUDA IPC. */
  readonly isIpcCapable: boolean;
}

const ATTRIBUTES = new Int32Array([
  CUDA.CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
  CUDA.CU_POINTER_ATTRIBUTE_IS_MANAGED,
  CUDA.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
  CUDA.CU_POINTER_ATTRIBUTE_CONTEXT,
  CUDA.CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
  CUDA.CU_POINTER_ATTRIBUTE_RANGE_SIZE,
  CUDA.CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE,
]);
/** Bytes per answer. The answers take at least 128 bytes in all, as V8 moves shorter arrays. */
const ANSWER_BYTES = 16;

/**
 * Asks the driver about an address. The context must be current.
 *
 * @throws {DipcError} What the driver reports; an address that it does not know is not an error
 */
export function describePointer(symbols: CudaSymbols, address: bigint): PointerInfo {
  const answers = new Uint8Array(Math.max(128, ATTRIBUTES.length * ANSWER_BYTES));
  const base = addressOf(answers);
  const pointers = new BigUint64Array(ATTRIBUTES.length);
  for (let i = 0; i < pointers.length; i++) pointers[i] = base + BigInt(i * ANSWER_BYTES);
  // Attributes that do not apply are answered with 0 instead of an error; cuda.h names these two results for an address
  // that belongs to no context.
  const result = symbols.cuPointerGetAttributes(ATTRIBUTES.length, ATTRIBUTES, pointers, address);
  if (result === CUDA.CUDA_ERROR_INVALID_VALUE || result === CUDA.CUDA_ERROR_INVALID_CONTEXT) answers.fill(0);
  else if (result !== CUDA.CUDA_SUCCESS) {
    throw cudaError(symbols, result, `query the memory at 0x${address.toString(16)}`);
  }
  const view = new DataView(answers.buffer);
  const word = (i: number): bigint => view.getBigUint64(i * ANSWER_BYTES, true);
  const int = (i: number): number => view.getInt32(i * ANSWER_BYTES, true);
  const kind = kindOf(int(0), view.getUint8(ANSWER_BYTES) !== 0);
  return {
    kind,
    ordinal: kind === "unknown" ? null : int(2),
    context: word(3),
    rangeAddress: word(4),
    rangeByteLength: word(5),
    isIpcCapable: view.getUint8(6 * ANSWER_BYTES) !== 0,
  };
}

function kindOf(memoryType: number, isManaged: boolean): PointerKind {
  if (isManaged || memoryType === CUDA.CU_MEMORYTYPE_UNIFIED) return "managed";
  if (memoryType === CUDA.CU_MEMORYTYPE_DEVICE) return "device";
  return memoryType === CUDA.CU_MEMORYTYPE_HOST ? "host" : "unknown";
}

/**
 * Throws unless all of a range is memory of a device. The context must be current.
 *
 * Memory that an allocator maps piece by piece is checked piece by piece.
 *
 * @param ordinal Number of the device
 * @param what Name of the range, for the message
 * @throws {DipcError} `invalid_argument`; what the driver reports
 */
export function checkDeviceRange(
  symbols: CudaSymbols,
  space: string,
  ordinal: number,
  address: bigint,
  byteLength: number,
  what: string,
): void {
  if (!Number.isSafeInteger(byteLength) || byteLength < 0 || address < 0n || address >= 1n << 64n) {
    throw new LocalError(
      "invalid_argument",
      `cannot use ${what}: ${byteLength} bytes at ${address} are not a range of memory`,
    );
  }
  const range = `${byteLength} bytes at 0x${address.toString(16)}`;
  const misplaced = (fact: string): LocalError =>
    new LocalError("invalid_argument", `cannot use ${what}: ${range} must lie in the memory of ${space}, but ${fact}`);
  const end = address + BigInt(byteLength);
  let at = address;
  while (at < end) {
    const { kind, ordinal: found, rangeAddress, rangeByteLength } = describePointer(symbols, at);
    if (kind === "unknown" || kind === "host") {
      const position = at === address ? "" : `${at - address} bytes in, `;
      throw misplaced(
        `${position}it is ${kind === "host" ? "host memory that the driver knows" : "unknown to the driver"}`,
      );
    }
    if (found !== ordinal) throw misplaced(`it belongs to ${deviceSpace(found!)}`);
    const rangeEnd = rangeAddress + rangeByteLength;
    if (rangeEnd <= at) throw misplaced("the driver does not report its end");
    at = rangeEnd;
  }
}
