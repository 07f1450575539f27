/**
 * A Flight server made of nothing but HTTP/2: it answers what a test tells it to, well formed or not.
 *
 * @module
 */
import * as http2 from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { encodeFrame, frameOfMessage, type OutgoingFrame } from "../../src/flight/data.ts";
import * as proto from "../../src/flight/gen/flight_pb.ts";
import { type FlightEndpoint, infoToProto } from "../../src/flight/model.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { frameMetadata } from "../../src/ipc/frame.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { grpcMessage, join } from "./bytes.ts";
import { endLater } from "./session_end.ts";

/** One call that came in. */
export class FakeCall {
  /** Its name, such as `"DoGet"`. */
  readonly method: string;
  readonly headers: http2.IncomingHttpHeaders;
  readonly stream: http2.ServerHttp2Stream;
  readonly #bytes: Promise<Uint8Array>;
  #trailers: http2.OutgoingHttpHeaders = { "grpc-status": "0" };
  #responded = false;

  constructor(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) {
    this.stream = stream;
    this.headers = headers;
    this.method = String(headers[":path"]).replace(/^.*\//, "");
    stream.on("error", () => {});
    const chunks: Uint8Array[] = [];
    stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    this.#bytes = new Promise((resolve) => stream.on("end", () => resolve(join(...chunks))));
  }

  /** All that the client sent, once it has ended: messages with gRPC's prefixes. */
  received(): Promise<Uint8Array> {
    return this.#bytes;
  }

  /** The one message of the client, without its prefix. */
  async request(): Promise<Uint8Array> {
    return (await this.#bytes).subarray(5);
  }

  /** The ticket of a DoGet. */
  async ticket(): Promise<string> {
    return new TextDecoder().decode(fromBinary(proto.TicketSchema, await this.request()).ticket);
  }

  /** Sends the headers. */
  respond(headers: http2.OutgoingHttpHeaders = {}): void {
    if (this.#responded) return;
    this.#responded = true;
    this.stream.respond({ ":status": 200, "content-type": "application/grpc", ...headers }, { waitForTrailers: true });
    this.stream.on("wantTrailers", () => this.stream.sendTrailers(this.#trailers));
  }

  /** Sends bytes as they are; answers once they were taken. */
  raw(bytes: Uint8Array): Promise<void> {
    this.respond();
    return new Promise((resolve) => this.stream.write(bytes, () => resolve()));
  }

  /** Sends one message. */
  message(bytes: Uint8Array): Promise<void> {
    return this.raw(grpcMessage(bytes));
  }

  /** Sends a FlightData. */
  async frame(frame: OutgoingFrame): Promise<void> {
    for (const piece of encodeFrame(frame)) await this.raw(piece);
  }

  /** Sends the schema and some messages of a dataset. */
  async data(dataset: Dataset, most = Infinity): Promise<void> {
    await this.frame({ header: dataset.schema.bytes });
    const run = await dataset.open();
    let message: IpcMessage | null;
    for (let sent = 0; sent < most && (message = await run.next()) !== null; sent++) {
      await this.frame(frameOfMessage(message));
      message.body?.release();
    }
    await run.close();
  }

  /** Ends the call. */
  finish(status = 0, text = ""): void {
    this.#trailers = { "grpc-status": String(status), ...(text === "" ? {} : { "grpc-message": encodeURI(text) }) };
    this.respond();
    this.stream.end();
  }
}

/** A running server. */
export interface FakeServer extends AsyncDisposable {
  readonly location: string;
  /** Names of the calls that came in, in order. */
  readonly calls: string[];
  /** Connections that are open. */
  readonly connections: number;
}

/**
 * Starts a server.
 *
 * @param handle What to do with each call
 * @param listenAt Port to listen at; default: any
 */
export async function fakeFlight(
  handle: (call: FakeCall) => void | Promise<void>,
  listenAt = 0,
): Promise<FakeServer> {
  const server = http2.createServer({ settings: { initialWindowSize: 2 ** 20 } });
  const sessions = new Set<http2.ServerHttp2Session>();
  const calls: string[] = [];
  server.on("session", (session: http2.ServerHttp2Session) => {
    endLater(session);
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    const call = new FakeCall(stream, headers);
    calls.push(call.method);
    Promise.resolve(handle(call)).catch((error) => {
      if (!stream.destroyed) call.finish(2, String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(listenAt, "127.0.0.1", () => resolve()));
  const { port } = server.address() as { port: number };
  return {
    location: `grpc://127.0.0.1:${port}`,
    calls,
    get connections() {
      return sessions.size;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

/** An endpoint with whatever a test wants to be said of it. */
export function endpoint(ticket: string, more: Partial<FlightEndpoint> = {}): FlightEndpoint {
  const nothing = new Uint8Array(0);
  return {
    ticket: new TextEncoder().encode(ticket),
    locations: [],
    expirationTime: null,
    appMetadata: nothing,
    ...more,
  };
}

/** A FlightInfo in protobuf's form. */
export function infoBytes(endpoints: readonly FlightEndpoint[], ordered = false, schema?: Dataset): Uint8Array {
  const nothing = new Uint8Array(0);
  const info = infoToProto({
    schema: schema === undefined ? nothing : frameMetadata(schema.schema),
    descriptor: null,
    endpoints,
    totalRecords: -1n,
    totalBytes: -1n,
    ordered,
    appMetadata: nothing,
  });
  return toBinary(proto.FlightInfoSchema, info);
}

/** An answer of an action. */
export function resultBytes(body: Uint8Array): Uint8Array {
  return toBinary(proto.ResultSchema, create(proto.ResultSchema, { body }));
}
