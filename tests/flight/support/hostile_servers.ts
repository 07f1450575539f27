/**
 * Flight servers that misbehave, each in its own way: in bytes of TCP, or in the steps of one call.
 *
 * @module
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { encodeFrame, frameOfMessage, type OutgoingFrame } from "../../../src/flight/data.ts";
import { FlightInfoSchema } from "../../../src/flight/gen/flight_pb.ts";
import type { Dataset } from "../../../mod.ts";
import { delay } from "../../support/time.ts";
import { grpcMessage, randomBytes, utf8 } from "../../support/bytes.ts";
import { type FakeCall, fakeFlight, infoBytes, resultBytes } from "../../support/flight_fake.ts";
import { numbers, numbersBatch, wordsDictionary } from "./hostile_data.ts";

/** A server that misbehaves, and what the client must make of it. */
export interface HostileServer {
  /** What it does. */
  readonly name: string;
  /** What the client calls. */
  readonly call: "get" | "list" | "info" | "action" | "put";
  /** Codes that are right. */
  readonly codes: readonly string[];
  start(): Promise<{ location: string } & AsyncDisposable>;
}

/** One thing that a server does in a call. */
type Step = (call: FakeCall) => unknown;

/** A server of plain TCP. */
function tcp(serve: (connection: Deno.Conn) => Promise<void>): HostileServer["start"] {
  return () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const connections = new Set<Deno.Conn>();
    const running = (async () => {
      for await (const connection of listener) {
        connections.add(connection);
        serve(connection).catch(() => {});
      }
    })().catch(() => {});
    return Promise.resolve({
      location: `grpc://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
      async [Symbol.asyncDispose]() {
        listener.close();
        for (const connection of connections) {
          try {
            connection.close();
          } catch {
            // It has closed itself.
          }
        }
        await running;
      },
    });
  };
}

/** A server that answers each call by steps. */
function script(...steps: Step[]): HostileServer["start"] {
  return () =>
    fakeFlight(async (call) => {
      for (const step of steps) await step(call);
    });
}

/** Announces a message of so many bytes, and sends none of them. */
const announce = (length: number, flag = 0): Step => raw(grpcMessage(new Uint8Array(), length, flag));
/** Sends bytes as they are. */
const raw = (bytes: Uint8Array): Step => (call) => call.raw(bytes);
/** Sends one message. */
const message = (bytes: Uint8Array): Step => (call) => call.message(bytes);
/** Sends a FlightData. */
const frame = (content: OutgoingFrame): Step => (call) => call.frame(content);
/** Sends the schema and some messages of a dataset. */
const data = (dataset: Dataset, most?: number): Step => (call) => call.data(dataset, most);
/** Sends the headers of the answer. */
const respond: Step = (call) => call.respond();
/** Ends the call in order. */
const finish: Step = (call) => call.finish();
/** Sends the same again and again. */
const endless = (step: Step): Step => async (call) => {
  while (!call.stream.destroyed) await step(call);
};
/** Sends one byte after the other, forever. */
const drip: Step = endless(async (call) => {
  await call.raw(Uint8Array.of(0));
  await delay(50);
});
/** Does nothing more. */
const never = () => new Promise<void>(() => {});

const MiB = 2 ** 20;
/** A FlightData with the schema, as it is sent. */
const schemaFrame = encodeFrame({ header: numbers.schema.bytes })[0];
const { header, body } = frameOfMessage(numbersBatch);

/** Every case, in the order of the table. */
export const hostileServers: readonly HostileServer[] = [
  {
    name: "garbage instead of HTTP/2",
    call: "get",
    codes: ["unreachable", "protocol"],
    start: tcp(async (connection) => {
      const garbage = new Uint8Array(65536);
      for (;;) await connection.write(crypto.getRandomValues(garbage));
    }),
  },
  {
    name: "HTTP/1.1 instead of HTTP/2",
    call: "info",
    codes: ["unreachable", "protocol"],
    start: tcp(async (connection) => {
      await connection.write(utf8("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"));
    }),
  },
  { name: "accepts and says nothing", call: "info", codes: ["timeout"], start: tcp(never) },
  { name: "accepts and closes", call: "get", codes: ["unreachable"], start: tcp((c) => Promise.resolve(c.close())) },
  {
    name: "another service: HTTP status 404",
    call: "get",
    codes: ["unsupported"],
    start: script(({ stream }) => {
      stream.respond({ ":status": 404, "content-type": "text/html" });
      stream.end("<h1>no</h1>");
    }),
  },
  { name: "never answers a call", call: "info", codes: ["timeout"], start: script(never) },
  { name: "never sends the schema", call: "get", codes: ["timeout"], start: script(respond) },
  { name: "4 GiB announced, nothing sent", call: "get", codes: ["timeout"], start: script(announce(2 ** 32 - 1)) },
  {
    name: "a body of 3.75 GiB announced, byte by byte",
    call: "get",
    codes: ["timeout"],
    start: script(
      data(numbers, 0),
      announce(4 * 2 ** 30 - 100),
      raw(Uint8Array.of(0xc2, 0x3e, 0x80, 0x80, 0x80, 0x80, 0x0f)),
      drip,
    ),
  },
  {
    name: "64 MiB announced where 4 MiB are allowed",
    call: "info",
    codes: ["limit_exceeded"],
    start: script(announce(64 * MiB)),
  },
  {
    name: "a FlightInfo of 5 MiB",
    call: "info",
    codes: ["limit_exceeded"],
    start: script(message(new Uint8Array(5 * MiB))),
  },
  {
    name: "a malformed FlightInfo",
    call: "info",
    codes: ["protocol"],
    start: script(message(Uint8Array.of(0x0a, 200, 1)), finish),
  },
  {
    name: "garbage instead of FlightData",
    call: "get",
    codes: ["protocol"],
    start: script(message(new Uint8Array(1000).fill(0xff))),
  },
  { name: "a compressed message", call: "get", codes: ["protocol"], start: script(announce(10, 1)) },
  {
    name: "a header that is not a flatbuffer",
    call: "get",
    codes: ["invalid_data"],
    start: script(frame({ header: randomBytes(200) })),
  },
  {
    name: "a header without its body",
    call: "get",
    codes: ["invalid_data"],
    start: script(data(numbers, 0), frame({ header })),
  },
  {
    name: "a body without a header",
    call: "get",
    codes: ["invalid_data"],
    start: script(data(numbers, 0), frame({ body: new Uint8Array(64) })),
  },
  {
    name: "a body shorter than its header says",
    call: "get",
    codes: ["invalid_data"],
    start: script(data(numbers, 0), frame({ header, body: body!.subarray(8) })),
  },
  {
    name: "a batch before the schema",
    call: "get",
    codes: ["invalid_data"],
    start: script(frame({ header, body })),
  },
  {
    name: "a dictionary that the schema does not know",
    call: "get",
    codes: ["invalid_data"],
    start: script(data(numbers, 0), frame(frameOfMessage(wordsDictionary))),
  },
  {
    name: "an end in the middle of a message",
    call: "get",
    codes: ["connection_lost"],
    start: script(raw(schemaFrame.subarray(0, schemaFrame.byteLength - 10)), finish),
  },
  {
    name: "an end without a status",
    call: "get",
    codes: ["protocol", "connection_lost"],
    start: script(({ stream }) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.end(schemaFrame);
    }),
  },
  {
    name: "a reset in the middle of a stream",
    call: "get",
    codes: ["connection_lost"],
    start: script(data(numbers), (call) => call.stream.close(2)),
  },
  {
    name: "the connection cut in the middle of a stream",
    call: "get",
    codes: ["connection_lost"],
    start: script(data(numbers), (call) => call.stream.session!.destroy()),
  },
  {
    name: "a status that is not a number",
    call: "get",
    codes: ["protocol"],
    start: script(data(numbers), (call) => call.finish("x" as unknown as number)),
  },
  {
    name: "endless ListFlights",
    call: "list",
    codes: ["timeout"],
    start: script(endless(message(toBinary(FlightInfoSchema, create(FlightInfoSchema, {}))))),
  },
  {
    name: "endless ListFlights, thousands of empty answers in one piece",
    call: "list",
    codes: ["timeout"],
    start: script(endless(raw(new Uint8Array(200_000 * 5)))),
  },
  {
    name: "endless results of an action, 1 MiB each",
    call: "action",
    codes: ["timeout"],
    start: script(endless(message(resultBytes(new Uint8Array(MiB))))),
  },
  {
    name: "a ListFlights that answers once and stops",
    call: "list",
    codes: ["timeout"],
    start: script(message(infoBytes([]))),
  },
  {
    name: "an upload that is never read",
    call: "put",
    codes: ["timeout"],
    start: script(({ stream }) => {
      stream.removeAllListeners("data");
      stream.pause();
    }),
  },
];
