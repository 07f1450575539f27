/**
 * A Flight server: its start, its events and its end.
 *
 * @module
 */
import { TypedEventTarget } from "../../events.ts";
import { asDipcError, type DipcError } from "../../errors.ts";
import { integerIn } from "../../options.ts";
import { checkDeno } from "../../runtime.ts";
import { formatFlightLocation } from "../location.ts";
import { rpcMethod, SERVICE_PATH } from "../model.ts";
import { GrpcStatus, grpcStatusName, grpcStatusOf } from "../../grpc/status.ts";
import { Authenticator, maxTokenBytes } from "./auth.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import { tellPeer } from "../../tell_peer.ts";
import { GrpcServer } from "../../grpc/server.ts";
import { checkOptionNames } from "../../options.ts";
import { advertisedHost, type Approach, reachableHost } from "../../reachable_host.ts";
import { CallSpan } from "../../telemetry/call_span.ts";
import type { SentData } from "./data_out.ts";
import { type CallRecord, FlightMethods } from "./methods.ts";
import { FLIGHT_SERVER_KEYS, type FlightServerOptions, serverLimits } from "./options.ts";
import type { FlightServerParts } from "./parts.ts";

/** Longest headers of a call besides a token, in bytes. */
const OTHER_HEADER_BYTES = 32 * 1024;

/** Detail of the events of a {@linkcode FlightServer}. */
export interface FlightServerEventDetail {
  /** Number of the connection, from 1; 0 if it failed before it had one. */
  connection: number;
  /** Name of the call, such as `"DoGet"`; empty if a connection failed before one. */
  method: string;
  /** Name of the dataset that the call was about, as far as the client has named one in text: no statement of SQL. */
  dataset?: string;
  /** Number of record batches sent. */
  batches: number;
  /** Size of the bodies sent, in bytes. */
  bodyBytes: number;
  /** Size of the metadata sent, in bytes. */
  metadataBytes: number;
  /** The error of an `error` event. */
  error?: DipcError;
}

/** The events of a {@linkcode FlightServer}, by type. */
export interface FlightServerEvents {
  /** A call has succeeded. */
  end: CustomEvent<FlightServerEventDetail>;
  /** A call or a connection has failed; the server goes on. */
  error: CustomEvent<FlightServerEventDetail>;
}

/**
 * A running Flight server. Made by {@linkcode serveFlight}, or by `serve` with the option `flight`.
 *
 * Dispatches the events of {@linkcode FlightServerEvents}.
 */
export class FlightServer extends TypedEventTarget<FlightServerEvents> implements AsyncDisposable {
  readonly #grpc: GrpcServer;
  readonly #options: FlightServerOptions;
  /** The address bound to. */
  readonly address: string;
  /** The port bound to. */
  readonly port: number;
  /** Location for clients: `grpc://HOST:PORT`, or `grpc+tls://HOST:PORT` with certificates. */
  readonly location: string;

  /** @ignore Use {@linkcode serveFlight}. */
  constructor(grpc: GrpcServer, options: FlightServerOptions, events: EventTarget) {
    super();
    this.#grpc = grpc;
    this.address = options.address ?? "127.0.0.1";
    this.port = grpc.port;
    this.#options = options;
    this.location = this._locationFor();
    for (const type of ["end", "error"]) {
      events.addEventListener(type, (event) => {
        this.dispatchEvent(new CustomEvent(type, { detail: (event as CustomEvent).detail }));
      });
    }
  }

  /** @ignore Location for one client; how it has reached this server counts if that listens on all addresses. */
  _locationFor(approach?: Approach): string {
    const { advertise, tls } = this.#options;
    const { host, port } = advertise === undefined
      ? reachableHost(this.address, "both", approach)
      : { host: advertise };
    return formatFlightLocation(host, port ?? this.port, tls !== undefined);
  }

  /**
   * @ignore Starts a server.
   */
  static async _start(options: FlightServerOptions, parts: FlightServerParts): Promise<FlightServer> {
    checkDeno();
    advertisedHost(options.advertise);
    const limits = serverLimits(options.limits);
    const { maxBatchBytes } = options;
    if (maxBatchBytes !== undefined && maxBatchBytes !== false) integerIn("maxBatchBytes", maxBatchBytes, 1024);
    const authenticator = options.auth === undefined ? null : await Authenticator.open(options.auth);
    const methods = new FlightMethods({
      ...parts,
      handlers: options.handlers ?? {},
      limits,
      authenticator,
      maxBatchBytes,
    });
    const events = new EventTarget();
    const grpc = await GrpcServer.listen({
      address: options.address ?? "127.0.0.1",
      port: options.port ?? 0,
      tls: options.tls,
      service: SERVICE_PATH,
      maxConnections: limits.maxConnections,
      maxCalls: limits.maxCalls,
      requestTimeoutMs: limits.requestTimeoutMs,
      idleTimeoutMs: limits.idleTimeoutMs,
      maxHeaderBytes: OTHER_HEADER_BYTES + maxTokenBytes(options.auth),
      onCall: (call) => answer(call, methods, events),
      onError: (error, connection, method = "") =>
        emit(events, "error", { connection, method, ...NOTHING_SENT, error }),
      onConnectionEnd: parts.onConnectionEnd,
    });
    return new FlightServer(grpc, options, events);
  }

  /** Calls under way. */
  get activeCalls(): number {
    return this.#grpc.activeCalls;
  }

  /**
   * Stops accepting, lets running calls finish within a deadline, and cuts those that do not. Idempotent.
   *
   * @param options `timeoutMs`: the deadline in milliseconds, default 10,000; 0 cuts at once, `Infinity` never
   */
  shutdown(options: { timeoutMs?: number } = {}): Promise<void> {
    return this.#grpc.shutdown(options.timeoutMs ?? 10_000);
  }

  /** The same as `shutdown()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}

const NOTHING_SENT: Readonly<SentData> = { batches: 0, bodyBytes: 0, metadataBytes: 0 };

/** Answers one call, including its status. Never rejects. */
async function answer(call: ServerCall, methods: FlightMethods, events: EventTarget): Promise<void> {
  const record: CallRecord = { ...NOTHING_SENT };
  const span = CallSpan.start("server", rpcMethod(call.method), call.headers);
  let error: DipcError | undefined;
  try {
    await span.run(() => methods.run(call, record));
    await call.finish(GrpcStatus.ok);
  } catch (thrown) {
    // The reason is what ended the call, not the wait that it interrupted.
    const reason = call.signal.aborted ? call.signal.reason : thrown;
    const { code, text } = tellPeer(reason);
    await call.finish(grpcStatusOf(reason), text, code).catch(() => {});
    error = asDipcError(reason);
  }
  span.end(grpcStatusName(error === undefined ? GrpcStatus.ok : grpcStatusOf(error)), error);
  const detail: FlightServerEventDetail = {
    connection: call.connection,
    method: call.method,
    ...record,
  };
  if (error !== undefined) detail.error = error;
  emit(events, error === undefined ? "end" : "error", detail);
}

function emit(events: EventTarget, type: string, detail: FlightServerEventDetail): void {
  events.dispatchEvent(new CustomEvent(type, { detail }));
}

/**
 * Starts a Flight server that answers only by the program's own functions. To serve datasets, by UCX and by Flight, use
 * `serve` with the option `flight`.
 *
 * @example A server with one action
 * ```ts
 * import { FlightClient, serveFlight } from "@arrow-ucx/dipc/flight";
 *
 * await using server = await serveFlight({
 *   handlers: {
 *     actions: { greet: { description: "says hello", run: (name) => [new TextEncoder().encode(`hello ${new TextDecoder().decode(name)}`)] } },
 *   },
 * });
 * await using client = await FlightClient.connect(server.location);
 * for await (const result of client.doAction("greet", "you")) console.log(new TextDecoder().decode(result)); // "hello you"
 * ```
 *
 * @param options Address, authentication, handlers and limits
 * @throws {DipcError} `invalid_argument`, `unreachable` if the address cannot be bound, `permission_denied`
 */
export async function serveFlight(options: FlightServerOptions = {}): Promise<FlightServer> {
  checkOptionNames("serveFlight", options, FLIGHT_SERVER_KEYS);
  return await FlightServer._start(options, { catalog: null, uploads: null });
}
