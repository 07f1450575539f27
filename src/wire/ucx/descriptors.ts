/**
 * Requests file descriptors before UCX does: UCX aborts the process when it gets none.
 *
 * @module
 */
import { libc } from "../../../ffi/libc.ts";
import { EFD_CLOEXEC_NONBLOCK, RLIMIT_NOFILE } from "../../../ffi/libc_symbols.ts";
import { LocalError } from "../../errors.ts";

/** More than a worker opens while it is made: 8 with shared memory and TCP. */
const WORKER_DESCRIPTORS = 16;
/** Left to connections that are being made, to files, and to the rest of the process. */
const RESERVED_DESCRIPTORS = 48;

/**
 * Makes sure that there are enough file descriptors for another worker.
 *
 * @throws {DipcError} `io` if the process is close to its limit
 */
export function requireDescriptors(): void {
  const c = libc();
  const limit = new BigUint64Array(2);
  if (c.getrlimit(RLIMIT_NOFILE, new Uint8Array(limit.buffer)) !== 0) return;
  const soft = Number(limit[0]);
  const opened: number[] = [];
  let last = 0;
  // The system assigns the lowest free number, so gaps below are used first.
  while (opened.length < WORKER_DESCRIPTORS && last >= 0 && last < soft - RESERVED_DESCRIPTORS) {
    last = c.eventfd(0, EFD_CLOEXEC_NONBLOCK);
    if (last >= 0) opened.push(last);
  }
  for (const descriptor of opened) c.close(descriptor);
  if (last >= 0 && last < soft - RESERVED_DESCRIPTORS) return;
  throw new LocalError(
    "io",
    `cannot make a connection: it needs about ${WORKER_DESCRIPTORS} file descriptors, and the process is close to its limit ` +
      `of ${soft}; ` +
      "close streams, or raise the limit with `ulimit -n`",
  );
}
