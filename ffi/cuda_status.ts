/**
 * `CUresult`: the dipc code of each one, and errors that keep the driver's own name and text.
 *
 * @module
 */
import { type DipcError, type DipcErrorCode, LocalError } from "../src/errors.ts";
import { cStringAt } from "./c_string.ts";
import { CUDA } from "./cuda_constants.ts";
import type { CudaSymbols } from "./cuda_symbols.ts";

/** Results (`cuda.h`, `cudaError_enum`) that have a more specific code than `cuda`, and what to do about them. */
export const MAPPED_RESULTS: Readonly<Record<number, readonly [name: string, code: DipcErrorCode, advice: string]>> = {
  [CUDA.CUDA_ERROR_OUT_OF_MEMORY]: [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "out_of_memory",
    "free device memory of this or other processes (nvidia-smi lists them), or lower the limits",
  ],
  34: [
    "CUDA_ERROR_STUB_LIBRARY",
    "library_not_found",
    "this libcuda is the stub for linking; set DIPC_LIBCUDA to the one that came with the driver",
  ],
  100: [
    "CUDA_ERROR_NO_DEVICE",
    "unsupported",
    "no GPU is visible: look at nvidia-smi, CUDA_VISIBLE_DEVICES, and whether the container was started with one (--gpus)",
  ],
  101: ["CUDA_ERROR_INVALID_DEVICE", "not_found", "`dipc doctor` lists the devices"],
  217: ["CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "unsupported", "these two devices cannot reach each other"],
  800: ["CUDA_ERROR_NOT_PERMITTED", "permission_denied", "the system or the container does not allow it"],
  801: ["CUDA_ERROR_NOT_SUPPORTED", "unsupported", "this device or driver cannot do it"],
  803: [
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    "unsupported",
    "libcuda and the kernel's driver have different versions: reboot, or give the container the host's libcuda",
  ],
  804: [
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    "unsupported",
    "a compatibility libcuda is loaded that this GPU cannot use; set DIPC_LIBCUDA to the driver's own",
  ],
};

function driverText(ask: CudaSymbols["cuGetErrorName"], result: number): string | null {
  const out = new BigUint64Array(1);
  return ask(result, out) === CUDA.CUDA_SUCCESS ? cStringAt(out[0]) : null;
}

/**
 * A {@linkcode DipcError} for a result other than `CUDA_SUCCESS`.
 *
 * @param symbols The driver, asked for its own name and text of the result
 * @param result A `CUresult`
 * @param action What was being done, as the start of a sentence
 * @param advice What to do about it, if the caller knows better
 */
export function cudaError(symbols: CudaSymbols, result: number, action: string, advice?: string): DipcError {
  const known = MAPPED_RESULTS[result];
  const name = driverText(symbols.cuGetErrorName, result) ?? known?.[0] ?? "CUresult";
  const text = driverText(symbols.cuGetErrorString, result) ?? "no text";
  const remedy = advice ?? known?.[2];
  return new LocalError(
    known?.[1] ?? "cuda",
    `${action}: the CUDA driver says ${name} (${result}): ${text}${remedy === undefined ? "" : `; ${remedy}`}`,
    { foreign: { system: "cuda", status: result, text: `${name}: ${text}` } },
  );
}
