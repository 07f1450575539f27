/**
 * Whether a UCX can read and write the memory of NVIDIA GPUs, and if not, why.
 *
 * @module
 */
import { cString, libc } from "../../../ffi/libc.ts";
import { MEMORY_CUDA } from "../../../ffi/ucp_structs.ts";
import { type DipcError, LocalError } from "../../errors.ts";
import type { DeviceAccess, SpaceSupport } from "../transport.ts";
import { isSystemDriver } from "./driver_identity.ts";

/** Components of UCX for NVIDIA GPUs. */
const CUDA_COMPONENTS = ["cuda_copy", "cuda_ipc", "gdr_copy"];
/** UCX's CUDA module, relative to the folder of libucp. */
const MODULE = "ucx/libuct_cuda.so.0";
/** What the module needs besides libcuda. Containers have it only with the driver capability `utility`. */
const MANAGEMENT_LIBRARY = "libnvidia-ml.so.1";

/** What has to be known of a UCX context. */
export interface CudaContext {
  /** The library that it was made by. */
  readonly ucp: { readonly version: string; readonly path: string };
  /** The GPU that it was made for, if any. */
  readonly device: DeviceAccess | null;
  /** Memory space that it accepts besides host memory, or `null`. */
  readonly deviceSpace: string | null;
  /** Names of UCX's components in it. */
  components(): string[];
  /** Bit mask of UCX's types of memory that it accepts. */
  memoryTypes(): bigint;
}

/** What a UCX context can do with CUDA. */
export interface CudaSupport extends SpaceSupport {
  /** The components of UCX for GPUs that are initialised: `cuda_copy`, `cuda_ipc`, `gdr_copy`. */
  readonly components: readonly string[];
}

/**
 * Queries the types of memory that a context accepts. Passes UCX no address, so it is safe without CUDA too.
 *
 * @param context A context that was made while the context of the GPU was current
 * @param device The GPU
 */
export function cudaSupport(context: CudaContext, device: DeviceAccess): CudaSupport {
  const components = context.components().filter((name) => CUDA_COMPONENTS.includes(name));
  const hasCuda = (context.memoryTypes() >> BigInt(MEMORY_CUDA) & 1n) === 1n;
  // Addresses of another driver are invalid to UCX, and would crash it.
  const supported = hasCuda && isSystemDriver(device.driver);
  const { version, path } = context.ucp;
  const what = `UCX ${version} (${path})`;
  if (supported) return { supported, components, reason: `${what} has ${components.join(", ") || "CUDA"}` };
  const why = hasCuda ? `uses the system's libcuda.so.1, and the memory is that of ${device.driver}` : whyWithout(path);
  return { supported, components, reason: `${what} ${why}` };
}

/** Why a UCX has no CUDA, as far as can be seen from outside. */
function whyWithout(path: string): string {
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : null;
  if (folder !== null && libc().access(cString(`${folder}/${MODULE}`), 0) !== 0) {
    return `was built without CUDA, or its module ${folder}/${MODULE} is not installed`;
  }
  const missing = ["libcuda.so.1", MANAGEMENT_LIBRARY].filter((name) => !canLoad(name));
  if (missing.length > 0) {
    const hint = missing.length === 1 && missing[0] === MANAGEMENT_LIBRARY
      ? "; containers have it with NVIDIA_DRIVER_CAPABILITIES=compute,utility"
      : "";
    return `could not load its CUDA module, because the system's loader finds no ${missing.join(" and no ")}${hint}`;
  }
  return "has no CUDA memory here: check UCX_TLS and UCX_MODULES, or it was built without CUDA";
}

function canLoad(name: string): boolean {
  try {
    Deno.dlopen(name, {}).close();
    return true;
  } catch {
    return false;
  }
}

/**
 * Why UCX must not be given an address in a memory space, or `null` if it may. Without CUDA it would read the address
 * itself, and crash.
 *
 * @param context The context that would be given it
 * @param space Other than `"host"`
 */
export function refuseSpace(context: CudaContext, space: string): DipcError | null {
  if (space === context.deviceSpace) return null;
  const { ucp, device } = context;
  const has = device === null
    ? "its context was made for host memory only"
    : context.deviceSpace === null
    ? `UCX ${ucp.version} (${ucp.path}) has no CUDA transports here`
    : `its context was made for ${context.deviceSpace}`;
  return new LocalError(
    "unsupported",
    `cannot give UCX memory of ${space}, because it would crash: ${has}; copy the body to host memory first, or serve it ` +
      'with `memory: "cuda:N"` and receive it with connectCuda, which copy it automatically',
  );
}
