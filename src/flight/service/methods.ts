/**
 * The calls of Flight: reads the request, calls handlers and the catalog, sends the answer.
 *
 * @module
 */
import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../../errors.ts";
import { frameMetadata } from "../../ipc/frame.ts";
import { readerLimits } from "../../limits.ts";
import { hostPool } from "../../memory/host_pool.ts";
import type { Dataset } from "../../sources/dataset.ts";
import * as proto from "../gen/flight_pb.ts";
import {
  type ActionType,
  descriptorFromProto,
  type FlightDescriptor,
  infoToProto,
  pollToProto,
  readableName,
} from "../model.ts";
import { GrpcStatus } from "../../grpc/status.ts";
import { parse, PREDEFINED, runPredefined } from "./actions.ts";
import { type Authenticator, handshakeResponse } from "./auth.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import { FrameInput } from "./frame_input.ts";
import { FlightContext } from "./context.ts";
import { cutDataset } from "../cut_dataset.ts";
import { sendDataset, type SentData } from "./data_out.ts";
import { FlightServerExchange, FlightUpload } from "./exchange.ts";
import type { FlightHandlers, FlightServerLimits } from "./options.ts";
import type { FlightServerParts } from "./parts.ts";
import { Sessions } from "./sessions.ts";
import { fromDataset } from "../../tell_peer.ts";

/** What the calls need. */
export interface MethodParts extends FlightServerParts {
  handlers: FlightHandlers;
  limits: FlightServerLimits;
  /** Authenticates callers; `null` if everyone may call. */
  authenticator: Authenticator | null;
  /** Longest message of a DoGet, in bytes; `false` for batches as they are. */
  maxBatchBytes?: number | false;
}

/** The outcome of one call. */
export interface CallRecord extends SentData {
  /** Name of the dataset that the call is about, as far as the client has named one in text: no statement of SQL. */
  dataset?: string;
}

type Method = (call: ServerCall, context: FlightContext, record: CallRecord) => Promise<void>;

/** The ten calls of Flight. */
export class FlightMethods {
  readonly #parts: MethodParts;
  readonly #sessions: Sessions;
  readonly #methods: ReadonlyMap<string, Method>;

  /** @param parts Handlers, datasets, limits and authentication */
  constructor(parts: MethodParts) {
    this.#parts = parts;
    this.#sessions = new Sessions(parts.limits.maxSessions);
    this.#methods = new Map<string, Method>([
      ["ListFlights", this.#listFlights],
      ["GetFlightInfo", this.#getFlightInfo],
      ["PollFlightInfo", this.#pollFlightInfo],
      ["GetSchema", this.#getSchema],
      ["DoGet", this.#doGet],
      ["DoPut", this.#doPut],
      ["DoExchange", this.#doExchange],
      ["DoAction", this.#doAction],
      ["ListActions", this.#listActions],
    ]);
  }

  /**
   * Answers a call up to its status.
   *
   * @param call Call to answer
   * @param record Updated with what was sent, even if this fails
   * @throws {DipcError} The call ends with its status
   */
  async run(call: ServerCall, record: CallRecord): Promise<void> {
    const { authenticator, handlers } = this.#parts;
    if (call.method === "Handshake") return await this.#handshake(call);
    const method = this.#methods.get(call.method);
    if (method === undefined) {
      throw new DipcError("unsupported", "cannot answer the call: the server has no such method");
    }
    const user = authenticator === null ? null : await authenticator.user(call);
    const context = this.#context(call, user);
    await handlers.onCall?.(context);
    await method(call, context, record);
  }

  #context(call: ServerCall, user: string | null): FlightContext {
    return new FlightContext(call, user, () => this.#sessions.find(call, user));
  }

  async #handshake(call: ServerCall): Promise<void> {
    const { authenticator, handlers, limits } = this.#parts;
    const context = this.#context(call, null);
    await handlers.onCall?.(context);
    if (handlers.handshake !== undefined) {
      for await (const payload of handlers.handshake(this.#payloads(call), context)) {
        await call.writeMessage(handshakeResponse(payload));
        await call.flush();
      }
      return call.begin();
    }
    if (authenticator === null) {
      throw new DipcError("unsupported", "cannot answer the handshake: this server does not authenticate callers");
    }
    const request = await this.#handshakeRequest(call, limits);
    const payload = request === null ? null : parse(proto.HandshakeRequestSchema, request).payload;
    await call.writeMessage(handshakeResponse(await authenticator.handshake(call, payload)));
    await call.flush();
  }

  async *#payloads(call: ServerCall): AsyncGenerator<Uint8Array, undefined> {
    const { limits } = this.#parts;
    for (let request; (request = await this.#handshakeRequest(call, limits)) !== null;) {
      yield parse(proto.HandshakeRequestSchema, request).payload;
    }
  }

  /** A client may think before each of its messages, the first one too. */
  #handshakeRequest(call: ServerCall, limits: FlightServerLimits): Promise<Uint8Array | null> {
    return call.input.message(limits.maxRequestBytes, limits.requestTimeoutMs, limits.idleTimeoutMs);
  }

  #listFlights: Method = async (call, context) => {
    const { handlers, catalog } = this.#parts;
    const { expression } = await this.#request(call, proto.CriteriaSchema);
    const send = async (
      infos: AsyncIterable<Parameters<typeof infoToProto>[0]> | Iterable<Parameters<typeof infoToProto>[0]>,
    ) => {
      for await (const info of infos) await call.writeMessage(toBinary(proto.FlightInfoSchema, infoToProto(info)));
    };
    if (catalog !== null) await send(catalog.list(expression, call.approach));
    if (handlers.listFlights !== undefined) await send(handlers.listFlights(expression, context));
    await call.flush();
  };

  #getFlightInfo: Method = async (call, context, record) => {
    const { handlers, catalog } = this.#parts;
    const descriptor = await this.#descriptor(call, record);
    const info = await handlers.getFlightInfo?.(descriptor, context) ?? await catalog?.info(descriptor, call.approach);
    if (info === undefined) throw noFlight();
    await this.#answer(call, toBinary(proto.FlightInfoSchema, infoToProto(info)));
  };

  #pollFlightInfo: Method = async (call, context, record) => {
    const { handlers, catalog } = this.#parts;
    const descriptor = await this.#descriptor(call, record);
    let poll = await handlers.pollFlightInfo?.(descriptor, context);
    if (poll === undefined) {
      const info = await handlers.getFlightInfo?.(descriptor, context) ??
        await catalog?.info(descriptor, call.approach);
      if (info === undefined) throw noFlight();
      // Datasets are available immediately.
      poll = { info, descriptor: null, progress: 1, expirationTime: null };
    }
    await this.#answer(call, toBinary(proto.PollInfoSchema, pollToProto(poll)));
  };

  #getSchema: Method = async (call, context, record) => {
    const { handlers, catalog } = this.#parts;
    const descriptor = await this.#descriptor(call, record);
    const schema = await handlers.getSchema?.(descriptor, context);
    let bytes: Uint8Array | undefined = schema && frameMetadata(schema);
    bytes ??= (await handlers.getFlightInfo?.(descriptor, context))?.schema;
    if (bytes === undefined && catalog !== null) bytes = frameMetadata(await catalog.schema(descriptor));
    if (bytes === undefined) throw noFlight();
    const result = create(proto.SchemaResultSchema, { schema: bytes });
    await this.#answer(call, toBinary(proto.SchemaResultSchema, result));
  };

  #doGet: Method = async (call, context, record) => {
    const { handlers, catalog, maxBatchBytes } = this.#parts;
    const { ticket } = await this.#request(call, proto.TicketSchema);
    const own: Dataset | undefined = await handlers.doGet?.(ticket, context);
    if (own !== undefined) {
      try {
        await sendDataset(call, cutDataset(own, maxBatchBytes), () => {}, record);
      } finally {
        await fromDataset(() => own.close());
      }
    } else {
      if (catalog === null) {
        throw new DipcError("not_found", "cannot find the flight: this server has none with this ticket");
      }
      const grant = await catalog.grant(ticket);
      record.dataset = grant.name;
      await sendDataset(call, cutDataset(grant.dataset, maxBatchBytes), () => grant.spend(), record);
    }
    await call.flush();
  };

  #doPut: Method = async (call, context, record) => {
    const { handlers, uploads } = this.#parts;
    const encode = (appMetadata: Uint8Array) =>
      toBinary(proto.PutResultSchema, create(proto.PutResultSchema, { appMetadata }));
    const upload = new FlightUpload(this.#frames(call), this.#uploadLimits(), call, encode);
    try {
      if (handlers.doPut === undefined && uploads === null) {
        throw new DipcError("unsupported", "cannot accept the upload: this server accepts none");
      }
      await upload._open();
      if (upload.descriptor !== null) setName(record, upload.descriptor);
      const isTaken = handlers.doPut !== undefined && await handlers.doPut(upload, context) !== false;
      if (!isTaken) {
        if (uploads === null) {
          throw new DipcError("unsupported", "cannot accept the upload: this server accepts none of this kind");
        }
        await uploads.take(upload);
      }
      call.begin();
    } finally {
      upload._close();
    }
  };

  #doExchange: Method = async (call, context, record) => {
    const { handlers } = this.#parts;
    const exchange = new FlightServerExchange(this.#frames(call), this.#uploadLimits(), call);
    try {
      if (handlers.doExchange === undefined) {
        throw new DipcError("unsupported", "cannot start the exchange: this server has none");
      }
      await exchange._open();
      if (exchange.descriptor !== null) setName(record, exchange.descriptor);
      await handlers.doExchange(exchange, context);
      await call.flush();
    } finally {
      exchange._close();
    }
  };

  #doAction: Method = async (call, context) => {
    const { handlers, catalog } = this.#parts;
    const { type, body } = await this.#request(call, proto.ActionSchema);
    const own = handlers.actions !== undefined && Object.hasOwn(handlers.actions, type) ? handlers.actions[type] : null;
    let results = own === null ? await handlers.doAction?.(type, body, context) : await own.run(body, context);
    if (results === undefined && own === null) {
      const result = await runPredefined(type, { catalog, sessions: this.#sessions, handlers }, body, call, context);
      if (result === null) {
        throw new DipcError(
          "unsupported",
          `cannot run the action "${type}": this server does not have it; ListActions returns those that it has`,
        );
      }
      results = [result];
    }
    for await (const result of results ?? []) {
      await call.writeMessage(toBinary(proto.ResultSchema, create(proto.ResultSchema, { body: result })));
      await call.flush();
    }
    call.begin();
  };

  #listActions: Method = async (call, context) => {
    const { handlers } = this.#parts;
    await this.#request(call, proto.EmptySchema);
    const own = Object.entries(handlers.actions ?? {}).map(([type, { description = "" }]) => ({ type, description }));
    const all: readonly ActionType[] = await handlers.listActions?.(context) ??
      [...own, ...PREDEFINED.filter(({ type }) => !own.some((action) => action.type === type))];
    for (const action of all) {
      await call.writeMessage(toBinary(proto.ActionTypeSchema, create(proto.ActionTypeSchema, action)));
    }
    await call.flush();
  };

  /** The only message of a call that is not a stream. */
  async #request<T extends DescMessage>(call: ServerCall, schema: T): Promise<MessageShape<T>> {
    const { maxRequestBytes, requestTimeoutMs } = this.#parts.limits;
    const message = await call.input.message(maxRequestBytes, requestTimeoutMs);
    if (message === null) {
      throw new DipcError("protocol", `cannot read the request: it is missing, expected a ${schema.name}`);
    }
    return parse(schema, message);
  }

  async #descriptor(call: ServerCall, record: CallRecord): Promise<FlightDescriptor> {
    const descriptor = descriptorFromProto(await this.#request(call, proto.FlightDescriptorSchema));
    if (descriptor === null) {
      throw new DipcError("invalid_argument", "cannot use the descriptor: its type is neither PATH nor CMD");
    }
    setName(record, descriptor);
    return descriptor;
  }

  async #answer(call: ServerCall, message: Uint8Array): Promise<void> {
    await call.writeMessage(message);
    await call.flush();
  }

  #frames(call: ServerCall): FrameInput {
    const { maxMetadataBytes, maxBodyBytes } = this.#parts.limits;
    return new FrameInput(call.input, { maxMetadataBytes, maxBodyBytes, pool: hostPool() }, this.#parts.limits);
  }

  #uploadLimits(): ReturnType<typeof readerLimits> {
    const { maxMetadataBytes, maxBodyBytes } = this.#parts.limits;
    return readerLimits({ maxMetadataBytes, maxBodyBytes });
  }
}

function noFlight(): DipcError {
  const text = "cannot find the flight: this server has no such flight";
  return new DipcError("flight", text, {
    foreign: { system: "grpc", status: GrpcStatus.notFound, text },
  });
}

/** Only a name that people can read: what is logged is read by them, and a statement of SQL is not for logs. */
function setName(record: CallRecord, descriptor: FlightDescriptor): void {
  record.dataset = readableName(descriptor) ?? undefined;
}
