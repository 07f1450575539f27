/**
 * Settings in the environment of the process that UCX reads when its libraries are loaded, and which of them are the user's.
 *
 * @module
 */
import { keepInheritable } from "./close_on_exec.ts";
import { cString, libc } from "./libc.ts";

/**
 * Settings that UCX reads when it is loaded or initialised. Each applies only if the user has not set it.
 *
 * The first two enable shared memory, which error mode PEER disables by default. The others keep UCX from warning about
 * messages that were dropped with their stream, let a restarted server bind its port again, and connect without blocking: when a
 * peer dies after UCX has connected to it and before UCX has said who it is, UCX frees the endpoint and goes on using it, unless
 * connecting was something to wait for (seen in 1.13.1 and 1.22.0). UCX has two kinds of shared memory and initialises both, each
 * with 2 MB and 4 descriptors per connection, although it uses one of them, System V's if it has the choice: so the other one is
 * disabled (a peer with both agrees).
 */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ["UCX_POSIX_ERROR_HANDLING", "y"],
  ["UCX_SYSV_ERROR_HANDLING", "y"],
  ["UCX_WARN_UNUSED_ENV_VARS", "n"],
  ["UCX_TCP_CM_REUSEADDR", "y"],
  ["UCX_TCP_CONN_NB", "y"],
  ["UCX_TLS", "^posix"],
];

/**
 * How UCX detects memory that the process unmaps, which it must if it registers memory with RDMA hardware. Its default,
 * patching the C library's functions while all threads are stopped, takes UCX 1.22 0.4 s at each start of a process; without
 * such hardware it need not detect it at all. (`reloc` is not an option: it replaces `malloc` in some libraries, and Deno aborts
 * when it frees memory that another library has allocated, such as the result of `realpath`.)
 */
const HOOKS_WITHOUT_RDMA: readonly [name: string, value: string] = ["UCX_MEM_MMAP_HOOK_MODE", "none"];
const RDMA_DEVICES = "/sys/class/infiniband";

let isApplied = false;

/** A variable of the environment as C sees it, `null` if it is not set. */
function variable(name: string): string | null {
  const pointer = Deno.UnsafePointer.create(libc().getenv(cString(name)));
  return pointer === null ? null : new Deno.UnsafePointerView(pointer).getCString();
}

/**
 * What the user has set a variable of UCX to; `null` if nothing, or if it has dipc's own value, which a child of a process that
 * uses dipc inherits.
 *
 * @param name Such as `"UCX_TLS"`
 */
export function userSetting(name: string): string | null {
  const value = variable(name);
  return value === SETTINGS.find(([ours]) => ours === name)?.[1] ? null : value;
}

/**
 * Puts dipc's settings into the environment of the process, unless the user has set them. Must be called before any library
 * of UCX is loaded: some are read by its constructors. It uses the C library, so that it needs no permission beyond
 * `--allow-ffi`.
 *
 * @throws {DipcError} `permission_denied` without `--allow-ffi`
 */
export function applyUcxSettings(): void {
  if (isApplied) return;
  isApplied = true;
  keepInheritable();
  const c = libc();
  const settings = c.access(cString(RDMA_DEVICES), 0) === 0 ? SETTINGS : [...SETTINGS, HOOKS_WITHOUT_RDMA];
  for (const [name, value] of settings) c.setenv(cString(name), cString(value), 0);
}
