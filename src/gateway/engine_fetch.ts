/**
 * A fetch from an engine as what a UCX connection sends: requested once the client has come, and cancelled when it leaves.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { FlightStream } from "../flight/flight_stream.ts";
import type { MessageStream } from "../sources/dataset.ts";
import type { SendableDataset, SendableHeader } from "../stream/sendable.ts";
import { NoSchemaError, PeerError } from "../tell_peer.ts";
import type { Fetches } from "./fetches.ts";
import type { FetchReader } from "./shared_fetch.ts";
import { type FetchParts, openFetch } from "./open_fetch.ts";

/** A fetch as what a UCX connection sends. */
export class EngineFetch implements SendableDataset {
  readonly #parts: FetchParts;
  readonly #fetches: Fetches | null;

  /** @param fetches Those that clients share; `null` if each has its own */
  constructor(parts: FetchParts, fetches: Fetches | null) {
    this.#parts = parts;
    this.#fetches = fetches;
  }

  /** Each run has its own. */
  get schema(): SendableHeader {
    throw new DipcError("internal", "cannot tell the schema of a fetch: it has not begun");
  }

  /** @throws {DipcError} As {@linkcode openFetch} does; {@linkcode NoSchemaError} for a stream without a schema */
  async open({ signal }: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const stream = await answered<FlightStream | FetchReader>(() =>
      this.#fetches === null ? this.#own(signal) : this.#fetches.of(this.#parts).join(signal)
    );
    const { schema } = stream;
    if (schema !== null) return { schema, next: () => answered(() => stream.next()), close: () => stream.close() };
    await stream.close();
    // The client has it from GetFlightInfo, if anybody has. To fetch the stream once more would execute it once more.
    throw new NoSchemaError("unsupported", "cannot send the engine's stream by UCX: it has no schema");
  }

  async #own(signal: AbortSignal | undefined): Promise<FlightStream> {
    return (await openFetch(this.#parts, signal)).stream;
  }
}

/** What an engine answers is for the client. */
function answered<T>(ask: () => T | Promise<T>): T | Promise<T> {
  try {
    const answer = ask();
    return answer instanceof Promise ? answer.catch(rethrow) : answer;
  } catch (error) {
    rethrow(error);
  }
}

function rethrow(error: unknown): never {
  const isAnswer = error instanceof DipcError && error.foreign?.system === "grpc";
  throw isAnswer ? new PeerError(error.code, error.message, { cause: error, foreign: error.foreign }) : error;
}
