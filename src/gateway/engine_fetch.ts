/**
 * A fetch from an engine as what a UCX connection sends: requested once the client has come, and cancelled when it leaves.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { FlightStream } from "../flight/flight_stream.ts";
import type { MessageStream } from "../sources/dataset.ts";
import type { SendableDataset, SendableHeader } from "../stream/sendable.ts";
import type { Fetches } from "./fetches.ts";
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

  /** @throws {DipcError} As {@linkcode openFetch} does, `unsupported` for a stream without a schema */
  async open({ signal }: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const stream = this.#fetches === null ? await this.#own(signal) : await this.#fetches.of(this.#parts).join(signal);
    const { schema } = stream;
    if (schema !== null) return { schema, next: () => stream.next(), close: () => stream.close() };
    await stream.close();
    // The client has it from GetFlightInfo, if anybody has; by Flight the stream passes as it is.
    throw new DipcError("unsupported", "cannot send the engine's stream by UCX: it has no schema; fetch it by Flight");
  }

  async #own(signal: AbortSignal | undefined): Promise<FlightStream> {
    return (await openFetch(this.#parts, signal)).stream;
  }
}
