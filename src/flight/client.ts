/**
 * The Flight client: one connection to one server, and every call that Flight has.
 *
 * @module
 */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { positiveInteger, type ReaderLimits, readerLimits } from "../limits.ts";
import type { Dataset } from "../sources/dataset.ts";
import { authenticate } from "./authentication.ts";
import { CallContext } from "./call_context.ts";
import type { FlightCallOptions, FlightClientOptions } from "./client_options.ts";
import { FlightConnection } from "./connection.ts";
import { frameOfMessage } from "./data.ts";
import { DataCall } from "./data_call.ts";
import { FlightReader } from "./flight_reader.ts";
import { FlightStream } from "./flight_stream.ts";
import * as proto from "./gen/flight_pb.ts";
import { type FlightLocation, parseFlightLocation } from "./location.ts";
import {
  type ActionType,
  bytesOf,
  type CancelStatus,
  cancelStatusOf,
  type CloseSessionStatus,
  closeStatusOf,
  descriptorToProto,
  endpointFromProto,
  endpointToProto,
  type FlightDescriptorInit,
  type FlightEndpoint,
  type FlightInfo,
  infoFromProto,
  infoToProto,
  optionErrorOf,
  pollFromProto,
  type PollInfo,
  type SessionOptionError,
  type SessionValue,
  sessionValueFromProto,
  sessionValueToProto,
} from "./model.ts";
import { SmallCalls } from "./small_calls.ts";
import { FlightExchange, FlightWriter } from "./upload.ts";

/** Longest message of calls that carry no Arrow data, where nothing else is asked for. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

/**
 * A connection to a Flight server.
 *
 * Every call takes {@linkcode FlightCallOptions}: an AbortSignal, a deadline, headers, and hooks for the server's headers and
 * trailers. Every call throws a `DipcError`; where the server answered with a status of gRPC, `error.foreign` has it.
 *
 * @example Usage
 * ```ts ignore
 * import { FlightClient } from "@arrow-ucx/dipc/flight";
 *
 * await using client = await FlightClient.connect("grpc://127.0.0.1:8815");
 * for await (const info of client.listFlights()) console.log(info.descriptor, info.totalRecords);
 * ```
 */
export class FlightClient implements AsyncDisposable {
  /** Where the server is. */
  readonly location: FlightLocation;
  readonly #connection: FlightConnection;
  readonly #context: CallContext;
  readonly #calls: SmallCalls;
  readonly #limits: ReaderLimits;
  readonly #timeoutMs: number;
  readonly #options: FlightClientOptions;
  readonly #running = new Set<DataCall>();

  private constructor(location: FlightLocation, options: FlightClientOptions) {
    this.location = location;
    this.#options = options;
    this.#timeoutMs = positiveInteger("timeoutMs", options.timeoutMs ?? 30_000);
    this.#limits = readerLimits(options.limits);
    const maxMessageBytes = positiveInteger("maxMessageBytes", options.maxMessageBytes ?? MAX_MESSAGE_BYTES);
    if (options.tls !== undefined && !location.tls) {
      throw new DipcError("invalid_argument", `tls goes with a grpc+tls: location, but this is ${location.uri}`);
    }
    this.#connection = new FlightConnection(location, { tls: options.tls, timeoutMs: this.#timeoutMs });
    this.#context = new CallContext(options);
    const peer = location.uri;
    this.#calls = new SmallCalls(this.#connection, this.#context, {
      maxMessageBytes,
      timeoutMs: this.#timeoutMs,
      peer,
    });
  }

  /**
   * Connects, and authenticates where `user` is given.
   *
   * @param location `grpc://host:port`, `grpc+tcp://host:port`, `grpc+tls://host:port` or `grpc+unix:///path`
   * @param options Certificates, credentials, limits
   * @throws {DipcError} `invalid_uri`, `invalid_argument`, `unreachable`, `permission_denied`, `timeout`, `cancelled`
   */
  static async connect(location: string | URL, options: FlightClientOptions = {}): Promise<FlightClient> {
    const client = new FlightClient(parseFlightLocation(location), options);
    try {
      await client.#connection.connect(options.signal);
      if (options.user !== undefined) {
        await client.authenticateBasic(options.user, options.password ?? "", { signal: options.signal });
      }
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /**
   * Runs over the flights that match an expression of the server's own form. Leaving the loop early cancels the call.
   *
   * @param criteria The expression; empty for all
   * @param call Options of this call
   */
  async *listFlights(
    criteria: string | Uint8Array = "",
    call: FlightCallOptions = {},
  ): AsyncGenerator<FlightInfo, undefined> {
    const request = { expression: bytesOf(criteria) };
    const { stubs } = this.#calls;
    for await (const info of this.#calls.many("ListFlights", call, (options) => stubs.listFlights(request, options))) {
      yield infoFromProto(info);
    }
  }

  /**
   * Asks where the data of a descriptor can be fetched.
   *
   * @param descriptor Path or command
   * @param call Options of this call
   */
  async getFlightInfo(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<FlightInfo> {
    const request = descriptorToProto(descriptor);
    const { stubs } = this.#calls;
    return infoFromProto(
      await this.#calls.one("GetFlightInfo", call, (options) => stubs.getFlightInfo(request, options)),
    );
  }

  /**
   * Starts a long-running query, or asks how far it is.
   *
   * @param descriptor Path or command, or what an earlier answer said to ask with
   * @param call Options of this call
   */
  async pollFlightInfo(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<PollInfo> {
    const request = descriptorToProto(descriptor);
    const { stubs } = this.#calls;
    return pollFromProto(
      await this.#calls.one("PollFlightInfo", call, (options) => stubs.pollFlightInfo(request, options)),
    );
  }

  /**
   * Asks for the schema of a descriptor's data.
   *
   * @param descriptor Path or command
   * @param call Options of this call
   * @returns an encapsulated IPC message, as at the start of an Arrow stream
   */
  async getSchema(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<Uint8Array> {
    const request = descriptorToProto(descriptor);
    const { stubs } = this.#calls;
    return (await this.#calls.one("GetSchema", call, (options) => stubs.getSchema(request, options))).schema;
  }

  /**
   * Fetches the stream of a ticket from this server.
   *
   * @param ticket The ticket of an endpoint
   * @param call Options of this call
   * @returns the reader, once the schema has arrived
   */
  async doGet(ticket: string | Uint8Array, call: FlightCallOptions = {}): Promise<FlightReader> {
    return new FlightReader(await this.openStream(ticket, call), this.#limits);
  }

  /** @ignore The stream under {@linkcode doGet}, its schema taken. */
  async openStream(ticket: string | Uint8Array, call: FlightCallOptions = {}): Promise<FlightStream> {
    const running = await this.#start("DoGet", call);
    try {
      const request = create(proto.TicketSchema, { ticket: bytesOf(ticket) });
      running.output.message(toBinary(proto.TicketSchema, request));
      running.output.end();
      const stream = new FlightStream(running, this.#limits);
      await stream.readSchema();
      return stream;
    } catch (error) {
      running.cancel(error);
      throw error;
    }
  }

  /**
   * Starts an upload.
   *
   * @param descriptor What is uploaded
   * @param schema The schema message, or a dataset that has one
   * @param call Options of this call
   */
  async doPut(
    descriptor: FlightDescriptorInit,
    schema: MessageHeader | Dataset,
    call: FlightCallOptions = {},
  ): Promise<FlightWriter> {
    const running = await this.#start("DoPut", call);
    const header = "schema" in schema ? schema.schema : schema;
    await running.output.write(frameOfMessage({ header, body: null }, { descriptor }));
    return new FlightWriter(running);
  }

  /**
   * Uploads a whole dataset.
   *
   * @param descriptor What it is called there
   * @param dataset What to send
   * @param call Options of this call
   * @returns what the server says about it
   */
  async put(
    descriptor: FlightDescriptorInit,
    dataset: Dataset,
    call: FlightCallOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    const run = await dataset.open({ signal: call.signal });
    try {
      await using writer = await this.doPut(descriptor, dataset, call);
      const results = collect(writer.results());
      // Reported by the await below; a failing write comes first.
      results.catch(() => {});
      for (let message; (message = await run.next()) !== null;) await writer.write(message);
      writer.doneWriting();
      return await results;
    } finally {
      await run.close();
    }
  }

  /**
   * Starts a stream in each direction.
   *
   * @param descriptor What the exchange is about; sent with the first frame
   * @param call Options of this call
   */
  async doExchange(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<FlightExchange> {
    const running = await this.#start("DoExchange", call);
    const reader = new FlightReader(new FlightStream(running, this.#limits), this.#limits, true);
    return new FlightExchange(running, descriptor, reader);
  }

  /**
   * Runs an action; runs over its answers. Leaving the loop early cancels the call.
   *
   * @param type Its name
   * @param body Its argument
   * @param call Options of this call
   */
  async *doAction(
    type: string,
    body: string | Uint8Array = "",
    call: FlightCallOptions = {},
  ): AsyncGenerator<Uint8Array, undefined> {
    const request = { type, body: bytesOf(body) };
    const { stubs } = this.#calls;
    for await (const result of this.#calls.many("DoAction", call, (options) => stubs.doAction(request, options))) {
      yield result.body;
    }
  }

  /**
   * Runs over the actions that the server offers.
   *
   * @param call Options of this call
   */
  async *listActions(call: FlightCallOptions = {}): AsyncGenerator<ActionType, undefined> {
    const { stubs } = this.#calls;
    for await (const action of this.#calls.many("ListActions", call, (options) => stubs.listActions({}, options))) {
      yield { type: action.type, description: action.description };
    }
  }

  /**
   * Sends the payloads of a handshake and gives those of the server.
   *
   * @param payloads What the scheme of authentication wants; may wait for answers
   * @param call Options of this call
   */
  async *handshake(
    payloads: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    call: FlightCallOptions = {},
  ): AsyncGenerator<Uint8Array, undefined> {
    async function* requests() {
      for await (const payload of payloads) yield create(proto.HandshakeRequestSchema, { payload });
    }
    const { stubs } = this.#calls;
    for await (
      const { payload } of this.#calls.many("Handshake", call, (options) => stubs.handshake(requests(), options))
    ) {
      yield payload;
    }
  }

  /**
   * Basic authentication. The server's bearer token is sent with every later call; a server that gives none gets user and
   * password with every later call.
   *
   * @param user The name, without a colon
   * @param password The password
   * @param call Options of this call
   * @returns the value of the header `authorization` from now on
   * @throws {DipcError} `permission_denied`, `invalid_argument`
   */
  async authenticateBasic(user: string, password: string, call: FlightCallOptions = {}): Promise<string> {
    const authorization = await authenticate(user, password, (headers, onHeaders) =>
      this.handshake([], {
        ...call,
        headers: [...new Headers(call.headers), ...headers],
        onHeaders: (received) => {
          onHeaders(received);
          call.onHeaders?.(received);
        },
        onTrailers: (received) => {
          onHeaders(received);
          call.onTrailers?.(received);
        },
      }));
    this.#context.setHeader("authorization", authorization);
    return authorization;
  }

  /**
   * The action CancelFlightInfo: asks for a query to be stopped.
   *
   * @param info What `getFlightInfo` or `pollFlightInfo` gave
   * @param call Options of this call
   */
  async cancelFlightInfo(info: FlightInfo, call: FlightCallOptions = {}): Promise<CancelStatus> {
    const request = create(proto.CancelFlightInfoRequestSchema, { info: infoToProto(info) });
    const body = toBinary(proto.CancelFlightInfoRequestSchema, request);
    return cancelStatusOf(
      (await this.#action("CancelFlightInfo", body, proto.CancelFlightInfoResultSchema, call)).status,
    );
  }

  /**
   * The action RenewFlightEndpoint: asks for an endpoint to hold longer.
   *
   * @param endpoint The endpoint
   * @param call Options of this call
   * @returns the endpoint to be used from now on
   */
  async renewFlightEndpoint(endpoint: FlightEndpoint, call: FlightCallOptions = {}): Promise<FlightEndpoint> {
    const request = create(proto.RenewFlightEndpointRequestSchema, { endpoint: endpointToProto(endpoint) });
    const body = toBinary(proto.RenewFlightEndpointRequestSchema, request);
    return endpointFromProto(await this.#action("RenewFlightEndpoint", body, proto.FlightEndpointSchema, call));
  }

  /**
   * The action SetSessionOptions.
   *
   * @param options Values by name; `null` removes an option
   * @param call Options of this call
   * @returns the options that could not be set, and why
   */
  async setSessionOptions(
    options: Record<string, SessionValue>,
    call: FlightCallOptions = {},
  ): Promise<Record<string, SessionOptionError>> {
    const request = create(proto.SetSessionOptionsRequestSchema, {
      sessionOptions: mapValues(options, sessionValueToProto),
    });
    const body = toBinary(proto.SetSessionOptionsRequestSchema, request);
    const { errors } = await this.#action("SetSessionOptions", body, proto.SetSessionOptionsResultSchema, call);
    return mapValues(errors, ({ value }) => optionErrorOf(value));
  }

  /**
   * The action GetSessionOptions.
   *
   * @param call Options of this call
   * @returns the values by name
   */
  async getSessionOptions(call: FlightCallOptions = {}): Promise<Record<string, SessionValue>> {
    const { sessionOptions } = await this.#action(
      "GetSessionOptions",
      new Uint8Array(0),
      proto.GetSessionOptionsResultSchema,
      call,
    );
    return mapValues(sessionOptions, sessionValueFromProto);
  }

  /**
   * The action CloseSession.
   *
   * @param call Options of this call
   */
  async closeSession(call: FlightCallOptions = {}): Promise<CloseSessionStatus> {
    return closeStatusOf(
      (await this.#action("CloseSession", new Uint8Array(0), proto.CloseSessionResultSchema, call)).status,
    );
  }

  /** Cancels what runs and closes the connection. Idempotent. */
  async close(): Promise<void> {
    for (const call of this.#running) call.cancel(new DipcError("closed", "the Flight client was closed"));
    await this.#connection.close();
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(method: string, call: FlightCallOptions): Promise<DataCall> {
    const { headers, signal, deadlineMs, onHeaders, onEnd } = await this.#context.prepare(method, call);
    let isOver = false;
    const running = await DataCall.start(this.#connection, {
      method,
      headers,
      limits: this.#limits,
      pool: this.#options.pool,
      timeoutMs: this.#timeoutMs,
      deadlineMs,
      signal,
      peer: this.location.uri,
      onHeaders,
      onEnd: (trailers, error) => {
        isOver = true;
        this.#running.delete(running);
        onEnd(trailers, error);
      },
    });
    if (!isOver) this.#running.add(running);
    return running;
  }

  /** Runs an action that has one answer. */
  async #action<Desc extends DescMessage>(
    type: string,
    body: Uint8Array,
    schema: Desc,
    call: FlightCallOptions,
  ): Promise<MessageShape<Desc>> {
    const answers = await collect(this.doAction(type, body, call));
    if (answers.length !== 1) {
      throw new DipcError(
        "protocol",
        `the action ${type} at ${this.location.uri} gave ${answers.length} answers, expected 1`,
      );
    }
    try {
      return fromBinary(schema, answers[0]);
    } catch (error) {
      throw new DipcError("protocol", `the answer of the action ${type} at ${this.location.uri} is malformed`, {
        cause: error,
      });
    }
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function mapValues<A, B>(record: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
