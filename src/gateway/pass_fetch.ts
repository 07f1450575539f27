/**
 * Answers a DoGet from a fetch that clients share.
 *
 * @module
 */
import { encodeFrame, frameOfMessage } from "../flight/data.ts";
import type { FlightItem } from "../flight/flight_stream.ts";
import type { ServerCall } from "../grpc/server_call.ts";
import { GrpcStatus } from "../grpc/status.ts";
import type { FetchParts } from "./open_fetch.ts";
import type { Fetches } from "./fetches.ts";
import { passBack } from "./headers.ts";
import { hasStatus, type Relayed } from "./relay.ts";
import type { FetchReader, SharedFetch } from "./shared_fetch.ts";

/**
 * Sends what the fetch brings, up to the trailers, which are set; the caller ends the call with the status.
 *
 * @throws {DipcError} What kept the engine from answering
 */
export async function passFetch(call: ServerCall, fetches: Fetches, parts: FetchParts): Promise<Relayed> {
  const fetch = fetches.of(parts);
  let bytes = 0;
  let error: unknown = null;
  try {
    const reader = await fetch.join(call.signal);
    try {
      bytes = await send(call, fetch, reader);
    } finally {
      await reader.close();
    }
  } catch (thrown) {
    if (call.signal.aborted || !hasStatus(fetch.trailers)) throw thrown;
    error = thrown;
  }
  if (fetch.trailers !== null) passBack(fetch.trailers, call.trailers);
  return { bytes, error, status: error === null ? GrpcStatus.ok : Number(fetch.trailers!.get("grpc-status")) };
}

async function send(call: ServerCall, { headers }: SharedFetch, reader: FetchReader): Promise<number> {
  if (headers !== null && !headers.has("grpc-status")) passBack(headers, call.responseHeaders);
  let bytes = 0;
  if (reader.schema !== null) await call.write(encodeFrame({ header: reader.schema.bytes }));
  for (;;) {
    if (!reader.isAhead) await call.flush();
    const item = await reader.nextItem();
    if (item === null) break;
    try {
      for (const piece of frameOf(item)) {
        bytes += piece.byteLength;
        await call.write([piece]);
      }
    } finally {
      item.message?.body?.release();
    }
  }
  await call.flush();
  return bytes;
}

function frameOf({ message, appMetadata }: FlightItem): Uint8Array[] {
  return encodeFrame(message === null ? { appMetadata } : frameOfMessage(message));
}
