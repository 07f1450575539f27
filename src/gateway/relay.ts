/**
 * Passes one call on to an engine, and its answer back: bytes as they come, or message by message if something in them is changed.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import type { GrpcCall } from "../grpc/client_call.ts";
import { MessageDecoder } from "../grpc/message_decoder.ts";
import type { ServerCall } from "../grpc/server_call.ts";
import { GrpcStatus } from "../grpc/status.ts";
import type { StreamDecoder } from "../grpc/stream_input.ts";
import { isFlightUri, isReuseConnection } from "../flight/location.ts";
import { ChunkDecoder } from "./chunks.ts";
import type { Engine } from "./engine.ts";
import { passBack, passedOn } from "./headers.ts";

/** Longest message of an engine that is read by the gateway, in bytes. Memory grows with what has come. */
const MAX_MESSAGE_BYTES = 256 * 2 ** 20;

/** What is passed on. */
export interface Relay {
  readonly engine: Engine;
  /** Locations to fetch from, in order; `null` is the engine itself. Default: that alone. */
  readonly places?: readonly (string | null)[];
  /** The messages that were read from the client. What follows them is passed on as it comes, unless `isWhole`. */
  readonly request?: readonly Uint8Array[];
  /** Whether `request` is all that the client sends. */
  readonly isWhole?: boolean;
  /** Changes each message of the answer. Default: the answer is passed back as it comes. */
  readonly rewrite?: (message: Uint8Array) => Uint8Array | Promise<Uint8Array>;
  /** Called when the call is sent to a location. */
  readonly onSent?: () => void;
  /** Longest time that the client may send nothing, in milliseconds. */
  readonly idleTimeoutMs: number;
}

/** What came of a call. */
export interface Relayed {
  /** Bytes of the answer's messages. */
  readonly bytes: number;
  /** The status that the engine answered with. */
  readonly status: number;
  /** Its error, if it answered with one. */
  readonly error: unknown;
}

/**
 * Passes a call on, and its answer back up to the trailers, which are set; the caller ends the call with the status.
 *
 * @param call Call of the client
 * @param relay Its engine, and what is changed
 * @throws {DipcError} What kept the engine from answering
 */
export async function relayCall(call: ServerCall, relay: Relay): Promise<Relayed> {
  // Once something has been passed back, another location would send it again.
  const mayGoOn = (): boolean => !call.begun && !call.signal.aborted;
  return await relay.engine.tryEach(
    relay.places ?? [null],
    mayGoOn,
    (place, onSent) =>
      relay.rewrite === undefined
        ? attempt(call, relay, { place, onSent }, new ChunkDecoder(), passChunks)
        : attempt(call, relay, { place, onSent }, new MessageDecoder(MAX_MESSAGE_BYTES), rewritten(relay.rewrite)),
  );
}

/** The places from which the data of an endpoint can be fetched by Flight, in order; `null` is the engine itself. */
export function placesOf(locations: readonly string[]): (string | null)[] {
  const places = locations.filter((uri) => isReuseConnection(uri) || isFlightUri(uri))
    .map((uri) => isReuseConnection(uri) ? null : uri);
  return places.length === 0 ? [null] : places;
}

/** Passes the messages of an answer back. @returns their size in bytes */
type PassMessages<T> = (call: ServerCall, running: GrpcCall<T>) => Promise<number>;

async function attempt<T>(
  call: ServerCall,
  { engine, request = [], isWhole = false, idleTimeoutMs, ...relay }: Relay,
  { place, onSent }: { place: string | null; onSent: () => void },
  decoder: StreamDecoder<T>,
  pass: PassMessages<T>,
): Promise<Relayed> {
  let trailers: Headers | null = null;
  const running = await engine.start(place, {
    method: call.method,
    headers: passedOn(call.headers),
    decoder,
    client: call.connection,
    signal: call.signal,
    onHeaders(headers) {
      // An answer without messages has its status here.
      if (headers.has("grpc-status") || call.signal.aborted) return;
      passBack(headers, call.responseHeaders);
      call.begin();
    },
    onEnd: (received) => trailers = received,
  });
  onSent();
  relay.onSent?.();
  try {
    let bytes = 0;
    let error: unknown = null;
    try {
      for (const message of request) await running.output.message(message);
      if (isWhole) running.output.end();
      else sendRest(call, running, idleTimeoutMs);
      bytes = await pass(call, running);
      await call.flush();
    } catch (thrown) {
      if (!hasStatus(trailers)) throw thrown;
      error = thrown;
    }
    passBack(trailers!, call.trailers);
    return { bytes, error, status: error === null ? GrpcStatus.ok : Number(trailers!.get("grpc-status")) };
  } finally {
    running.cancel();
  }
}

/** Whether the trailers of an engine have a status that is an error. */
export function hasStatus(trailers: Headers | null): trailers is Headers {
  return /^\d{1,9}$/.test(trailers?.get("grpc-status") ?? "") && trailers!.get("grpc-status") !== "0";
}

/** Passes on what the client sends after the first messages, until one of the two has ended. */
function sendRest<T>(call: ServerCall, running: GrpcCall<T>, idleTimeoutMs: number): void {
  const send = async (): Promise<void> => {
    for (let chunk; (chunk = await call.input.next(idleTimeoutMs)) !== null;) {
      if (running.isOver) return;
      // Why the engine takes no more is in its answer.
      try {
        await running.output.write(chunk);
      } catch {
        return;
      }
    }
    running.output.end();
  };
  send().catch((error) => running.cancel(error));
}

const passChunks: PassMessages<Uint8Array> = async (call, running) => {
  let bytes = 0;
  for (;;) {
    const next = running.next();
    // What was held back goes while the engine makes more.
    if (next instanceof Promise && bytes > 0) {
      next.catch(() => {});
      await call.flush();
    }
    const chunk = await next;
    if (chunk === null) return bytes;
    bytes += chunk.byteLength;
    await call.write([chunk]);
  }
};

function rewritten(rewrite: NonNullable<Relay["rewrite"]>): PassMessages<Uint8Array<ArrayBuffer>> {
  return async (call, running) => {
    let bytes = 0;
    for (let message; (message = await running.next()) !== null;) {
      bytes += message.byteLength;
      await call.writeMessage(await changed(message, rewrite));
      await call.flush();
    }
    return bytes;
  };
}

async function changed(message: Uint8Array, rewrite: NonNullable<Relay["rewrite"]>): Promise<Uint8Array> {
  try {
    return await rewrite(message);
  } catch (cause) {
    if (cause instanceof DipcError) throw cause;
    throw new LocalError("protocol", "cannot pass an answer of the engine on: it is malformed", { cause });
  }
}
