/**
 * The Flight client: one connection to one server, and every call that Flight has.
 *
 * @module
 */
import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { type ReaderLimits, readerLimits, timeoutOption } from "../limits.ts";
import { integerIn } from "../options.ts";
import { checkDeno } from "../runtime.ts";
import type { Dataset } from "../sources/dataset.ts";
import { authenticate } from "./authentication.ts";
import { CallContext } from "./call_context.ts";
import type { FlightCallOptions, FlightClientOptions } from "./client_options.ts";
import { checkSendable, cutDataset } from "./cut_dataset.ts";
import { GrpcConnection } from "../grpc/client_connection.ts";
import { type FlightFrame, frameOfMessage, writeFrame } from "./data.ts";
import { GrpcCall } from "../grpc/client_call.ts";
import { FrameDecoder } from "./frame_decoder.ts";
import { FlightReader } from "./flight_reader.ts";
import { FlightStream } from "./flight_stream.ts";
import * as proto from "./gen/flight_pb.ts";
import { type FlightLocation, parseFlightLocation } from "./location.ts";
import {
  type ActionType,
  bytesOf,
  descriptorToProto,
  type FlightDescriptorInit,
  type FlightInfo,
  infoFromProto,
  pollFromProto,
  type PollInfo,
  SERVICE_PATH,
  UPLOAD_BYTES_HEADER,
} from "./model.ts";
import { MessageDecoder } from "../grpc/message_decoder.ts";
import { PredefinedActions } from "./predefined_actions.ts";
import { callMany, callOnce, type Method } from "../grpc/small_calls.ts";
import type { StreamDecoder } from "../grpc/stream_input.ts";
import { FlightExchange, FlightWriter } from "./upload.ts";

const service = proto.FlightService.method;

/** Default of `maxMessageBytes`: what Arrow's own clients take. Memory grows with what has come, not with what is announced. */
const MAX_MESSAGE_BYTES = 2 ** 31 - 1;

/** What a client has from another one, whose server has named its location. */
interface Beside {
  /** The client whose cookies it has too. */
  readonly cookiesOf?: FlightClient;
  /** Longest wait for the connection, in milliseconds, if that is less than `timeoutMs`. */
  readonly connectTimeoutMs?: number;
  /** As in `GrpcConnectionOptions`. */
  readonly awaitsServer?: boolean;
}

/**
 * A connection to a Flight server.
 *
 * Every call takes {@linkcode FlightCallOptions}: an AbortSignal, a deadline, headers, and hooks for the server's headers and
 * trailers. Every call throws a `DipcError`; if the server answered with a status of gRPC, `error.foreign` has it.
 *
 * @example Usage
 * ```ts ignore
 * import { FlightClient } from "@arrow-ucx/dipc/flight";
 *
 * await using client = await FlightClient.connect("grpc://127.0.0.1:8815");
 * for await (const info of client.listFlights()) console.log(info.descriptor, info.totalRecords);
 * ```
 */
export class FlightClient extends PredefinedActions implements AsyncDisposable {
  /** Address of the server. */
  override readonly location: FlightLocation;
  readonly #connection: GrpcConnection;
  readonly #context: CallContext;
  readonly #limits: ReaderLimits;
  readonly #timeoutMs: number;
  readonly #options: FlightClientOptions;
  readonly #maxMessageBytes: number;
  readonly #running = new Set<{ cancel(error: unknown): void }>();

  private constructor(location: FlightLocation, options: FlightClientOptions, beside: Beside = {}) {
    super();
    this.location = location;
    this.#options = options;
    this.#timeoutMs = timeoutOption("timeoutMs", options.timeoutMs ?? 30_000);
    this.#limits = readerLimits(options.limits);
    this.#maxMessageBytes = integerIn("maxMessageBytes", options.maxMessageBytes ?? MAX_MESSAGE_BYTES, 1);
    if (options.tls !== undefined && !location.tls) {
      throw new LocalError(
        "invalid_argument",
        `cannot use tls: it needs a grpc+tls: location, but this is ${location.uri}`,
      );
    }
    this.#connection = new GrpcConnection(location, {
      tls: options.tls,
      timeoutMs: Math.min(this.#timeoutMs, beside.connectTimeoutMs ?? Infinity),
      awaitsServer: beside.awaitsServer,
    });
    this.#context = new CallContext(
      options,
      beside.cookiesOf === undefined ? undefined : beside.cookiesOf.#context.cookies,
    );
  }

  /**
   * Connects, and authenticates if `user` is given.
   *
   * @param location `grpc://host:port`, `grpc+tcp://host:port`, `grpc+tls://host:port` or `grpc+unix:///path`
   * @param options Certificates, credentials, limits
   * @throws {DipcError} `invalid_uri`, `invalid_argument`, `unreachable`, `permission_denied`, `timeout`, `cancelled`
   */
  static async connect(location: string | URL, options: FlightClientOptions = {}): Promise<FlightClient> {
    return await FlightClient._connectBeside(location, options, {});
  }

  /** @ignore Connects to a location that the server of another client has named. */
  static async _connectBeside(
    location: string | URL,
    options: FlightClientOptions,
    beside: Beside,
  ): Promise<FlightClient> {
    checkDeno();
    const client = new FlightClient(parseFlightLocation(location), options, beside);
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
   * Iterates over the flights that match an expression in the server's own format. Leaving the loop early cancels the call.
   *
   * @param criteria The expression; empty for all flights
   * @param call Options of this call
   */
  async *listFlights(
    criteria: string | Uint8Array = "",
    call: FlightCallOptions = {},
  ): AsyncGenerator<FlightInfo, undefined> {
    const request = { expression: bytesOf(criteria) };
    for await (const info of this.#many(service.listFlights, [request], call)) yield infoFromProto(info);
  }

  /**
   * Requests the endpoints from which the data of a descriptor can be fetched.
   *
   * @param descriptor Path or command
   * @param call Options of this call
   */
  async getFlightInfo(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<FlightInfo> {
    return infoFromProto(await this.#one(service.getFlightInfo, descriptorToProto(descriptor), call));
  }

  /**
   * Starts a long-running query, or requests its progress.
   *
   * @param descriptor Path or command, or the descriptor of an earlier answer
   * @param call Options of this call
   */
  async pollFlightInfo(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<PollInfo> {
    return pollFromProto(await this.#one(service.pollFlightInfo, descriptorToProto(descriptor), call));
  }

  /**
   * Requests the schema of a descriptor's data.
   *
   * @param descriptor Path or command
   * @param call Options of this call
   * @returns An encapsulated IPC message, as at the start of an Arrow stream
   */
  async getSchema(descriptor: FlightDescriptorInit, call: FlightCallOptions = {}): Promise<Uint8Array> {
    return (await this.#one(service.getSchema, descriptorToProto(descriptor), call)).schema;
  }

  /**
   * Fetches the stream of a ticket from this server.
   *
   * @param ticket The ticket of an endpoint
   * @param call Options of this call
   * @returns The reader, once the schema has arrived, or the stream has ended without one
   */
  async doGet(ticket: string | Uint8Array, call: FlightCallOptions = {}): Promise<FlightReader> {
    return new FlightReader(await this.openStream(ticket, call), this.#limits);
  }

  /** @ignore The stream of {@linkcode doGet}, after reading its schema, if it has one. `onRequest` is called before it is requested. */
  async openStream(
    ticket: string | Uint8Array,
    call: FlightCallOptions = {},
    onRequest: () => void = () => {},
  ): Promise<FlightStream> {
    const running = await this.#startData("DoGet", call);
    onRequest();
    try {
      const request = create(proto.TicketSchema, { ticket: bytesOf(ticket) });
      running.output.message(toBinary(proto.TicketSchema, request))?.catch(() => {});
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
   * @param descriptor Path or command of the upload
   * @param schema The schema message, or a dataset that has one
   * @param call Options of this call
   */
  async doPut(
    descriptor: FlightDescriptorInit,
    schema: MessageHeader | Dataset,
    call: FlightCallOptions = {},
  ): Promise<FlightWriter> {
    const running = await this.#startData("DoPut", call);
    const header = "schema" in schema ? schema.schema : schema;
    await writeFrame(running.output, frameOfMessage({ header, body: null }, { descriptor }));
    return new FlightWriter(running);
  }

  /**
   * Uploads a whole dataset.
   *
   * @param descriptor Path or command of the upload
   * @param dataset Dataset to send
   * @param call Options of this call
   * @returns The server's results
   */
  async put(
    descriptor: FlightDescriptorInit,
    dataset: Dataset,
    call: FlightCallOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    const cut = cutDataset(dataset, this.#options.maxBatchBytes);
    await checkSendable(cut);
    const run = await cut.open({ signal: call.signal });
    try {
      const headers = new Headers(call.headers);
      if (cut.bodyBytes !== undefined) headers.set(UPLOAD_BYTES_HEADER, String(cut.bodyBytes));
      await using writer = await this.doPut(descriptor, run.schema ?? dataset.schema, {
        ...call,
        headers: [...headers],
      });
      const results = collect(writer.results());
      // The await below reports it, unless a write fails first.
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
    const running = await this.#startData("DoExchange", call);
    const reader = new FlightReader(new FlightStream(running, this.#limits), this.#limits, true);
    return new FlightExchange(running, descriptor, reader);
  }

  /**
   * Runs an action and iterates over its answers. Leaving the loop early cancels the call.
   *
   * @param type Name of the action
   * @param body Argument of the action
   * @param call Options of this call
   */
  override async *doAction(
    type: string,
    body: string | Uint8Array = "",
    call: FlightCallOptions = {},
  ): AsyncGenerator<Uint8Array, undefined> {
    const request = { type, body: bytesOf(body) };
    for await (const result of this.#many(service.doAction, [request], call)) yield result.body;
  }

  /**
   * Iterates over the actions that the server offers.
   *
   * @param call Options of this call
   */
  async *listActions(call: FlightCallOptions = {}): AsyncGenerator<ActionType, undefined> {
    for await (const { type, description } of this.#many(service.listActions, [{}], call)) yield { type, description };
  }

  /**
   * Sends the payloads of a handshake and yields those of the server.
   *
   * @param payloads Payloads that the authentication scheme requires; may wait for answers
   * @param call Options of this call
   */
  async *handshake(
    payloads: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    call: FlightCallOptions = {},
  ): AsyncGenerator<Uint8Array, undefined> {
    async function* requests() {
      for await (const payload of payloads) yield { payload };
    }
    for await (const { payload } of this.#many(service.handshake, requests(), call)) yield payload;
  }

  /**
   * Basic authentication. The server's bearer token is sent with every later call; a server that returns none gets user and
   * password with every later call.
   *
   * @param user Name of the user, without a colon
   * @param password Password of the user
   * @param call Options of this call
   * @returns The value of the header `authorization` from now on
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

  /** Cancels running calls and closes the connection. Idempotent. */
  async close(): Promise<void> {
    for (const call of this.#running) {
      call.cancel(new LocalError("closed", "cannot complete the call: the Flight client was closed"));
    }
    await this.#connection.close();
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #one<In extends DescMessage, Out extends DescMessage>(
    method: Method<In, Out>,
    request: MessageInitShape<In>,
    call: FlightCallOptions,
  ): Promise<MessageShape<Out>> {
    return callOnce(this.#startSmall, method, request, call, this.location.uri);
  }

  #many<In extends DescMessage, Out extends DescMessage>(
    method: Method<In, Out>,
    requests: Iterable<MessageInitShape<In>> | AsyncIterable<MessageInitShape<In>>,
    call: FlightCallOptions,
  ): AsyncGenerator<MessageShape<Out>, undefined> {
    return callMany(this.#startSmall, method, requests, call, this.location.uri);
  }

  #startSmall = (
    method: string,
    call: FlightCallOptions,
    isUnary: boolean,
  ): Promise<GrpcCall<Uint8Array<ArrayBuffer>>> =>
    this.#start(method, call, new MessageDecoder(this.#maxMessageBytes), isUnary ? this.#timeoutMs : undefined);

  #startData(method: string, call: FlightCallOptions): Promise<GrpcCall<FlightFrame>> {
    const { maxMetadataBytes, maxBodyBytes } = this.#limits;
    const isPutResults = method === "DoPut";
    const decoder = new FrameDecoder({ maxMetadataBytes, maxBodyBytes, pool: this.#options.pool, isPutResults });
    return this.#start(method, call, decoder);
  }

  async #start<T>(
    method: string,
    call: FlightCallOptions,
    decoder: StreamDecoder<T>,
    answerMs?: number,
  ): Promise<GrpcCall<T>> {
    const { onHeaders, onEnd, ...prepared } = await this.#context.prepare(method, call, answerMs);
    let isOver = false;
    const running: GrpcCall<T> = await GrpcCall.start(this.#connection, {
      service: SERVICE_PATH,
      ...prepared,
      method,
      decoder,
      maxInFlightBytes: this.#limits.maxInFlightBytes,
      timeoutMs: this.#timeoutMs,
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
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
