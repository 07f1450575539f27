/**
 * Ends the connection of a channel, in the order that UCX needs: what is sent may arrive, requests end before their endpoints, and
 * endpoints before their worker.
 *
 * @module
 */
import { UCS_ERR_INVALID_PARAM } from "../../../ffi/status.ts";
import type { EndpointRequest, UcxEndpoint } from "./endpoint.ts";
import type { FrameFetches } from "./frame_fetches.ts";
import { progressLoop } from "./loop.ts";
import type { RequestList } from "./operations.ts";
import type { UcxRemoteMemory } from "./remote_memory.ts";
import type { UcxWorker } from "./worker.ts";

/** Longest wait for a flush. */
const FLUSH_MS = 5_000;
/** Longest wait for cancelled requests and closing endpoints; what is left ends with the worker. */
const DRAIN_MS = 1_000;
/** Longest wait for requests once their endpoints are closed: those of a dead peer may never end. */
const CANCELLED_MS = 20;

/** A connection that ends, and what is under way on it. */
export interface EndingConnection {
  readonly worker: UcxWorker;
  readonly endpoints: readonly UcxEndpoint[];
  readonly requests: RequestList;
  readonly fetches: FrameFetches;
  readonly remote: readonly UcxRemoteMemory[];
  /** Whether its stream has failed, or the peer is lost. */
  hasFailed(): boolean;
}

/**
 * Ends a connection. Its worker receives for nobody from now on.
 *
 * @param connection The connection
 * @param flush Whether what was sent should arrive first
 * @returns whether all has ended in order, so that another connection can have the worker
 */
export async function endConnection(
  { worker, endpoints, requests, fetches, remote, hasFailed }: EndingConnection,
  flush: boolean,
): Promise<boolean> {
  let isClean = flush;
  // The waits of this function must not fail with the channel.
  worker.owner = null;
  if (flush && !hasFailed()) {
    const flushes = endpoints.map((endpoint) => endpoint.flush());
    await drain(worker, () => areDone(flushes) || hasFailed(), FLUSH_MS);
    isClean = flushes.every((request) => request.status === 0) || hasFailed();
  }
  fetches.abort();
  for (const request of requests.all()) request.cancel();
  await drain(worker, () => requests.pollAll(), flush ? DRAIN_MS : 0);
  const isStuck = requests.count > 0;
  // A request that never ends may still use its key.
  if (!isStuck) { for (const memory of remote) memory.close(); }
  const closes = endpoints.map((endpoint) => endpoint.close(!flush || isStuck || hasFailed()));
  if (!await drain(worker, () => areDone(closes), DRAIN_MS)) isClean = false;
  // UCX does not cut connections in error mode NONE: they live on until their worker ends.
  if (closes.some(({ status }) => status === UCS_ERR_INVALID_PARAM)) isClean = false;
  await drain(worker, () => requests.pollAll(), CANCELLED_MS);
  return isClean;
}

function areDone(requests: readonly EndpointRequest[]): boolean {
  for (const request of requests) if (!request.done()) return false;
  return true;
}

/** Progresses the worker until `step` is true, whether or not the connection is lost. */
async function drain(worker: UcxWorker, step: () => boolean, timeoutMs: number): Promise<boolean> {
  return step() || await progressLoop().until(worker, step, { timeoutMs });
}
