/**
 * A fetch from an engine as what a UCX connection sends: requested once the client has come, read no faster than it takes it, and
 * cancelled when it leaves.
 *
 * @module
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../errors.ts";
import { FlightStream } from "../flight/flight_stream.ts";
import { FrameDecoder } from "../flight/frame_decoder.ts";
import * as proto from "../flight/gen/flight_pb.ts";
import { readerLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import type { MessageStream } from "../sources/dataset.ts";
import type { SendableDataset, SendableHeader } from "../stream/sendable.ts";
import type { Engine } from "./engine.ts";
import { isUnreached } from "./relay.ts";

/** What is fetched. */
export interface FetchParts {
  readonly engine: Engine;
  /** The engine's own ticket. */
  readonly ticket: Uint8Array;
  /** Locations, in order; `null` is the engine itself. */
  readonly places: readonly (string | null)[];
  /** Headers of the client that was given the ticket. */
  readonly headers: Headers;
  /** Memory for bodies. */
  readonly pool: Pool;
}

/** One fetch. */
export class EngineFetch implements SendableDataset {
  readonly #parts: FetchParts;

  constructor(parts: FetchParts) {
    this.#parts = parts;
  }

  /** Each run has its own. */
  get schema(): SendableHeader {
    throw new DipcError("internal", "cannot tell the schema of a fetch: it has not begun");
  }

  /**
   * Requests the data.
   *
   * @throws {DipcError} The engine's status, `unreachable`, `unsupported` for a stream without a schema
   */
  async open({ signal }: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const { places } = this.#parts;
    for (const [index, place] of places.entries()) {
      try {
        return await this.#openAt(place, signal);
      } catch (error) {
        if (index + 1 === places.length || signal?.aborted || !isUnreached(error)) throw error;
      }
    }
    throw new DipcError("unreachable", "cannot fetch from the engine: there is no location to fetch from");
  }

  async #openAt(place: string | null, signal: AbortSignal | undefined): Promise<MessageStream> {
    const { engine, ticket, headers, pool } = this.#parts;
    const limits = readerLimits();
    const { maxMetadataBytes, maxBodyBytes } = limits;
    const decoder = new FrameDecoder({ maxMetadataBytes, maxBodyBytes, pool });
    const running = await engine.start(place, { method: "DoGet", headers, decoder, signal });
    try {
      void running.output.message(toBinary(proto.TicketSchema, create(proto.TicketSchema, { ticket })));
      running.output.end();
      const stream = new FlightStream(running, limits);
      const schema = await stream.readSchema();
      if (schema === null) {
        // The client has it from GetFlightInfo, if anybody has; by Flight the stream passes as it is.
        throw new DipcError(
          "unsupported",
          "cannot send the engine's stream by UCX: it has no schema; fetch it by Flight",
        );
      }
      return { schema, next: () => stream.next(), close: () => stream.close() };
    } catch (error) {
      running.cancel(error);
      throw error;
    }
  }
}
