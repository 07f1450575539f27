/**
 * Flight clients that misbehave, each in its own way: in bytes of TCP, in frames of HTTP/2, in calls of gRPC.
 *
 * @module
 */
import http2 from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { encodeFrame, frameOfMessage } from "../../../src/flight/data.ts";
import * as proto from "../../../src/flight/gen/flight_pb.ts";
import { delay } from "../../support/time.ts";
import { grpcMessage, randomBytes, utf8 } from "../../support/bytes.ts";
import { endLater } from "../../support/session_end.ts";
import { big, bigBatch, numbers, numbersBatch, otherWords, wordsDictionary } from "./hostile_data.ts";
import { grpcStatusName } from "../../../src/grpc/status.ts";

/** A client that misbehaves. */
export interface HostileClient {
  /** What it does. */
  readonly name: string;
  /** What it must end with, as the beginning of a text: a status of gRPC, or how the connection ended. */
  readonly ends: readonly string[];
  /** Does it; answers with what it ended with. */
  run(port: number): Promise<string>;
}

const SERVICE = "/arrow.flight.protocol.FlightService/";
const PREFACE = utf8("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** A frame of HTTP/2 (RFC 9113, section 4.1). */
function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Uint8Array {
  const bytes = new Uint8Array(9 + payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.byteLength << 8);
  bytes[3] = type;
  bytes[4] = flags;
  view.setUint32(5, stream);
  bytes.set(payload, 9);
  return bytes;
}

const SETTINGS = frame(4, 0, 0);
/** The first part of a request's headers, which do not end with it. */
const OPEN_HEADERS = frame(1, 0, 1, Uint8Array.of(0x83, 0x86));

/** Writes bytes to a connection of TCP. */
type Send = (bytes: Uint8Array) => Promise<unknown>;

/** A client of plain TCP: sends its pieces, and waits until the server closes. What GOAWAY says is the answer. */
function tcp(...pieces: (Uint8Array | ((send: Send) => Promise<unknown>))[]): HostileClient["run"] {
  return async (port) => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port });
    const send: Send = async (bytes) => {
      for (let at = 0; at < bytes.byteLength;) at += await connection.write(bytes.subarray(at));
    };
    const writing = (async () => {
      for (const piece of pieces) await (typeof piece === "function" ? piece(send) : send(piece));
    })().catch(() => {});
    let last = new Uint8Array();
    try {
      for (const chunk = new Uint8Array(65536);;) {
        const got = await connection.read(chunk);
        if (got === null) break;
        last = chunk.slice(Math.max(0, got - 17), got);
      }
    } catch {
      // A reset is a closed connection, too.
    }
    void writing;
    return last.byteLength === 17 && last[3] === 7 ? `GOAWAY ${last[16]}, closed` : "closed";
  };
}

/** A client of HTTP/2. */
function calls(run: (session: http2.ClientHttp2Session) => Promise<string>): HostileClient["run"] {
  return async (port) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    endLater(session);
    session.on("error", () => {});
    try {
      return await run(session);
    } finally {
      if (!session.destroyed) {
        await new Promise<void>((resolve) => {
          session.once("close", () => resolve());
          session.destroy();
        });
      }
    }
  };
}

/** A call: its stream, and what it ends with. */
function start(session: http2.ClientHttp2Session, method: string, headers: http2.OutgoingHttpHeaders = {}) {
  const stream = session.request({
    ":method": "POST",
    ":path": `${SERVICE}${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  const end = new Promise<string>((resolve) => {
    let http = 0;
    const look = (headers: http2.IncomingHttpHeaders) => {
      const status = headers["grpc-status"];
      http = Number(headers[":status"] ?? http);
      if (status !== undefined) resolve(`${grpcStatusName(Number(status))}: ${decode(headers["grpc-message"])}`);
    };
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("error", () => {});
    stream.on("close", () => resolve(http >= 400 ? `HTTP ${http}` : `reset ${stream.rstCode}`));
  });
  return { stream, end };
}

function decode(text: string | string[] | undefined): string {
  return decodeURIComponent(String(text ?? ""));
}

/** One whole call. */
async function call(session: http2.ClientHttp2Session, method: string, pieces: readonly Uint8Array[]): Promise<string> {
  const { stream, end } = start(session, method);
  stream.resume();
  for (const piece of pieces) stream.write(piece);
  stream.end();
  return await end;
}

const ticket = (name: string): Uint8Array =>
  grpcMessage(toBinary(proto.TicketSchema, create(proto.TicketSchema, { ticket: utf8(name) })));
const action = (type: string, body: Uint8Array): Uint8Array =>
  grpcMessage(toBinary(proto.ActionSchema, create(proto.ActionSchema, { type, body })));

/** Descriptor and schema of an upload. */
const opening = (name: string, dataset = numbers): Uint8Array[] =>
  encodeFrame(frameOfMessage({ header: dataset.schema, body: null }, { descriptor: { path: [name] } }));

/** One whole call, of messages that are wrong. */
const rpc = (method: string, ...messages: Uint8Array[]): HostileClient["run"] =>
  calls((session) => call(session, method, messages));

/** An upload of frames that are wrong. */
const put = (...frames: Uint8Array[][]): HostileClient["run"] => rpc("DoPut", ...frames.flat());

/** A call that writes what it likes while it waits for its end. */
function writing(
  method: string,
  write: (stream: http2.ClientHttp2Stream, end: Promise<string>) => unknown,
): HostileClient["run"] {
  return calls(async (session) => {
    const { stream, end } = start(session, method);
    stream.resume();
    await write(stream, end);
    return await end;
  });
}

/** Writes pieces again and again, as fast as they are taken, until the call has ended. */
async function repeat(
  stream: http2.ClientHttp2Stream,
  end: Promise<string>,
  pieces: readonly Uint8Array[],
): Promise<void> {
  let isOver = false;
  const over = end.then(() => void (isOver = true));
  while (!isOver && !stream.destroyed) {
    for (const piece of pieces) await Promise.race([new Promise((resolve) => stream.write(piece, resolve)), over]);
  }
}

/** Writes one byte after the other until the call has ended. */
async function drip(stream: http2.ClientHttp2Stream, end: Promise<string>): Promise<string> {
  let isOver = false;
  const timer = setInterval(() => !isOver && !stream.destroyed && stream.write(Uint8Array.of(0)), 100);
  try {
    return await end;
  } finally {
    isOver = true;
    clearInterval(timer);
  }
}

/** All cases in the order of the table. */
export const hostileClients: readonly HostileClient[] = [
  { name: "connects and says nothing", ends: ["GOAWAY 0"], run: tcp() },
  {
    name: "garbage instead of HTTP/2",
    ends: ["GOAWAY", "closed"],
    run: tcp(randomBytes(2 ** 20)),
  },
  {
    name: "HTTP/1.1 instead of HTTP/2",
    ends: ["GOAWAY", "closed"],
    run: tcp(utf8("GET / HTTP/1.1\r\nhost: x\r\n\r\n")),
  },
  {
    name: "the preface, byte by byte",
    ends: ["GOAWAY 0"],
    run: tcp(async (send) => {
      for (const byte of PREFACE) {
        await send(Uint8Array.of(byte));
        await delay(400);
      }
    }),
  },
  {
    name: "garbage frames after the preface",
    ends: ["GOAWAY", "closed"],
    run: tcp(PREFACE, SETTINGS, async (send) => {
      for (let type = 0; type < 200; type++) {
        await send(frame(type, randomBytes(1)[0], randomBytes(1)[0], randomBytes(50)));
      }
    }),
  },
  {
    name: "a frame of 16 MiB",
    ends: ["GOAWAY", "closed"],
    run: tcp(PREFACE, SETTINGS, (send) => send(frame(0, 0, 1, new Uint8Array(2 ** 24 - 1)))),
  },
  {
    name: "headers that never end, piece by piece",
    ends: ["GOAWAY"],
    run: tcp(PREFACE, SETTINGS, OPEN_HEADERS, async (send) => {
      // A literal header, "x: a".
      for (;; await delay(400)) await send(frame(9, 0, 1, Uint8Array.of(0x00, 0x01, 0x78, 0x01, 0x61)));
    }),
  },
  {
    name: "endless headers, as fast as they go",
    ends: ["GOAWAY", "closed"],
    run: tcp(PREFACE, SETTINGS, OPEN_HEADERS, async (send) => {
      // A literal header without a place in the table: name "x", value of 16,000 bytes.
      const header = new Uint8Array(16_006).fill(0x61);
      header.set([0x00, 0x01, 0x78, 0x7f, 0x81, 0x7c]);
      for (;;) await send(frame(9, 0, 1, header));
    }),
  },
  {
    name: "pings without end, answers unread",
    ends: ["GOAWAY", "closed"],
    run: tcp(PREFACE, SETTINGS, async (send) => {
      const pings = new Uint8Array(17 * 4096);
      for (let i = 0; i < 4096; i++) pings.set(frame(6, 0, 0, new Uint8Array(8)), 17 * i);
      for (let i = 0; i < 200; i++) await send(pings);
    }),
  },
  {
    name: "20,000 calls, each reset at once",
    ends: ["closed"],
    run: calls(async (session) => {
      for (let i = 0; i < 20_000 && !session.destroyed && !session.closed; i++) {
        try {
          const { stream } = start(session, "DoGet");
          stream.close(http2.constants.NGHTTP2_CANCEL);
        } catch {
          break;
        }
        if (i % 100 === 0) await delay(0);
      }
      for (let tries = 0; tries < 40 && !session.destroyed; tries++) await delay(25);
      return session.destroyed || session.closed ? "closed" : "still open";
    }),
  },
  {
    name: "400 calls, then GOAWAY",
    ends: ["OK"],
    run: calls(async (session) => {
      let end = "";
      for (let i = 0; i < 400; i++) end = await call(session, "ListActions", [grpcMessage(new Uint8Array())]);
      session.goaway(http2.constants.NGHTTP2_NO_ERROR);
      await delay(50);
      return end;
    }),
  },
  {
    name: "GOAWAY in the middle of a stream",
    ends: ["closed"],
    run: calls(async (session) => {
      const { stream } = start(session, "DoGet");
      stream.end(ticket("endless"));
      await new Promise<void>((resolve) => stream.once("data", () => resolve()));
      session.goaway(http2.constants.NGHTTP2_INTERNAL_ERROR);
      for (let tries = 0; tries < 100 && !session.destroyed; tries++) await delay(20);
      return session.destroyed ? "closed" : "still open";
    }),
  },
  {
    name: "300 connections that say nothing",
    ends: ["refused, GOAWAY"],
    run: async (port) => {
      const held: Deno.Conn[] = [];
      try {
        for (let i = 0; i < 299; i++) held.push(await Deno.connect({ hostname: "127.0.0.1", port }));
        // Those over the limit are closed while the others still have their time.
        const answer = await tcp()(port);
        const silent = await Promise.race([held[0].read(new Uint8Array(1)), delay(0)]) !== null;
        return silent ? `refused, ${answer}` : `${answer}, like the others`;
      } finally {
        for (const connection of held) connection.close();
      }
    },
  },
  {
    name: "connections full of calls that never send a request",
    ends: ["RESOURCE_EXHAUSTED"],
    run: (port) =>
      calls(async (first) => {
        // One connection may have as many calls as the server; they hold their places until their time is over.
        const held = Array.from({ length: 100 }, () => start(first, "DoGet"));
        await delay(200);
        const refused = await calls((second) => start(second, "DoGet").end)(port);
        for (const { stream } of held) stream.close(http2.constants.NGHTTP2_CANCEL);
        return refused;
      })(port),
  },
  {
    name: "another method than POST",
    ends: ["HTTP 405"],
    run: calls((session) => start(session, "DoGet", { ":method": "PUT" }).end),
  },
  {
    name: "another content type",
    ends: ["HTTP 415"],
    run: calls((session) => start(session, "DoGet", { "content-type": "text/html" }).end),
  },
  {
    name: "a method that Flight does not have",
    ends: ["UNIMPLEMENTED"],
    run: rpc("DoHarm"),
  },
  { name: "a call without a request", ends: ["INVALID_ARGUMENT"], run: rpc("DoGet") },
  {
    name: "a request of 4 GiB announced",
    ends: ["RESOURCE_EXHAUSTED"],
    run: rpc("DoGet", grpcMessage(new Uint8Array(10), 2 ** 32 - 1)),
  },
  {
    name: "a request, byte by byte",
    ends: ["DEADLINE_EXCEEDED"],
    run: writing("DoGet", (stream, end) => {
      stream.write(grpcMessage(new Uint8Array(), 1000));
      return drip(stream, end);
    }),
  },
  {
    name: "a request that ends too early",
    ends: ["INVALID_ARGUMENT"],
    run: rpc("GetFlightInfo", grpcMessage(new Uint8Array(10), 100)),
  },
  {
    name: "a compressed request",
    ends: ["UNIMPLEMENTED"],
    run: rpc("DoGet", grpcMessage(randomBytes(10), 10, 1)),
  },
  {
    name: "garbage instead of a descriptor",
    ends: ["INVALID_ARGUMENT"],
    run: rpc("GetFlightInfo", grpcMessage(new Uint8Array(100).fill(0xff))),
  },
  {
    name: "garbage instead of a FlightInfo to cancel",
    ends: ["INVALID_ARGUMENT"],
    run: rpc("DoAction", action("CancelFlightInfo", new Uint8Array(100).fill(0xff))),
  },
  {
    name: "options of a session without end",
    ends: ["RESOURCE_EXHAUSTED"],
    run: calls((session) => {
      const request = create(proto.SetSessionOptionsRequestSchema);
      for (let i = 0; i < 10_000; i++) {
        request.sessionOptions[`option ${i}`] = create(proto.SessionOptionValueSchema, {
          optionValue: { case: "stringValue", value: "x".repeat(100) },
        });
      }
      return call(session, "DoAction", [
        action("SetSessionOptions", toBinary(proto.SetSessionOptionsRequestSchema, request)),
      ]);
    }),
  },
  {
    name: "a handshake whose answers are not read",
    ends: ["reset", "DEADLINE_EXCEEDED"],
    run: calls(async (session) => {
      // Not resumed: what the server answers stays unread.
      const { stream, end } = start(session, "Handshake");
      const request = create(proto.HandshakeRequestSchema, { payload: new Uint8Array(2 ** 16) });
      await repeat(stream, end, [grpcMessage(toBinary(proto.HandshakeRequestSchema, request))]);
      return await end;
    }),
  },
  {
    name: "a stream that is not read",
    ends: ["DEADLINE_EXCEEDED"],
    run: calls(async (session) => {
      const { stream, end } = start(session, "DoGet");
      stream.end(ticket("endless"));
      stream.pause();
      return await end;
    }),
  },
  { name: "an upload without a message", ends: ["INVALID_ARGUMENT"], run: put() },
  {
    name: "an upload without a name",
    ends: ["INVALID_ARGUMENT"],
    run: put(encodeFrame(frameOfMessage({ header: numbers.schema, body: null }))),
  },
  {
    name: "an upload, 4 GiB announced",
    ends: ["RESOURCE_EXHAUSTED"],
    run: writing("DoPut", (stream) => stream.write(grpcMessage(new Uint8Array(10), 2 ** 32 - 1))),
  },
  {
    name: "an upload, a body of 1.9 GiB announced, byte by byte",
    ends: ["DEADLINE_EXCEEDED"],
    run: writing("DoPut", (stream, end) => {
      for (const piece of opening("slow")) stream.write(piece);
      const length = 1.9 * 2 ** 30 | 0;
      const varint: number[] = [];
      for (let rest = length; rest > 0; rest = Math.floor(rest / 128)) {
        varint.push((rest % 128) | (rest >= 128 ? 128 : 0));
      }
      stream.write(grpcMessage(Uint8Array.of(0xc2, 0x3e, ...varint), length + 2 + varint.length));
      return drip(stream, end);
    }),
  },
  {
    name: "garbage instead of FlightData",
    ends: ["INVALID_ARGUMENT"],
    run: put([grpcMessage(new Uint8Array(1000).fill(0xff))]),
  },
  {
    name: "a header that is not a flatbuffer",
    ends: ["INVALID_ARGUMENT"],
    run: put(opening("x"), encodeFrame({ header: randomBytes(200), body: randomBytes(64) })),
  },
  {
    name: "a header without its body",
    ends: ["INVALID_ARGUMENT"],
    run: put(opening("x"), encodeFrame({ header: numbersBatch.header.bytes })),
  },
  {
    name: "a body without a header",
    ends: ["INVALID_ARGUMENT"],
    run: put(opening("x"), encodeFrame({ body: new Uint8Array(64) })),
  },
  {
    name: "a body shorter than its header says",
    ends: ["INVALID_ARGUMENT"],
    run: put(opening("x"), encodeFrame({ header: bigBatch.header.bytes, body: new Uint8Array(64) })),
  },
  {
    name: "a batch before the schema",
    ends: ["INVALID_ARGUMENT"],
    run: put(encodeFrame(frameOfMessage(numbersBatch, { descriptor: { path: ["x"] } }))),
  },
  {
    name: "a dictionary that the schema does not know",
    ends: ["INVALID_ARGUMENT"],
    run: put(opening("x", otherWords), encodeFrame(frameOfMessage(wordsDictionary))),
  },
  { name: "a second schema", ends: ["INVALID_ARGUMENT"], run: put(opening("x"), opening("x")) },
  {
    name: "the name of a dataset of the server's own",
    ends: ["ALREADY_EXISTS"],
    run: put(opening("numbers"), encodeFrame(frameOfMessage(numbersBatch))),
  },
  {
    name: "an upload without end",
    ends: ["RESOURCE_EXHAUSTED"],
    run: writing("DoPut", (stream, end) => {
      for (const piece of opening("much", big)) stream.write(piece);
      return repeat(stream, end, encodeFrame(frameOfMessage(bigBatch)));
    }),
  },
  {
    name: "an upload that is cut half-way",
    ends: ["closed"],
    run: calls(async (session) => {
      const { stream } = start(session, "DoPut");
      for (const piece of opening("cut", big)) stream.write(piece);
      const [head, body] = encodeFrame(frameOfMessage(bigBatch));
      stream.write(head);
      await new Promise((resolve) => stream.write(body.subarray(0, 2 ** 19), resolve));
      session.destroy();
      return "closed";
    }),
  },
];
