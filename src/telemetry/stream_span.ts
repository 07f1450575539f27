/**
 * Streams: one that is read or sent, its batches, and how it came.
 *
 * @module
 */
import type { Instrument, Span } from "./backend.ts";
import { failureOf, measure, startSpan } from "./telemetry.ts";

const BATCHES: Instrument = {
  name: "dipc.stream.batches",
  kind: "counter",
  unit: "{batch}",
  description: "Record batches of streams",
};
const BYTES: Instrument = {
  name: "dipc.stream.bytes",
  kind: "counter",
  unit: "By",
  description: "Bytes of bodies of streams, also of those that were read in place",
};
const DURATION: Instrument = {
  name: "dipc.stream.duration",
  kind: "histogram",
  unit: "s",
  description: "Time of streams, from the request to their end",
};
const ROUTE: Instrument = {
  name: "dipc.route",
  kind: "counter",
  unit: "{endpoint}",
  description: "Parts of streams by the route of their data, and why they took it",
};
const WINDOW_WAIT: Instrument = {
  name: "dipc.window.wait",
  kind: "histogram",
  unit: "s",
  description: "Time in which a stream that is sent has waited for the client to take what was under way",
};
const LEASED: Instrument = {
  name: "dipc.lease.bytes",
  kind: "upDownCounter",
  unit: "By",
  description: "Bytes of memory that is lent to clients",
};

/** Which end of a stream this is. */
export type Direction = "received" | "sent";

/** How a stream has ended, and what has come of it. */
export interface StreamEnd {
  readonly batches: number;
  readonly bodyBytes: number;
  /** Milliseconds that one that is sent has waited for its client. */
  readonly waitedMs?: number;
  /** Further facts. */
  readonly facts?: Readonly<Record<string, string | number | boolean>>;
  /** Why it is not whole, if it is not. */
  readonly error?: unknown;
}

/** A stream, from its request to its end. */
export class StreamSpan {
  readonly #direction: Direction;
  readonly #span: Span | null;
  readonly #startedMs = performance.now();
  #askedMs = this.#startedMs;

  /**
   * Begins it.
   *
   * @param direction Which end this is
   * @param parent `traceparent` of the client, if it has sent one
   */
  constructor(direction: Direction, parent?: string) {
    this.#direction = direction;
    const kind = direction === "received" ? "client" : "server";
    this.#span = startSpan({ name: "dipc.stream", kind, attributes: {}, parent });
  }

  /** Runs what opens the stream, which ends if that fails. */
  async open<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await this.run(run);
    } catch (error) {
      this.end({ batches: 0, bodyBytes: 0, error });
      throw error;
    }
  }

  /** Runs what belongs to the stream. */
  run<T>(run: () => T): T {
    return this.#span === null ? run() : this.#span.run(run);
  }

  /** Adds what has become known. */
  set(attributes: Readonly<Record<string, string | number>>): void {
    this.#span?.set(attributes);
  }

  /** The next batch is waited for from now on. */
  asked(): void {
    if (this.#span?.isRecording) this.#askedMs = performance.now();
  }

  /** A batch has arrived. */
  arrived(rows: number, bodyBytes: number): void {
    if (!this.#span?.isRecording) return;
    const attributes = { "dipc.rows": rows, "dipc.bytes": bodyBytes };
    startSpan({ name: "dipc.batch", kind: "internal", attributes, parent: this.#span, startedMs: this.#askedMs })
      ?.end();
  }

  /** Ends it. Called once. */
  end({ batches, bodyBytes, waitedMs, facts = {}, error }: StreamEnd): void {
    const direction = { "dipc.direction": this.#direction };
    measure(BATCHES, batches, direction);
    measure(BYTES, bodyBytes, direction);
    measure(DURATION, (performance.now() - this.#startedMs) / 1000, direction);
    if (waitedMs !== undefined) measure(WINDOW_WAIT, waitedMs / 1000);
    if (this.#span === null) return;
    const failure = error === undefined || error === null ? undefined : failureOf(error);
    // Whoever leaves early has seen what it wanted.
    const isLeft = failure?.type === "cancelled" || failure?.type === "closed";
    this.#span.set({
      ...facts,
      "dipc.batches": batches,
      "dipc.bytes": bodyBytes,
      "dipc.complete": failure === undefined,
    });
    this.#span.end(isLeft ? undefined : failure);
  }
}

/** Counts a part of a stream by its route. */
export function countRoute(route: string, reason: string): void {
  measure(ROUTE, 1, { route, reason: withoutNames(reason) });
}

/** Counts memory that is lent, or given back with a negative number. */
export function countLeased(bytes: number): void {
  if (bytes !== 0) measure(LEASED, bytes);
}

/** A reason without what is different each time, since metrics keep a series for each text. */
function withoutNames(reason: string): string {
  return reason.replace(/\b[a-z+]+:\/\/\S+/g, "(location)").replace(/"[^"]*"/g, "(name)").replace(/\d+(\.\d+)*/g, "N");
}
