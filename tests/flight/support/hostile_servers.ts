/**
 * Flight servers that misbehave, each in its own way.
 *
 * @module
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { Dictionary, Int32, Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { type Dataset, fromTable } from "../../../mod.ts";
import { encodeFrame, frameOfMessage } from "../../../src/flight/data.ts";
import { FlightInfoSchema } from "../../../src/flight/gen/flight_pb.ts";
import type { IpcMessage } from "../../../src/ipc/message.ts";
import { grpcMessage, randomBytes, utf8 } from "../../support/bytes.ts";
import { type FakeCall, fakeFlight, infoBytes, resultBytes } from "../../support/flight_fake.ts";

/** A server that misbehaves, and what the client must make of it. */
export interface HostileCase {
  /** What it does. */
  readonly name: string;
  /** What the client asks for. */
  readonly call: "get" | "list" | "info" | "action" | "put";
  /** Codes that are right. */
  readonly codes: readonly string[];
  start(): Promise<{ location: string } & AsyncDisposable>;
}

const NOTHING = new Uint8Array(0);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A server of plain TCP. */
function tcp(serve: (connection: Deno.Conn) => Promise<void>): HostileCase["start"] {
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

const fake = (handle: (call: FakeCall) => void | Promise<void>): HostileCase["start"] => () => fakeFlight(handle);

async function numbers(): Promise<Dataset> {
  return await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));
}

async function words(): Promise<Dataset> {
  return await fromTable(new Table({ w: vectorFromArray(["a", "b"], new Dictionary(new Utf8(), new Int32(), 77)) }));
}

async function messagesOf(dataset: Dataset): Promise<IpcMessage[]> {
  const messages: IpcMessage[] = [];
  const run = await dataset.open();
  for (let message; (message = await run.next()) !== null;) messages.push(message);
  return messages;
}

/** Answers one byte after the other, for ever. */
async function drip(call: FakeCall): Promise<void> {
  while (!call.stream.destroyed) {
    await call.raw(Uint8Array.of(0));
    await sleep(50);
  }
}

async function endless(call: FakeCall, message: Uint8Array): Promise<void> {
  while (!call.stream.destroyed) await call.message(message);
}

const never = () => new Promise<void>(() => {});

/** Every case, in the order of the table. */
export const hostileCases: readonly HostileCase[] = [
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
    codes: ["protocol"],
    start: fake(({ stream }) => {
      stream.respond({ ":status": 404, "content-type": "text/html" });
      stream.end("<h1>no</h1>");
    }),
  },
  { name: "never answers a call", call: "info", codes: ["timeout"], start: fake(never) },
  { name: "never sends the schema", call: "get", codes: ["timeout"], start: fake((call) => call.respond()) },
  {
    name: "4 GiB announced, nothing sent",
    call: "get",
    codes: ["timeout"],
    start: fake((call) => call.raw(grpcMessage(NOTHING, 2 ** 32 - 1))),
  },
  {
    name: "a body of 3.75 GiB announced, a byte now and then",
    call: "get",
    codes: ["timeout"],
    start: fake(async (call) => {
      await call.data(await numbers(), 0);
      await call.raw(grpcMessage(NOTHING, 4 * 2 ** 30 - 100));
      await call.raw(Uint8Array.of(0xc2, 0x3e, 0x80, 0x80, 0x80, 0x80, 0x0f));
      await drip(call);
    }),
  },
  {
    name: "64 MiB announced where 4 MiB are allowed",
    call: "info",
    codes: ["limit_exceeded"],
    start: fake((call) => call.raw(grpcMessage(NOTHING, 64 * 2 ** 20))),
  },
  {
    name: "a FlightInfo of 5 MiB",
    call: "info",
    codes: ["limit_exceeded"],
    start: fake((call) => call.message(new Uint8Array(5 * 2 ** 20))),
  },
  {
    name: "a malformed FlightInfo",
    call: "info",
    codes: ["protocol"],
    start: fake(async (call) => {
      await call.message(Uint8Array.of(0x0a, 200, 1));
      call.finish();
    }),
  },
  {
    name: "garbage instead of FlightData",
    call: "get",
    codes: ["protocol"],
    start: fake((call) => call.message(new Uint8Array(1000).fill(0xff))),
  },
  {
    name: "a compressed message",
    call: "get",
    codes: ["protocol"],
    start: fake((call) => call.raw(grpcMessage(NOTHING, 10, 1))),
  },
  {
    name: "a header that is no flatbuffer",
    call: "get",
    codes: ["invalid_data"],
    start: fake((call) => call.frame({ header: randomBytes(200) })),
  },
  {
    name: "a header without its body",
    call: "get",
    codes: ["invalid_data"],
    start: fake(async (call) => {
      const dataset = await numbers();
      await call.data(dataset, 0);
      await call.frame({ header: (await messagesOf(dataset))[0].header.bytes });
    }),
  },
  {
    name: "a body without a header",
    call: "get",
    codes: ["invalid_data"],
    start: fake(async (call) => {
      await call.data(await numbers(), 0);
      await call.frame({ body: new Uint8Array(64) });
    }),
  },
  {
    name: "a body shorter than its header says",
    call: "get",
    codes: ["invalid_data"],
    start: fake(async (call) => {
      const dataset = await numbers();
      await call.data(dataset, 0);
      const { header, body } = frameOfMessage((await messagesOf(dataset))[0]);
      await call.frame({ header, body: body!.subarray(8) });
    }),
  },
  {
    name: "a batch before the schema",
    call: "get",
    codes: ["invalid_data"],
    start: fake(async (call) => {
      for (const message of await messagesOf(await numbers())) await call.frame(frameOfMessage(message));
    }),
  },
  {
    name: "a dictionary that the schema does not know",
    call: "get",
    codes: ["invalid_data"],
    start: fake(async (call) => {
      await call.data(await numbers(), 0);
      await call.frame(frameOfMessage((await messagesOf(await words()))[0]));
    }),
  },
  {
    name: "an end in the middle of a message",
    call: "get",
    codes: ["connection_lost"],
    start: fake(async (call) => {
      const [head] = encodeFrame({ header: (await numbers()).schema.bytes });
      await call.raw(head.subarray(0, head.byteLength - 10));
      call.finish();
    }),
  },
  {
    name: "an end without a status",
    call: "get",
    codes: ["protocol", "connection_lost"],
    start: fake(async (call) => {
      const { stream } = call;
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.end(encodeFrame({ header: (await numbers()).schema.bytes })[0]);
    }),
  },
  {
    name: "a reset in the middle of a stream",
    call: "get",
    codes: ["connection_lost"],
    start: fake(async (call) => {
      await call.data(await numbers());
      call.stream.close(2);
    }),
  },
  {
    name: "the connection cut in the middle of a stream",
    call: "get",
    codes: ["connection_lost"],
    start: fake(async (call) => {
      await call.data(await numbers());
      call.stream.session!.destroy();
    }),
  },
  {
    name: "a status that is no number",
    call: "get",
    codes: ["protocol"],
    start: fake(async (call) => {
      await call.data(await numbers());
      call.finish("x" as unknown as number);
    }),
  },
  {
    name: "endless ListFlights",
    call: "list",
    codes: ["timeout"],
    start: fake((call) => endless(call, toBinary(FlightInfoSchema, create(FlightInfoSchema, {})))),
  },
  {
    name: "endless ListFlights, thousands of empty answers in one piece",
    call: "list",
    codes: ["timeout"],
    start: fake(async (call) => {
      const empty = new Uint8Array(200_000 * grpcMessage(NOTHING).byteLength);
      while (!call.stream.destroyed) await call.raw(empty);
    }),
  },
  {
    name: "endless results of an action, 1 MiB each",
    call: "action",
    codes: ["timeout"],
    start: fake((call) => endless(call, resultBytes(new Uint8Array(2 ** 20)))),
  },
  {
    name: "a ListFlights that answers once and stops",
    call: "list",
    codes: ["timeout"],
    start: fake((call) => call.message(infoBytes([]))),
  },
  {
    name: "an upload that is never read",
    call: "put",
    codes: ["timeout"],
    start: fake(({ stream }) => {
      stream.removeAllListeners("data");
      stream.pause();
    }),
  },
];
