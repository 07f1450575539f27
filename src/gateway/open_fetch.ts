/**
 * Requests the data of a ticket from an engine, or from where it says that the data is.
 *
 * @module
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { FlightStream } from "../flight/flight_stream.ts";
import { FrameDecoder } from "../flight/frame_decoder.ts";
import * as proto from "../flight/gen/flight_pb.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { readerLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import type { Engine } from "./engine.ts";

/** What is fetched. */
export interface FetchParts {
  readonly engine: Engine;
  /** The engine's own ticket. */
  readonly ticket: Uint8Array;
  /** Locations, in order; `null` is the engine itself. */
  readonly places: readonly (string | null)[];
  /** Headers of the client. */
  readonly headers: Headers;
  /** Memory for bodies. Default: memory of the garbage collector. */
  readonly pool?: Pool;
}

/** What the engine says besides the data. */
export interface FetchHooks {
  onHeaders?(headers: Headers): void;
  onEnd?(trailers: Headers, error: unknown): void;
}

/** A running fetch, and the schema of its stream; `null` if it has ended without one. */
export interface OpenFetch {
  readonly stream: FlightStream;
  readonly schema: MessageHeader | null;
}

/**
 * Requests the data, from the first location that can be reached.
 *
 * @throws {DipcError} The engine's status, `unreachable`
 */
export async function openFetch(parts: FetchParts, signal?: AbortSignal, hooks: FetchHooks = {}): Promise<OpenFetch> {
  const mayGoOn = (): boolean => signal?.aborted !== true;
  return await parts.engine.tryEach(
    parts.places,
    mayGoOn,
    (place, onSent) => openAt(place, parts, { ...hooks, signal, onSent }),
  );
}

async function openAt(
  place: string | null,
  { engine, ticket, headers, pool }: FetchParts,
  { onSent, ...hooks }: FetchHooks & { signal: AbortSignal | undefined; onSent: () => void },
): Promise<OpenFetch> {
  const limits = readerLimits();
  const { maxMetadataBytes, maxBodyBytes } = limits;
  const decoder = new FrameDecoder({ maxMetadataBytes, maxBodyBytes, pool });
  const running = await engine.start(place, { method: "DoGet", headers, decoder, ...hooks });
  onSent();
  try {
    void running.output.message(toBinary(proto.TicketSchema, create(proto.TicketSchema, { ticket })));
    running.output.end();
    const stream = new FlightStream(running, limits);
    return { stream, schema: await stream.readSchema() };
  } catch (error) {
    running.cancel(error);
    throw error;
  }
}
