/**
 * Settings in the environment of the process that UCX reads when its libraries are loaded.
 *
 * @module
 */
import { cString, libc } from "./libc.ts";

/**
 * Settings that UCX reads when it is loaded or made ready. Set only where the user has not.
 *
 * The first two bring shared memory back, which error mode PEER switches off by default. The others keep UCX from writing
 * to standard output and from warning of messages that were given up with their stream, and let a restarted server take
 * its port again. UCX has two kinds of shared memory and makes both ready, each 2 MB and 4 descriptors a connection, though
 * it uses one, System V's where it has the choice: so that is the only one (a peer with both agrees).
 */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ["UCX_POSIX_ERROR_HANDLING", "y"],
  ["UCX_SYSV_ERROR_HANDLING", "y"],
  ["UCX_LOG_FILE", "stderr"],
  ["UCX_LOG_LEVEL", "error"],
  ["UCX_WARN_UNUSED_ENV_VARS", "n"],
  ["UCX_TCP_CM_REUSEADDR", "y"],
  ["UCX_TLS", "^posix"],
];

/**
 * How UCX learns of memory that the process gives back, which it must know where it registers memory with RDMA hardware.
 * Its own way, patching the C library's functions while all threads hold still, takes UCX 1.22 0.4 s at each start of a
 * process; without such hardware it needs no way at all. (`reloc` is no choice: it replaces `malloc` in some libraries, and
 * Deno aborts when it frees what another one has allocated, such as the result of `realpath`.)
 */
const HOOKS_WITHOUT_RDMA: readonly [name: string, value: string] = ["UCX_MEM_MMAP_HOOK_MODE", "none"];
const RDMA_DEVICES = "/sys/class/infiniband";

let applied = false;

/**
 * Puts dipc's settings into the environment of the process, where the user has not set them. To be called before any
 * library of UCX is loaded: some are read by its constructors. Goes through the C library, so that it needs no
 * permission beyond `--allow-ffi`.
 *
 * @throws {DipcError} `permission_denied` without `--allow-ffi`
 */
export function applyUcxSettings(): void {
  if (applied) return;
  applied = true;
  const c = libc();
  const settings = c.access(cString(RDMA_DEVICES), 0) === 0 ? SETTINGS : [...SETTINGS, HOOKS_WITHOUT_RDMA];
  for (const [name, value] of settings) c.setenv(cString(name), cString(value), 0);
}
