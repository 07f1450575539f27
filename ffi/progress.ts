/**
 * Progresses a UCX worker without a V8 abort.
 *
 * Optimised code calls C directly. If such a call runs a JavaScript callback, and the callback invalidates the optimised
 * code (a field gets a value of a new kind, say), V8 ends the process: "Lazy deopt after a fast API call with return
 * value is unsupported". A call that returns nothing has no such problem. So `ucp_worker_progress`, the only function
 * that runs callbacks all the time, is never called for its return value: `lsearch` of libc calls it, and adds 1 to a
 * counter in memory if the result is not 0.
 *
 * @module
 */
import { addressOf, libc } from "./libc.ts";
import type { UcpSymbols } from "./ucp.ts";

// A size_t; the low word is enough. 128 bytes, because V8 moves shorter arrays.
const counter = new Uint32Array(32);
let counterAddress = 0n;
let progressAddress = 0n;
let progressOwner: UcpSymbols | null = null;
let lsearch: ReturnType<typeof libc>["lsearch"];

/**
 * Calls `ucp_worker_progress` once.
 *
 * @param symbols The functions of libucp
 * @param worker `ucp_worker_h`
 * @returns Whether there was progress
 */
export function progressWorker(symbols: UcpSymbols, worker: bigint): boolean {
  if (progressOwner !== symbols) prepare(symbols);
  counter[0] = 1;
  // "Search" a table of one element of 0 bytes: the comparison is ucp_worker_progress(worker), a difference adds 1.
  lsearch(worker, counterAddress, counterAddress, 0n, progressAddress);
  return counter[0] !== 1;
}

function prepare(symbols: UcpSymbols): void {
  lsearch = libc().lsearch;
  counterAddress = addressOf(new Uint8Array(counter.buffer));
  progressAddress = BigInt(Deno.UnsafePointer.value(symbols.ucp_worker_progress_address));
  progressOwner = symbols;
}
