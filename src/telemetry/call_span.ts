/**
 * Calls of gRPC, with the names of OpenTelemetry's semantic conventions for RPC, version 1.45 (stable).
 *
 * @module
 */
import type { Attributes, Instrument, Span } from "./backend.ts";
import { failureOf, measure, startSpan } from "./telemetry.ts";

/** Buckets in seconds, as the conventions want them. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const DURATION: Readonly<Record<"client" | "server", Instrument>> = {
  client: {
    name: "rpc.client.call.duration",
    kind: "histogram",
    unit: "s",
    description: "Time of calls at servers",
    boundaries: BOUNDARIES,
  },
  server: {
    name: "rpc.server.call.duration",
    kind: "histogram",
    unit: "s",
    description: "Time of calls by clients",
    boundaries: BOUNDARIES,
  },
};
/** Statuses that are the fault of a server, and thus errors of its spans; the others are errors of the client's alone. */
const FAULTS = new Set(["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]);

/** A call, from its start to its end. */
export class CallSpan {
  readonly #kind: "client" | "server";
  readonly #attributes: Attributes;
  readonly #span: Span | null;
  readonly #startedMs = performance.now();

  private constructor(kind: "client" | "server", attributes: Attributes, span: Span | null) {
    this.#kind = kind;
    this.#attributes = attributes;
    this.#span = span;
  }

  /**
   * Begins a call. Its `traceparent` is that of the headers for the other side to go on with.
   *
   * @param kind Which side this is
   * @param method Service and method, such as `arrow.flight.protocol.FlightService/DoGet`
   * @param headers Headers of the call; one that names a span is where this one belongs
   * @param server Address and port of the server, as far as they are known
   */
  static start(
    kind: "client" | "server",
    method: string,
    headers: Headers,
    server: { readonly host?: string; readonly port?: number } = {},
  ): CallSpan {
    const attributes: Record<string, string | number> = { "rpc.system.name": "grpc", "rpc.method": method };
    if (server.host) attributes["server.address"] = server.host;
    if (server.port) attributes["server.port"] = server.port;
    const parent = headers.get("traceparent") ?? undefined;
    const span = startSpan({ name: method, kind, attributes, parent });
    if (span !== null) headers.set("traceparent", span.traceparent);
    return new CallSpan(kind, attributes, span);
  }

  /** Runs what belongs to the call. */
  run<T>(run: () => T): T {
    return this.#span === null ? run() : this.#span.run(run);
  }

  /**
   * Ends the call. Called once.
   *
   * @param status Name of its status, such as `OK`
   * @param error Why it failed
   */
  end(status: string, error: unknown): void {
    const isError = this.#kind === "client" ? status !== "OK" : FAULTS.has(status);
    const outcome = { "rpc.response.status_code": status, ...(isError ? { "error.type": status } : {}) };
    const seconds = (performance.now() - this.#startedMs) / 1000;
    measure(DURATION[this.#kind], seconds, { ...this.#attributes, ...outcome });
    this.#span?.set(outcome);
    this.#span?.end(isError ? { type: status, message: failureOf(error).message } : undefined);
  }
}
