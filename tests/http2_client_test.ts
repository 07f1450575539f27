/**
 * The client's side of the HTTP/2 layer: what it writes against bytes written by hand, what a server may do to its calls,
 * what is wrong gets the code that RFC 9113 wants, and nothing that a server sends leaves a call without an end.
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { createServer, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { ClientConnection } from "../src/flight/http2/client_connection.ts";
import type { ClientStream } from "../src/flight/http2/client_stream.ts";
import { Http2Code, Http2Error, Http2Reset } from "../src/flight/http2/errors.ts";
import { Flag, frame, FrameType, numbersFrame, PREFACE, settingsFrame } from "../src/flight/http2/frames.ts";
import { encodeHeaders, HpackDecoder } from "../src/flight/http2/hpack.ts";
import type { HeaderField } from "../src/flight/http2/static_table.ts";
import { DenoTransport } from "../src/flight/http2/transport.ts";
import {
  answer,
  checkClientBytes,
  ClientFrameChecker,
  cutFrames,
  hex,
  join,
  MemoryClientConnection,
  numberAt,
  type RawFrame,
} from "./support/http2_raw.ts";
import { generator, seed } from "./support/random.ts";
import { endLater } from "./support/session_end.ts";

const { data, headers, priority, rstStream, settings, pushPromise, ping, goaway, windowUpdate, continuation } =
  FrameType;
const { endStream, endHeaders, padded } = Flag;

/** What a server starts with. */
const HELLO = settingsFrame([]);
const maxStreams = (count: number) => settingsFrame([[3, count]]);
const initialWindow = (bytes: number) => settingsFrame([[4, bytes]]);
const trailers = (streamId: number) => answer(streamId, endStream, [["grpc-status", "0"]]);
const whole = (streamId: number) => join(answer(streamId), trailers(streamId));
const times = (count: number, bytes: Uint8Array) => join(...Array.from({ length: count }, () => bytes));
const nothing = () => {};
const eights = new Uint8Array(8);

/** A connection that has got a server's first bytes. */
async function connected(...parts: Uint8Array[]): Promise<MemoryClientConnection> {
  const memory = new MemoryClientConnection();
  await memory.send(...(parts.length > 0 ? parts : [HELLO]));
  return memory;
}

/** Reads what there is. */
function readAll(stream: ClientStream): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let piece = stream.read(); piece !== null; piece = stream.read()) pieces.push(piece);
  return join(...pieces);
}

/** Notes what a stream tells, in order. */
function watch(stream: ClientStream): string[] {
  const log: string[] = [];
  stream.onHeaders = (status, fields) => log.push(`headers ${status} ${[...fields].join(" ")}`.trim());
  stream.onTrailers = (fields) => log.push(`trailers ${[...fields].join(" ")}`);
  stream.onReadable = () => log.push(stream.isReadToEnd ? "end" : "readable");
  stream.onClose = () => log.push(`closed ${stream.error === null ? "in order" : stream.error.name}`);
  return log;
}

function codeOf(error: Error | null): number | undefined {
  return error instanceof Http2Error || error instanceof Http2Reset ? error.code : undefined;
}

Deno.test("a client starts with the preface, its settings and its window, and answers SETTINGS and PING", async () => {
  const memory = await connected(HELLO, frame(ping, 0, 0, hex("0102030405060708")));
  assertEquals(
    join(...memory.pipe.written),
    hex(
      `505249202a20485454502f322e300d0a0d0a534d0d0a0d0a
       000018 04 00 00000000 0002 00000000 0004 00020000 0005 00040000 0006 00008000
       000004 08 00 00000000 00030001  000000 04 01 00000000  000008 06 01 00000000 0102030405060708`,
    ),
  );
  await memory.send(frame(settings, 1, 0), frame(ping, 1, 0, new Uint8Array(8)));
  assertEquals(memory.frames.length, 4);
  await memory.end();
});

Deno.test("a request is sent before the server has said anything, in the bytes written by hand", async () => {
  const memory = new MemoryClientConnection();
  const stream = memory.request();
  assert(stream.write(new TextEncoder().encode("hello"), nothing));
  stream.end();
  await memory.send();
  assertEquals(
    join(...memory.pipe.written).subarray(24 + 33 + 13),
    hex(
      `00000f 01 04 00000001 20 83 86 04 04 2f732f4d 01 04 68657265
       000005 00 00 00000001 68656c6c6f  000000 00 01 00000001`,
    ),
  );
  await memory.end();
});

Deno.test("a whole call: its callbacks come in order, and its answer can be read after its end", async () => {
  const memory = await connected();
  const stream = memory.connection.request([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/a"],
    [":authority", "here"],
    ["authorization", "Bearer é"],
    ["x", "y"],
  ]);
  const log = watch(stream);
  stream.write(hex("0102"), nothing);
  stream.end([["t", "u"]]);
  await memory.send();
  const [first, body, last] = memory.frames.slice(3);
  const hpack = new HpackDecoder(1000);
  assertEquals(hpack.decode(first.payload).fields as unknown, stream.fields as unknown);
  assertEquals([first.type, first.flags, first.streamId], [headers, endHeaders, 1]);
  assertEquals([body.type, body.flags, body.payload], [data, 0, hex("0102")]);
  assertEquals([last.type, last.flags], [headers, endHeaders | endStream]);
  assertEquals(hpack.decode(last.payload).fields as unknown, [["t", "u"]]);
  await memory.send(
    answer(1, 0, [[":status", "200"], ["a", "b"]]),
    frame(data, 0, 1, hex("0304")),
    frame(data, 0, 1, hex("05")),
    trailers(1),
  );
  assertEquals(log, [
    "headers 200 a,b",
    "readable",
    "readable",
    "trailers grpc-status,0",
    "readable",
    "readable",
    "closed in order",
  ]);
  await stream.closed;
  assert(stream.isClosed && stream.isRemoteEnded && !stream.isReadToEnd);
  assertEquals(memory.connection.activeStreams, 0);
  assertEquals(readAll(stream), hex("030405"));
  assert(stream.isReadToEnd);
  assertEquals(memory.resets, []);
  await memory.end();
});

Deno.test("a server that resets a call behind its trailers has answered it, and what it sent can be read", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  let taken = 0;
  assert(!stream.write(new Uint8Array(100_000), () => taken++));
  await memory.send(
    answer(1),
    frame(data, 0, 1, hex("0102")),
    trailers(1),
    numbersFrame(rstStream, 1, Http2Code.noError),
  );
  assertEquals(log.at(-1), "closed in order");
  assertEquals([stream.error, taken], [null, 1]);
  await stream.closed;
  assertEquals(readAll(stream), hex("0102"));
  assert(stream.isReadToEnd);
  await memory.send(numbersFrame(windowUpdate, 1, 100_000), numbersFrame(windowUpdate, 0, 100_000));
  assertEquals(memory.sentBytes(), 65_535);
  await memory.end();
});

Deno.test("a server may reset every call behind its answer, or refuse it, however many there are", async () => {
  const memory = await connected();
  for (let id = 1; id < 5000; id += 2) {
    const stream = memory.request();
    const isRefused = id % 3 === 0;
    await memory.send(isRefused ? hex("") : whole(id), numbersFrame(rstStream, id, isRefused ? 7 : 0));
    assertEquals([stream.isClosed, codeOf(stream.error)], [true, isRefused ? 7 : undefined], `stream ${id}`);
  }
  await memory.end();
});

Deno.test("a call that is reset before its end fails with the server's code, and what it sent is dropped", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  await memory.send(answer(1), frame(data, 0, 1, hex("00")), numbersFrame(rstStream, 1, Http2Code.refusedStream));
  assertEquals(log.at(-1), "closed Http2Reset");
  assertEquals(codeOf(stream.error), Http2Code.refusedStream);
  assertEquals(stream.read(), null);
  assert(!stream.isReadToEnd);
  await memory.end();
});

Deno.test("1xx answers come before the real one and are not told of", async () => {
  const memory = await connected();
  const log = watch(memory.request());
  await memory.send(
    answer(1, 0, [[":status", "100"]]),
    answer(1, 0, [[":status", "103"], ["link", "</x>"]]),
    whole(1),
  );
  assertEquals(log, ["headers 200 content-type,application/grpc", "trailers grpc-status,0", "end"]);
  await memory.end();
});

Deno.test("an answer of one HEADERS frame ends the call", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  stream.end();
  await memory.send(answer(1, endStream, [[":status", "200"], ["grpc-status", "5"]]));
  assertEquals(log, ["headers 200 grpc-status,5", "end", "end", "closed in order"]);
  await memory.end();
});

Deno.test("DATA may end an answer, and may be empty there", async () => {
  for (const bytes of [hex("0102"), hex("")]) {
    const memory = await connected();
    const stream = memory.request();
    const log = watch(stream);
    stream.end();
    await memory.send(answer(1, 0, [[":status", "204"]]), frame(data, endStream, 1, bytes));
    assertEquals(log.at(-1), "closed in order");
    assert(log.every((line) => !line.startsWith("trailers")));
    assertEquals(readAll(stream), bytes);
    assert(stream.isReadToEnd);
    await memory.end();
  }
});

Deno.test("padding is no part of a body or of headers, and counts for the windows", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  const block = encodeHeaders([[":status", "200"], ["a", "b"]]);
  await memory.send(
    frame(headers, endHeaders | padded | 0x20, 1, join(hex("02 00000000 10"), block, hex("0000"))),
    frame(data, padded, 1, hex("03 0102 000000")),
    frame(data, padded, 1, hex("00 03")),
    frame(data, padded, 1, hex("01 00")),
    times(160, frame(data, padded, 1, join(hex("fe"), new Uint8Array(255)))),
  );
  assertEquals(log[0], "headers 200 a,b");
  // Padding and its length are credited at once: 255 bytes a frame, until they are a quarter of the window.
  assertEquals(memory.sent(windowUpdate, 1).map(({ payload }) => numberAt(payload, 0)), [7 + 129 * 255]);
  await memory.send(frame(data, padded | endStream, 1, hex("01 04 00")));
  assertEquals(readAll(stream), join(hex("010203"), new Uint8Array(160), hex("04")));
  await memory.end();
});

Deno.test("headers may be spread over CONTINUATION frames and cut anywhere", async () => {
  const block = encodeHeaders([[":status", "200"], ["a", "b".repeat(300)]]);
  const bytes = join(
    HELLO,
    frame(headers, 0, 1, block.subarray(0, 1)),
    frame(continuation, 0, 1),
    frame(continuation, 0, 1, block.subarray(1, 100)),
    frame(continuation, endHeaders, 1, block.subarray(100)),
    frame(data, 0, 1, hex("0102")),
    frame(headers, endStream, 1, hex("00 01 74")),
    frame(continuation, endHeaders, 1, hex("01 75")),
  );
  for (let at = 0; at < bytes.length; at += 7) {
    const memory = new MemoryClientConnection();
    const stream = memory.request();
    const log = watch(stream);
    await memory.send(bytes.subarray(0, at), bytes.subarray(at));
    assertEquals(log.filter((line) => line !== "readable"), [
      `headers 200 a,${"b".repeat(300)}`,
      "trailers t,u",
    ]);
    assertEquals(readAll(stream), hex("0102"));
    assert(stream.isReadToEnd);
    await memory.end();
  }
});

Deno.test("headers longer than the server's frames are sent in CONTINUATION frames", async () => {
  const memory = await connected();
  const long = "x".repeat(40_000);
  memory.connection.request([[":method", "POST"], [":scheme", "http"], [":path", "/"], ["long", long]]);
  await memory.send();
  const sent = memory.frames.slice(3);
  assertEquals(sent.map(({ type, flags }) => [type, flags]), [[headers, 0], [continuation, 0], [continuation, 4]]);
  const { fields } = new HpackDecoder(2 ** 16).decode(join(...sent.map(({ payload }) => payload)));
  assertEquals(fields[3][1], long);
  await memory.send(settingsFrame([[5, 50_000]]));
  memory.connection.request([[":method", "POST"], [":scheme", "http"], [":path", "/"], ["long", long]]);
  await memory.send();
  assertEquals(memory.sent(headers, 3).map(({ flags }) => flags), [endHeaders]);
  await memory.end();
});

Deno.test("further requests wait where the server takes no more, and what is written meanwhile is sent then", async () => {
  const memory = await connected(maxStreams(2));
  const streams = ["/0", "/1", "/2", "/3"].map((path) => memory.request(path));
  let taken = 0;
  assert(!streams[2].write(hex("aabb"), () => taken++));
  streams[2].end();
  assert(!streams[3].write(hex("cc"), () => taken++));
  await memory.send();
  assertEquals(streams.map(({ id }) => id), [1, 3, 0, 0]);
  assertEquals([memory.sent(headers).length, memory.sentBytes(), taken], [2, 0, 0]);
  streams[1].end();
  await memory.send(whole(3));
  assertEquals(streams.map(({ id }) => id), [1, 3, 5, 0]);
  assertEquals(memory.frames.slice(-3).map(({ type, flags, streamId }) => [type, flags, streamId]), [
    [headers, endHeaders, 5],
    [data, 0, 5],
    [data, endStream, 5],
  ]);
  assertEquals(taken, 1);
  await memory.send(whole(5));
  assertEquals([streams[3].id, taken], [7, 2]);
  assertEquals(memory.sentBytes(7), 1);
  await streams[2].closed;
  checkClientBytes(join(...memory.pipe.written));
  await memory.end();
});

Deno.test("one request goes before the server has said how many it takes, and any number where it does not", async () => {
  const memory = new MemoryClientConnection();
  for (let i = 0; i < 300; i++) memory.request();
  assertEquals(memory.connection.activeStreams, 1);
  await memory.send(HELLO);
  assertEquals(memory.connection.activeStreams, 300);
  await memory.send(settingsFrame([[1, 0]]));
  assertEquals(memory.connection.activeStreams, 300);
  await memory.end();
});

Deno.test("blanks around a value of an answer are let pass, as servers of gRPC send them", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  stream.end();
  await memory.send(answer(1), answer(1, endStream, [["grpc-status", "5"], ["grpc-message", " no such table: "]]));
  assertEquals(log[1], "trailers grpc-message,no such table: grpc-status,5");
  assertEquals(stream.error, null);
  await memory.end();
});

Deno.test("a server that takes no request gets none until it takes some", async () => {
  const memory = await connected(maxStreams(0));
  const streams = [0, 1, 2].map(() => memory.request());
  streams[0].write(new Uint8Array(20_000), nothing);
  await memory.send();
  assertEquals(memory.sent(headers).length, 0);
  await memory.send(settingsFrame([[3, 2], [4, 10_000]]));
  assertEquals(streams.map(({ id }) => id), [1, 3, 0]);
  assertEquals(memory.sentBytes(1), 10_000);
  await memory.send(maxStreams(3));
  assertEquals(streams[2].id, 5);
  await memory.end();
});

Deno.test("a request that waits can be given up, and is never opened", async () => {
  const memory = await connected(maxStreams(1));
  const [first, second, third] = [0, 1, 2].map(() => memory.request());
  const log = watch(second);
  let taken = 0;
  second.write(hex("00"), () => taken++);
  second.reset();
  await second.closed;
  assertEquals([log, taken, second.error], [["readable", "closed in order"], 1, null]);
  first.reset();
  await memory.send();
  assertEquals([first.id, second.id, third.id], [1, 0, 3]);
  assertEquals(memory.resets, [[1, Http2Code.cancel]]);
  await memory.end();
});

Deno.test("a limit that is lowered holds back requests until as many have ended", async () => {
  const memory = await connected();
  const streams = [0, 1, 2].map(() => memory.request());
  await memory.send(maxStreams(2));
  const waiting = memory.request();
  streams[0].reset();
  assertEquals(waiting.id, 0);
  streams[1].reset();
  assertEquals(waiting.id, 7);
  await memory.end();
});

Deno.test("GOAWAY: calls that the server has taken go on, the others fail, and the connection ends after them", async () => {
  const memory = await connected(maxStreams(3));
  const streams = [0, 1, 2, 3, 4].map(() => memory.request());
  const logs = streams.map(watch);
  streams[0].end();
  await memory.send(numbersFrame(goaway, 0, 1, Http2Code.noError));
  assertEquals(streams.map(({ isClosed }) => isClosed), [false, true, true, true, true]);
  for (const stream of streams.slice(1)) {
    assertInstanceOf(stream.error, Http2Reset);
    assertEquals(codeOf(stream.error), Http2Code.refusedStream);
    await stream.closed;
  }
  assertEquals(logs[4], ["readable", "closed Http2Reset"]);
  // Neither the places that have become free nor later calls have a stream opened.
  const late = memory.request();
  await late.closed;
  assertInstanceOf(late.error, Http2Reset);
  assert(!memory.connection.isUsable);
  assertEquals(memory.sent(headers).map(({ streamId }) => streamId), [1, 3, 5]);
  await memory.send(answer(1), frame(data, 0, 1, hex("01")), trailers(1));
  assertEquals(await memory.over, null);
  assertEquals(readAll(streams[0]), hex("01"));
  assertEquals(memory.frames.at(-1), { type: goaway, flags: 0, streamId: 0, payload: new Uint8Array(8) });
  checkClientBytes(join(...memory.pipe.written));
});

Deno.test("GOAWAY with an error: calls that were not taken fail with its code, and so does the connection", async () => {
  const memory = await connected();
  const [first, second] = [0, 1].map(() => memory.request());
  first.end();
  await memory.send(numbersFrame(goaway, 0, 1, Http2Code.enhanceYourCalm));
  assertEquals([first.isClosed, codeOf(second.error)], [false, Http2Code.enhanceYourCalm]);
  await memory.send(whole(1));
  await first.closed;
  assertEquals(first.error, null);
  assertInstanceOf(await memory.over, Http2Reset);
});

Deno.test("GOAWAY twice, as servers shut down in order, with bytes to read by people", async () => {
  const memory = await connected();
  const [first, second] = [0, 1].map(() => memory.request());
  first.end();
  await memory.send(frame(goaway, 0, 0, join(hex("7fffffff 00000000"), new TextEncoder().encode("soon"))));
  assertEquals([first.isClosed, second.isClosed, memory.connection.isUsable], [false, false, false]);
  await memory.send(numbersFrame(goaway, 0, 1, 0));
  assertEquals([first.isClosed, codeOf(second.error)], [false, Http2Code.refusedStream]);
  await memory.send(whole(1));
  assertEquals([await memory.over, first.error], [null, null]);
});

Deno.test("GOAWAY on a connection without a call ends it", async () => {
  const memory = await connected();
  await memory.send(numbersFrame(goaway, 0, 0, 0));
  assertEquals(await memory.over, null);
});

Deno.test("frames behind the one with which the connection ends change nothing", async () => {
  const after = join(frame(ping, 0, 0, new Uint8Array(8)), HELLO, frame(data, 0, 1, hex("00")), answer(1));
  for (const end of ["goaway", "destroy"]) {
    const memory = await connected();
    const stream = memory.request();
    stream.end();
    if (end === "goaway") await memory.send(numbersFrame(goaway, 0, 1, 0));
    else stream.onTrailers = () => memory.connection.destroy();
    await memory.send(join(whole(1), after));
    assertEquals([await memory.over, stream.error], [null, null], end);
    assertEquals(memory.frames.at(-1)!.type, goaway, end);
  }
});

Deno.test("closing lets calls under way end, and fails those that wait", async () => {
  const memory = await connected(maxStreams(1));
  const [first, second] = [0, 1].map(() => memory.request());
  memory.connection.close();
  await second.closed;
  assertInstanceOf(second.error, Http2Reset);
  first.end();
  await memory.send(whole(1));
  assertEquals([await memory.over, first.error], [null, null]);
});

Deno.test("a connection that has ended says nothing more, and leaves a server that does not close its side", async () => {
  const memory = new MemoryClientConnection({ lingerMs: 50 });
  memory.pipe.isLingering = true;
  const stream = memory.request();
  await memory.send(HELLO);
  memory.connection.destroy(Http2Code.cancel);
  await memory.send();
  const { length } = memory.frames;
  memory.connection.close();
  memory.connection.destroy();
  stream.reset();
  assertInstanceOf(memory.request().error, Http2Reset);
  await memory.send(whole(1), frame(ping, 0, 0, eights), hex("ff"));
  assertEquals(await memory.over, null);
  assertEquals(memory.frames.length, length);
  assertEquals(numberAt(memory.frames.at(-1)!.payload, 4), Http2Code.cancel);
});

Deno.test("a connection that is lost ends every call, also those that wait", async () => {
  const memory = await connected(maxStreams(1));
  const streams = [0, 1].map(() => memory.request());
  let taken = 0;
  for (const stream of streams) stream.write(new Uint8Array(100_000), () => taken++);
  memory.pipe.destroy(new Error("lost"));
  assertEquals((await memory.over)?.message, "lost");
  await Promise.all(streams.map(({ closed }) => closed));
  assertEquals(streams.map(({ error }) => error?.message), ["lost", "lost"]);
  assertEquals(taken, 2);
  const late = memory.request();
  await late.closed;
  assertEquals(late.error?.message, "lost");
});

Deno.test("a server that closes its side ends the connection and its calls", async () => {
  const memory = await connected();
  const stream = memory.request();
  memory.pipe.push(null);
  assertEquals(await memory.over, null);
  await stream.closed;
  assert(!stream.isRemoteEnded);
});

Deno.test("DATA waits for the windows of the stream and of the connection", async () => {
  const memory = await connected();
  const [first, second] = [0, 1].map(() => memory.request());
  let taken = 0;
  first.write(new Uint8Array(100_000), () => taken++);
  first.end();
  second.write(hex("0102"), () => taken++);
  await memory.send();
  assertEquals([memory.sentBytes(1), memory.sentBytes(3)], [65_535, 0]);
  await memory.send(numbersFrame(windowUpdate, 1, 50_000));
  assertEquals([memory.sentBytes(1), memory.sentBytes(3)], [65_535, 0]);
  await memory.send(numbersFrame(windowUpdate, 0, 34_466));
  assertEquals([memory.sentBytes(), taken], [100_001, 1]);
  await memory.send(numbersFrame(windowUpdate, 0, 1));
  assertEquals([memory.sentBytes(1), memory.sentBytes(3), taken], [100_000, 2, 2]);
  const { streams } = checkClientBytes(join(...memory.pipe.written));
  assertEquals([streams.get(1)!.isEnded, streams.get(3)!.isEnded], [true, false]);
  await memory.end();
});

Deno.test("a stream that has no window does not stop the others", async () => {
  const memory = await connected(initialWindow(0));
  const [first, second, third] = [0, 1, 2].map(() => memory.request());
  first.write(hex("01"), nothing);
  second.write(hex("0203"), nothing);
  third.end();
  await memory.send(numbersFrame(windowUpdate, 3, 10));
  assertEquals([memory.sentBytes(1), memory.sentBytes(3)], [0, 2]);
  assertEquals(memory.sent(data, 5).map(({ flags }) => flags), [endStream]);
  await memory.end();
});

Deno.test("INITIAL_WINDOW_SIZE changes the windows of streams under way, below nothing too", async () => {
  const memory = await connected(join(initialWindow(10), numbersFrame(windowUpdate, 0, 2 ** 20)));
  const stream = memory.request();
  stream.write(new Uint8Array(100), nothing);
  await memory.send();
  assertEquals(memory.sentBytes(), 10);
  await memory.send(initialWindow(30));
  assertEquals(memory.sentBytes(), 30);
  await memory.send(initialWindow(5)); // 25 below nothing
  await memory.send(numbersFrame(windowUpdate, 1, 25));
  assertEquals(memory.sentBytes(), 30);
  await memory.send(numbersFrame(windowUpdate, 1, 1));
  assertEquals(memory.sentBytes(), 31);
  await memory.send(initialWindow(70_000));
  assertEquals(memory.sentBytes(), 100);
  const later = memory.request();
  later.write(new Uint8Array(80_000), nothing);
  await memory.send();
  assertEquals(memory.sentBytes(3), 70_000);
  await memory.end();
});

Deno.test("credit is given only for what was read, and no more for a stream that has ended", async () => {
  const memory = await connected();
  const stream = memory.request();
  const half = new Uint8Array(2 ** 16);
  const updates = () => [0, 1].map((id) => memory.sent(windowUpdate, id).map(({ payload }) => numberAt(payload, 0)));
  await memory.send(answer(1), frame(data, 0, 1, half), frame(data, 0, 1, half));
  assertEquals(updates(), [[0x30001], []]);
  assertEquals(stream.read()!.byteLength, 2 ** 16);
  await memory.send();
  assertEquals(updates(), [[0x30001, 2 ** 16], [2 ** 16]]);
  await memory.send(frame(data, endStream, 1, half));
  assertEquals(readAll(stream).byteLength, 2 ** 17);
  await memory.send();
  assertEquals(updates(), [[0x30001, 2 ** 16, 2 ** 16, 2 ** 16], [2 ** 16]]);
  await memory.end();
});

Deno.test("an answer that is not read does not stop the others", async () => {
  const memory = await connected();
  const [first, second] = [0, 1].map(() => memory.request());
  await memory.send(answer(1), frame(data, 0, 1, new Uint8Array(2 ** 17)), answer(3));
  for (let i = 0; i < 20; i++) {
    await memory.send(frame(data, 0, 3, new Uint8Array(2 ** 17)));
    assertEquals(readAll(second).byteLength, 2 ** 17);
  }
  assertEquals([first.isClosed, second.isClosed, memory.resets], [false, false, []]);
  assertEquals(readAll(first).byteLength, 2 ** 17);
  await memory.end();
});

const bad = (flags: number, ...fields: HeaderField[]) => answer(1, flags, fields);
const ok: HeaderField = [":status", "200"];

/** What is wrong with the answer on stream 1, and the code of the RST_STREAM that it gets. */
const STREAM_ERRORS: [string, Uint8Array, number][] = [
  ["no fields", bad(0), Http2Code.protocolError],
  ["no status", bad(0, ["a", "b"]), Http2Code.protocolError],
  ["a status of two digits", bad(0, [":status", "20"]), Http2Code.protocolError],
  ["a status of four digits", bad(0, [":status", "2000"]), Http2Code.protocolError],
  ["a status that is no number", bad(0, [":status", "2x0"]), Http2Code.protocolError],
  ["a status below 100", bad(0, [":status", "099"]), Http2Code.protocolError],
  ["a status twice", bad(0, ok, ok), Http2Code.protocolError],
  ["a status behind others", bad(0, ["a", "b"], ok), Http2Code.protocolError],
  ["a pseudo-header of requests", bad(0, ok, [":path", "/"]), Http2Code.protocolError],
  ["a name with a capital letter", bad(0, ok, ["A", "b"]), Http2Code.protocolError],
  ["a name without characters", bad(0, ok, ["", "b"]), Http2Code.protocolError],
  ["a value with a line end", bad(0, ok, ["a", "b\nc"]), Http2Code.protocolError],
  ["a value with a zero byte", bad(0, ok, ["a", "b\0"]), Http2Code.protocolError],
  ["connection", bad(0, ok, ["connection", "close"]), Http2Code.protocolError],
  ["transfer-encoding", bad(0, ok, ["transfer-encoding", "chunked"]), Http2Code.protocolError],
  ["te other than trailers", bad(0, ok, ["te", "gzip"]), Http2Code.protocolError],
  ["a 1xx answer that is malformed", bad(0, [":status", "100"], ["upgrade", "x"]), Http2Code.protocolError],
  ["a 1xx answer that is the end", bad(endStream, [":status", "100"]), Http2Code.protocolError],
  ["a content-length that is no number", bad(0, ok, ["content-length", "-1"]), Http2Code.protocolError],
  ["two content-lengths", bad(0, ok, ["content-length", "1"], ["content-length", "2"]), Http2Code.protocolError],
  ["headers that are too long", bad(0, ok, ["a", "b".repeat(33_000)]), Http2Code.enhanceYourCalm],
  ["trailers that are too long", join(answer(1), bad(1, ["a", "b".repeat(33_000)])), Http2Code.enhanceYourCalm],
  [
    "headers in the middle of the body",
    join(answer(1), frame(data, 0, 1, hex("00")), bad(0, ["a", "b"])),
    Http2Code.protocolError,
  ],
  ["a second answer", join(answer(1), answer(1)), Http2Code.protocolError],
  ["trailers with a pseudo-header", join(answer(1), answer(1, endStream)), Http2Code.protocolError],
  ["trailers with a header of HTTP/1.1", join(answer(1), bad(1, ["upgrade", "x"])), Http2Code.protocolError],
  ["DATA in front of the headers", frame(data, 0, 1, hex("00")), Http2Code.protocolError],
  ["DATA behind 1xx", join(bad(0, [":status", "100"]), frame(data, endStream, 1, hex("00"))), Http2Code.protocolError],
  ["no body where one is announced", bad(endStream, ok, ["content-length", "1"]), Http2Code.protocolError],
  [
    "a body longer than its content-length",
    join(bad(0, ok, ["content-length", "1"]), frame(data, 0, 1, hex("0000")), frame(data, 0, 1, hex("00"))),
    Http2Code.protocolError,
  ],
  [
    "a body shorter than its content-length, ended by DATA",
    join(bad(0, ok, ["content-length", "3"]), frame(data, endStream, 1, hex("0000"))),
    Http2Code.protocolError,
  ],
  [
    "a body shorter than its content-length, ended by trailers",
    join(bad(0, ok, ["content-length", "3"]), frame(data, 0, 1, hex("0000")), trailers(1)),
    Http2Code.protocolError,
  ],
  ["DATA behind the end", join(answer(1, endStream), frame(data, 0, 1, hex("00"))), Http2Code.streamClosed],
  ["HEADERS behind the end", join(answer(1, endStream), answer(1)), Http2Code.streamClosed],
  [
    "more DATA than the window",
    join(answer(1), frame(data, 0, 1, new Uint8Array(2 ** 17)), frame(data, 0, 1, hex("00"))),
    Http2Code.flowControlError,
  ],
  ["WINDOW_UPDATE by 0", numbersFrame(windowUpdate, 1, 0), Http2Code.protocolError],
  [
    "a window too large",
    join(numbersFrame(windowUpdate, 1, 2 ** 31 - 1), numbersFrame(windowUpdate, 1, 1)),
    Http2Code.flowControlError,
  ],
  ["PRIORITY of a wrong length", frame(priority, 0, 1, hex("00")), Http2Code.frameSizeError],
];

Deno.test("what is wrong with an answer resets its stream alone, and the connection goes on", async (t) => {
  for (const [name, bytes, code] of STREAM_ERRORS) {
    await t.step(name, async () => {
      const memory = await connected();
      const [first, second] = [0, 1].map(() => memory.request());
      const logs = [first, second].map(watch);
      let taken = 0;
      first.write(new Uint8Array(100_000), () => taken++);
      second.end();
      await memory.send(bytes, whole(3));
      assertEquals(memory.resets, [[1, code]]);
      assertEquals([codeOf(first.error), first.error!.name, taken], [code, "Http2Error", 1]);
      assertEquals(logs[0].at(-1), "closed Http2Error");
      await first.closed;
      assertEquals([logs[1].at(-1), second.error], ["closed in order", null]);
      assertEquals(memory.connection.activeStreams, 0);
      checkClientBytes(join(...memory.pipe.written));
      await memory.end();
      assertEquals(await memory.over, null);
    });
  }
});

Deno.test("trailers are told of only where the body is as long as was announced", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  await memory.send(bad(0, ok, ["content-length", "2"]), frame(data, 0, 1, hex("00")), trailers(1));
  assertEquals(log, ["headers 200 content-length,2", "readable", "readable", "closed Http2Error"]);
  await memory.end();
});

/** What is wrong where streams 1 and 3 are open and 5 is over, its bytes, and the code of the GOAWAY that they get. */
const CONNECTION_ERRORS: [string, Uint8Array, number][] = [
  ["PUSH_PROMISE", frame(pushPromise, endHeaders, 1, hex("00000002")), Http2Code.protocolError],
  ["an answer on stream 0", answer(0), Http2Code.protocolError],
  ["an answer on a stream that was not opened", answer(9), Http2Code.protocolError],
  ["an answer on an even stream", answer(2), Http2Code.protocolError],
  ["an answer on a stream that is over", answer(5), Http2Code.streamClosed],
  ["DATA on stream 0", frame(data, 0, 0, hex("00")), Http2Code.protocolError],
  ["DATA on a stream that was not opened", frame(data, 0, 9, hex("00")), Http2Code.protocolError],
  ["DATA on an even stream", frame(data, 0, 2, hex("00")), Http2Code.protocolError],
  ["DATA on a stream that is over", frame(data, 0, 5, hex("00")), Http2Code.streamClosed],
  [
    "DATA behind an end, once more",
    join(answer(1, endStream), times(2, frame(data, 0, 1, hex("00")))),
    Http2Code.streamClosed,
  ],
  ["DATA with too much padding", join(answer(1), frame(data, padded, 1, hex("05 00"))), Http2Code.protocolError],
  ["HEADERS that cannot be decoded", frame(headers, endHeaders, 1, hex("80")), Http2Code.compressionError],
  ["HEADERS with too much padding", frame(headers, endHeaders | padded, 1, hex("09 88")), Http2Code.protocolError],
  ["CONTINUATION alone", frame(continuation, endHeaders, 1), Http2Code.protocolError],
  ["CONTINUATION of another stream", join(frame(headers, 0, 1), frame(continuation, 4, 3)), Http2Code.protocolError],
  ["HEADERS in a header block", join(frame(headers, 0, 1, hex("88")), answer(1)), Http2Code.protocolError],
  ["SETTINGS in a header block", join(frame(headers, 0, 1, hex("88")), HELLO), Http2Code.protocolError],
  [
    "CONTINUATION without end",
    join(frame(headers, 0, 1), times(40, frame(continuation, 0, 1))),
    Http2Code.enhanceYourCalm,
  ],
  ["a header block too long", frame(headers, 0, 1, new Uint8Array(70_000)), Http2Code.enhanceYourCalm],
  ["a frame longer than announced", hex("040001 00 00 00000001"), Http2Code.frameSizeError],
  ["SETTINGS of a wrong length", frame(settings, 0, 0, new Uint8Array(5)), Http2Code.frameSizeError],
  ["SETTINGS on a stream", frame(settings, 0, 1), Http2Code.protocolError],
  ["an acknowledgement with bytes", frame(settings, 1, 0, new Uint8Array(6)), Http2Code.frameSizeError],
  ["ENABLE_PUSH of 1, which no server may say", settingsFrame([[2, 1]]), Http2Code.protocolError],
  ["ENABLE_PUSH of 2", settingsFrame([[2, 2]]), Http2Code.protocolError],
  ["INITIAL_WINDOW_SIZE too large", initialWindow(2 ** 31), Http2Code.flowControlError],
  ["MAX_FRAME_SIZE too small", settingsFrame([[5, 16_383]]), Http2Code.protocolError],
  ["MAX_FRAME_SIZE too large", settingsFrame([[5, 2 ** 24]]), Http2Code.protocolError],
  [
    "a stream window too large by SETTINGS",
    join(numbersFrame(windowUpdate, 1, 2 ** 31 - 70_000), initialWindow(100_000)),
    Http2Code.flowControlError,
  ],
  ["RST_STREAM too short", frame(rstStream, 0, 1, hex("00")), Http2Code.frameSizeError],
  ["RST_STREAM on stream 0", numbersFrame(rstStream, 0, 8), Http2Code.protocolError],
  ["RST_STREAM on a stream that was not opened", numbersFrame(rstStream, 9, 8), Http2Code.protocolError],
  ["RST_STREAM on an even stream", numbersFrame(rstStream, 2, 8), Http2Code.protocolError],
  ["PRIORITY on stream 0", frame(priority, 0, 0, new Uint8Array(5)), Http2Code.protocolError],
  ["PING on a stream", frame(ping, 0, 1, eights), Http2Code.protocolError],
  ["PING of a wrong length", frame(ping, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["GOAWAY on a stream", frame(goaway, 0, 1, eights), Http2Code.protocolError],
  ["GOAWAY too short", frame(goaway, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["WINDOW_UPDATE of a wrong length", frame(windowUpdate, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["WINDOW_UPDATE by 0", numbersFrame(windowUpdate, 0, 0), Http2Code.protocolError],
  ["WINDOW_UPDATE on a stream that was not opened", numbersFrame(windowUpdate, 9, 1), Http2Code.protocolError],
  ["a connection window too large", numbersFrame(windowUpdate, 0, 2 ** 31 - 1), Http2Code.flowControlError],
  [
    "more DATA than the connection's window",
    join(
      answer(1),
      answer(3),
      ...[1, 3].map((id) => frame(data, 0, id, new Uint8Array(2 ** 17))),
      frame(data, 0, 3, eights),
    ),
    Http2Code.flowControlError,
  ],
  ["a flood of PING", times(5000, frame(ping, 0, 0, eights)), Http2Code.enhanceYourCalm],
  ["a flood of SETTINGS", times(5000, HELLO), Http2Code.enhanceYourCalm],
  ["a flood of empty DATA", join(answer(1), times(5000, frame(data, 0, 1))), Http2Code.enhanceYourCalm],
  ["a flood of RST_STREAM", times(1200, numbersFrame(rstStream, 5, 8)), Http2Code.enhanceYourCalm],
  ["a flood of unknown frames", times(5000, frame(0x77, 0, 0)), Http2Code.enhanceYourCalm],
];

Deno.test("what is wrong with a connection ends it and its calls with the code of RFC 9113", async (t) => {
  for (const [name, bytes, code] of CONNECTION_ERRORS) {
    await t.step(name, async () => {
      const memory = await connected(maxStreams(3));
      const streams = [0, 1, 2, 3].map(() => memory.request());
      streams[2].end();
      await memory.send(whole(5), maxStreams(2));
      streams.push(memory.request());
      streams[3].reset(); // stream 7 was opened in place of stream 5
      await memory.send(bytes.slice());
      const error = await memory.over;
      assertInstanceOf(error, Http2Error);
      assertEquals(memory.sent(goaway).map(({ payload }) => [numberAt(payload, 0), numberAt(payload, 4)]), [[0, code]]);
      assertEquals(memory.frames.at(-1)!.type, goaway);
      assertEquals(codeOf(error), code);
      await Promise.all(streams.map(({ closed }) => closed));
      assertEquals([0, 1, 4].map((i) => codeOf(streams[i].error)), [code, code, code]);
      assertEquals([streams[2].error, streams[3].error], [null, null]);
      checkClientBytes(join(...memory.pipe.written));
    });
  }
  const text = (line: string) => new TextEncoder().encode(line);
  const starts: [string, Uint8Array][] = [
    ["an answer of HTTP/1.1", text("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["a preface, as clients send it", PREFACE],
    ["PING in front of SETTINGS", join(frame(ping, 0, 0, eights), HELLO)],
    ["an acknowledgement in front of SETTINGS", frame(settings, 1, 0)],
    ["an answer in front of SETTINGS", join(answer(1), HELLO)],
  ];
  for (const [name, bytes] of starts) {
    await t.step(name, async () => {
      const memory = new MemoryClientConnection();
      const stream = memory.request();
      await memory.send(bytes);
      assertEquals(codeOf(await memory.over), Http2Code.protocolError);
      await stream.closed;
      assertInstanceOf(stream.error, Http2Error);
    });
  }
});

Deno.test("frames of a stream that was reset on this side are passed over, and their bytes credited", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  await memory.send(answer(1), frame(data, 0, 1, new Uint8Array(1000)));
  stream.reset(Http2Code.internalError);
  await memory.send(
    frame(data, 0, 1, new Uint8Array(2 ** 16 - 1000)),
    frame(data, padded, 1, hex("00")),
    numbersFrame(windowUpdate, 1, 1),
    bad(endStream, ["x", "y"]),
    numbersFrame(rstStream, 1, 8),
  );
  assertEquals(memory.resets, [[1, Http2Code.internalError]]);
  assertEquals(memory.sent(windowUpdate, 0).map(({ payload }) => numberAt(payload, 0)), [0x30001, 2 ** 16]);
  assertEquals(log.slice(-2), ["readable", "closed in order"]);
  assertEquals([stream.error, memory.connection.isUsable], [null, true]);
  // Their headers still count for what is compressed after them.
  const next = memory.request();
  const nextLog = watch(next);
  await memory.send(frame(headers, endHeaders, 3, hex("88 40 01 61 01 62")), frame(headers, endHeaders, 1, hex("be")));
  await memory.send(frame(headers, endHeaders | endStream, 3, hex("be")));
  assertEquals(nextLog, ["headers 200 a,b", "trailers a,b", "end"]);
  await memory.end();
});

Deno.test("what is thrown away is credited at once, and read to its end", async () => {
  const memory = await connected();
  const stream = memory.request();
  stream.end();
  await memory.send(answer(1), frame(data, 0, 1, new Uint8Array(1000)));
  stream.discard();
  await memory.send(frame(data, 0, 1, new Uint8Array(2 ** 17 - 1000)));
  assertEquals(memory.sent(windowUpdate, 1).map(({ payload }) => numberAt(payload, 0)), [2 ** 17]);
  await memory.send(trailers(1));
  assert(stream.isReadToEnd && stream.isClosed);
  assertEquals(stream.read(), null);
  await memory.end();
});

Deno.test("the end of a request goes out once the write in front of it was given up", async () => {
  for (const isEndFirst of [false, true]) {
    const memory = await connected();
    const stream = memory.request();
    let taken = 0;
    assert(!stream.write(new Uint8Array(100_000), () => taken++));
    if (isEndFirst) stream.end();
    await memory.send(numbersFrame(windowUpdate, 0, 100_000));
    stream.drop();
    stream.drop();
    if (!isEndFirst) stream.end();
    await memory.send();
    assertEquals([memory.sentBytes(), taken], [65_535, 1]);
    assertEquals(memory.frames.at(-1)!.flags, endStream, `the end came ${isEndFirst ? "before" : "behind"}`);
    await memory.send(whole(1));
    assertEquals([stream.isClosed, stream.error], [true, null]);
    await memory.end();
  }
});

Deno.test("a write under way cannot be joined by another, and is taken once the stream is reset", async () => {
  const memory = await connected();
  const stream = memory.request();
  let taken = 0;
  stream.write(new Uint8Array(100_000), () => taken++);
  let error: unknown = null;
  try {
    stream.write(hex("00"), nothing);
  } catch (caught) {
    error = caught;
  }
  assertInstanceOf(error, TypeError);
  stream.reset();
  assertEquals(taken, 1);
  assert(stream.write(hex("00"), nothing));
  await memory.end();
});

Deno.test("streams reset from inside of any callback leave whole frames in order on the wire", async (t) => {
  for (const place of ["taken", "onHeaders", "onReadable", "onTrailers", "onClose"]) {
    for (const target of [0, 1, 2]) {
      await t.step(`${place} of the first resets stream ${target}`, async () => {
        const memory = await connected(maxStreams(2));
        const streams = [0, 1, 2].map(() => memory.request());
        const body = new Uint8Array(300_000);
        let hits = 0;
        let taken = 0;
        const hit = () => {
          if (hits++ === 0) streams[target].reset();
          // A call made from there is as good as any other.
          if (hits === 1) streams.push(memory.request("/new"));
        };
        if (place === "onHeaders") streams[0].onHeaders = hit;
        if (place === "onReadable") streams[0].onReadable = hit;
        if (place === "onTrailers") streams[0].onTrailers = hit;
        if (place === "onClose") streams[0].onClose = hit;
        streams[1].write(body, () => taken++);
        streams[0].write(body.subarray(0, 50_000), () => (taken++, place === "taken" && hit()));
        streams[2].write(body, () => taken++);
        streams[0].end();
        await memory.send(
          initialWindow(2 ** 20),
          numbersFrame(windowUpdate, 0, 2 ** 20),
          answer(1),
          frame(data, 0, 1, hex("00")),
          trailers(1),
        );
        assert(hits > 0);
        assert(streams[target].isClosed && !streams[target].isReadToEnd);
        assert(streams.slice(1, 3).every(({ id, isClosed }) => id > 0 || isClosed));
        const seen = checkClientBytes(join(...memory.pipe.written)).streams;
        for (const stream of streams) {
          if (stream.id > 0 && !stream.isClosed && stream !== streams[3]) {
            assertEquals(seen.get(stream.id)!.bytes, 300_000);
          }
        }
        assertEquals(taken, 3);
        await memory.end();
        await Promise.all(streams.map(({ closed }) => closed));
      });
    }
  }
});

/** A server that takes and gives at random, within what it has announced, and sees that the client keeps to it too. */
class ModelServer {
  readonly #memory: MemoryClientConnection;
  readonly #below: (limit: number) => number;
  readonly #checker = new ClientFrameChecker();
  #at = 0;
  #preface = PREFACE.byteLength;
  #limit = Infinity;
  #initial = 65_535;
  /** Settings that the client has not acknowledged, in order: those of the start say nothing. */
  #settings: [id: number, value: number][][] = [[]];
  /** What the client may send: on the connection, and on each stream above what `#initial` gives it. */
  #window = 65_535;
  readonly #extra = new Map<number, number>();
  readonly #received = new Map<number, Uint8Array[]>();
  /** What this side may send. */
  #credit = 65_535;
  readonly #credits = new Map<number, number>();
  readonly #echoed = new Map<number, number>();
  readonly #open = new Set<number>();
  #rest: Uint8Array = new Uint8Array();

  constructor(memory: MemoryClientConnection, below: (limit: number) => number) {
    this.#memory = memory;
    this.#below = below;
  }

  get hasCalls(): boolean {
    return this.#open.size > 0;
  }

  /** Takes what the client has written since. */
  take(): void {
    const { written } = this.#memory.pipe;
    const chunks = written.slice(this.#at);
    this.#at = written.length;
    const bytes = join(this.#rest, ...chunks);
    if (bytes.byteLength < this.#preface) return void (this.#rest = bytes);
    const { frames, rest } = cutFrames(bytes.subarray(this.#preface));
    this.#preface = 0;
    this.#rest = rest;
    for (const each of frames) this.#take(each);
  }

  #take(each: RawFrame): void {
    const { type, flags, streamId, payload } = each;
    this.#checker.take(each);
    if (type === settings && flags === 1) {
      for (const [id, value] of this.#settings.shift()!) {
        if (id === 3) this.#limit = value;
        else this.#initial = value;
      }
    }
    if (type === headers) {
      assert(this.#open.size < this.#limit, `stream ${streamId} is one too many`);
      this.#open.add(streamId);
      this.#received.set(streamId, []);
      this.#credits.set(streamId, 2 ** 17);
    }
    if (type === windowUpdate && streamId === 0) this.#credit += numberAt(payload, 0);
    if (type === windowUpdate && streamId > 0) {
      this.#credits.set(streamId, this.#credits.get(streamId)! + numberAt(payload, 0));
    }
    if (type === rstStream) this.#open.delete(streamId);
    if (type !== data) return;
    this.#window -= payload.byteLength;
    const extra = (this.#extra.get(streamId) ?? 0) - payload.byteLength;
    this.#extra.set(streamId, extra);
    assert(this.#window >= 0, "the connection's window is overrun");
    assert(payload.byteLength === 0 || this.#initial + extra >= 0, `the window of stream ${streamId} is overrun`);
    this.#received.get(streamId)!.push(payload);
  }

  /** Sets something anew, widens a window, or echoes a piece of a body; returns the bytes for it. */
  act(): Uint8Array {
    const below = this.#below;
    const ids = [...this.#open];
    const id = ids[below(ids.length)];
    switch (below(8)) {
      case 0:
        this.#settings.push([[3, 1 + below(6)], [4, below(3) * 40_000 + below(100)]]);
        return settingsFrame(this.#settings.at(-1)!);
      case 1: {
        const more = 1 + below(100_000);
        this.#window += more;
        return numbersFrame(windowUpdate, 0, more);
      }
      case 2: {
        if (id === undefined) break;
        const more = 1 + below(50_000);
        this.#extra.set(id, (this.#extra.get(id) ?? 0) + more);
        return numbersFrame(windowUpdate, id, more);
      }
      case 3:
        return frame(ping, 0, 0, eights);
      default:
        if (id !== undefined) return this.#echo(id);
    }
    return new Uint8Array();
  }

  /** Widens everything, so that all that is under way can end. */
  finish(): Uint8Array {
    this.#settings.push([[3, 100], [4, 2 ** 24]]);
    this.#window += 2 ** 24;
    return join(settingsFrame(this.#settings.at(-1)!), numbersFrame(windowUpdate, 0, 2 ** 24));
  }

  /** Echoes what it may of each call. */
  echoAll(): Uint8Array {
    return join(...[...this.#open].map((id) => this.#echo(id)));
  }

  #echo(id: number): Uint8Array {
    const body = join(...this.#received.get(id)!);
    const done = this.#echoed.get(id);
    if (done === undefined) {
      this.#echoed.set(id, 0);
      return answer(id);
    }
    const pad = this.#below(4) === 0 ? this.#below(30) : -1;
    const most = Math.min(this.#credit, this.#credits.get(id)!) - (pad + 1);
    const length = Math.min(body.byteLength - done, most, 1 + this.#below(60_000));
    if (length > 0) {
      const used = length + pad + 1;
      this.#credit -= used;
      this.#credits.set(id, this.#credits.get(id)! - used);
      this.#echoed.set(id, done + length);
      const piece = body.subarray(done, done + length);
      if (pad < 0) return frame(data, 0, id, piece);
      return frame(data, padded, id, join(Uint8Array.of(pad), piece, new Uint8Array(pad)));
    }
    if (done < body.byteLength || !this.#checker.streams.get(id)!.isEnded) return new Uint8Array();
    this.#open.delete(id);
    return trailers(id);
  }
}

Deno.test("random calls to a server that echoes them come back whole, within every window and limit", async () => {
  console.log(`http2: seed ${seed}`);
  const random = generator();
  const below = (limit: number) => Math.floor(random() * limit);
  for (let round = 0; round < 150; round++) {
    const memory = await connected();
    const server = new ModelServer(memory, below);
    const calls: { stream: ClientStream; body: Uint8Array; read: Uint8Array[]; isReset: boolean }[] = [];
    const start = () => {
      const stream = memory.request();
      const body = Uint8Array.from({ length: below(random() < 0.3 ? 200_000 : 300) }, () => below(256));
      const call = { stream, body, read: [] as Uint8Array[], isReset: false };
      calls.push(call);
      const step = 1 + below(80_000);
      let at = 0;
      const pump = () => {
        while (at < body.byteLength) {
          const piece = body.subarray(at, at += step);
          if (!stream.write(piece, pump)) return;
        }
        stream.end();
      };
      pump();
    };
    const read = ({ stream, read }: typeof calls[number]) => {
      const piece = stream.read();
      if (piece !== null) read.push(piece);
    };
    for (let step = 0; step < 60; step++) {
      if (random() < 0.2) start();
      if (calls.length > 0 && random() < 0.5) read(calls[below(calls.length)]);
      if (calls.length > 0 && random() < 0.02) {
        const call = calls[below(calls.length)];
        if (!call.stream.isClosed) call.isReset = true;
        call.stream.reset();
      }
      await memory.send();
      server.take();
      await memory.send(...Array.from({ length: 1 + below(4) }, () => server.act()));
      server.take();
    }
    await memory.send(server.finish());
    for (let i = 0; i < 500 && calls.some(({ stream }) => !stream.isReadToEnd && !stream.isClosed); i++) {
      for (const { stream, read } of calls) {
        const rest = readAll(stream);
        if (rest.byteLength > 0) read.push(rest);
      }
      server.take();
      await memory.send(server.echoAll());
    }
    for (const { stream, body, read, isReset } of calls) {
      await stream.closed;
      assertEquals(stream.error, null);
      if (isReset) continue;
      read.push(readAll(stream));
      assert(stream.isReadToEnd, `round ${round}: stream ${stream.id} has not ended`);
      assertEquals(join(...read), body, `round ${round}: stream ${stream.id}`);
    }
    assertEquals([memory.connection.activeStreams, server.hasCalls], [0, false]);
    await memory.end();
    assertEquals(await memory.over, null);
  }
});

Deno.test("random frames, mutated ones and what a caller does leave no call without an end and no frame cut", async () => {
  console.log(`http2: seed ${seed}`);
  const random = generator();
  const below = (limit: number) => Math.floor(random() * limit);
  const junk = (length: number) => Uint8Array.from({ length }, () => below(256));
  const id = () => 1 + 2 * below(8);
  const pieces: (() => Uint8Array)[] = [
    () => settingsFrame([[3, below(8)], [4, below(2 ** 20)]]),
    () => numbersFrame(windowUpdate, 0, 1 + below(2 ** 20)),
    () => numbersFrame(rstStream, id(), below(14)),
    () => random() < 0.8 ? trailers(id()) : answer(id()),
    () => frame(data, below(2), id(), junk(below(300))),
    () => frame(data, below(16), id(), junk(below(30))),
    () => frame(headers, below(256), id(), encodeHeaders([ok])),
    () => frame(headers, endHeaders, id(), join(encodeHeaders([ok]), junk(below(20)))),
    () => frame(below(12), below(256), below(10), junk(below(40))),
    () => settingsFrame([[below(8), below(2 ** 20)]]),
    () => numbersFrame(windowUpdate, below(8), below(2 ** 20)),
    () => numbersFrame(goaway, 0, below(12), below(3)),
    () => frame(continuation, below(8), id(), junk(below(30))),
    () => junk(below(30)),
  ];
  /** Connections that ended in order, by GOAWAY and for what is wrong, and calls that were answered. */
  const kinds = [0, 0, 0, 0];
  for (let i = 0; i < 4000; i++) {
    const where = `round ${i} of seed ${seed}`;
    const memory = new MemoryClientConnection();
    const calls: { stream: ClientStream; isWriting: boolean; closes: number; answer: number }[] = [];
    let owed = 0;
    let depth = 0;
    const isMild = random() < 0.7;
    /** What an honest server would send next, a few frames of each answer in their order. */
    const next = (): Uint8Array => {
      const open = calls.filter(({ stream, answer }) => stream.id > 0 && !stream.isClosed && answer < 4);
      const call = open[below(open.length)];
      if (call === undefined || random() < 0.2) return pieces[below(2)]();
      const { id } = call.stream;
      if (++call.answer === 1) return answer(id);
      return call.answer < 4 ? frame(data, 0, id, junk(below(300))) : trailers(id);
    };
    const piece = () => isMild && random() < 0.98 ? next() : pieces[below(pieces.length)]();
    const act = () => {
      // Callbacks act too, but not without end.
      if (depth > 4) return;
      depth++;
      const call = calls[below(calls.length)];
      const kind = below(20);
      if (kind < 4 || call === undefined) request();
      else if (kind < 10) write(call);
      else if (kind < 12) call.stream.end(random() < 0.5 ? [] : [["t", "u"]]);
      else if (kind < 15) call.stream.read();
      else if (kind < 16) call.stream.discard();
      else if (kind < 17) call.stream.drop();
      else if (kind < 19) call.stream.reset(below(12));
      else if (random() < 0.2) memory.connection.close();
      else if (random() < 0.1) memory.connection.destroy(below(12));
      depth--;
    };
    const sometimes = () => void (random() < 0.3 && act());
    const request = () => {
      if (calls.length >= 20) return;
      const call = { stream: memory.request(), isWriting: false, closes: 0, answer: 0 };
      calls.push(call);
      call.stream.onHeaders = sometimes;
      call.stream.onTrailers = sometimes;
      call.stream.onReadable = sometimes;
      if (call.stream.isClosed) call.closes++;
      call.stream.onClose = () => {
        call.closes++;
        sometimes();
      };
    };
    const write = (call: typeof calls[number]) => {
      if (call.isWriting) return;
      call.isWriting = true;
      owed++;
      let isTaken = false;
      const taken = () => {
        assert(!isTaken, `${where}: taken twice`);
        isTaken = true;
        owed--;
        call.isWriting = false;
      };
      const then = () => {
        taken();
        sometimes();
      };
      if (call.stream.write(new Uint8Array(below(random() < 0.3 ? 200_000 : 2000)), then)) taken();
    };
    if (random() < 0.95) await memory.send(HELLO);
    for (let steps = 1 + below(12); steps > 0; steps--) {
      for (let acts = below(4); acts > 0; acts--) act();
      const bytes = join(...Array.from({ length: below(6) }, piece));
      for (let flips = isMild || random() < 0.8 ? 0 : below(4); flips > 0 && bytes.length > 0; flips--) {
        bytes[below(bytes.length)] ^= 1 << below(8);
      }
      const cut = below(bytes.length);
      await memory.send(bytes.subarray(0, cut), bytes.subarray(cut));
    }
    try {
      checkClientBytes(join(...memory.pipe.written), Infinity);
    } catch (error) {
      throw new Error(where, { cause: error });
    }
    await memory.end();
    await Promise.all(calls.map(({ stream }) => stream.closed));
    const error = await memory.over;
    assert(error === null || error instanceof Http2Error || error instanceof Http2Reset, `${where}: ${error?.stack}`);
    assertEquals([owed, memory.connection.activeStreams], [0, 0], where);
    assertEquals(calls.map(({ closes }) => closes), calls.map(() => 1), where);
    kinds[error === null ? 0 : error instanceof Http2Reset ? 1 : 2]++;
    kinds[3] += calls.filter(({ stream }) => stream.isRemoteEnded && stream.error === null).length;
  }
  // Otherwise the rounds end before anything interesting happens.
  assert(kinds.every((count) => count > 20), `only so many ends of each kind: ${kinds}`);
});

Deno.test("200 calls at a time to a server of node:http2 that takes 10 are echoed whole and in order", async () => {
  console.log(`http2: seed ${seed}`);
  const random = generator();
  const server = createServer({ settings: { maxConcurrentStreams: 10 } });
  const sessions = new Set<Http2Session>();
  let atOnce = 0;
  let most = 0;
  server.on("session", (session) => {
    endLater(session);
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: ServerHttp2Stream, fields: IncomingHttpHeaders) => {
    most = Math.max(most, ++atOnce);
    stream.on("close", () => atOnce--);
    stream.respond({ ":status": 200, path: fields[":path"] });
    stream.pipe(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: (server.address() as AddressInfo).port });
  const { promise: over, resolve: onClose } = Promise.withResolvers<Error | null>();
  const connection = new ClientConnection(new DenoTransport(socket), {
    streamWindow: 2 ** 16,
    connectionWindow: 2 ** 20,
    maxHeaderBytes: 32 * 1024,
    lingerMs: 500,
    onClose,
  });
  const call = async (path: string, body: Uint8Array) => {
    const stream = connection.request([[":method", "POST"], [":scheme", "http"], [":path", path], [
      ":authority",
      "me",
    ]]);
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const pieces: Uint8Array[] = [];
    let answered: string | null = null;
    stream.onHeaders = (status, fields) => answered = `${status} ${fields.get("path")}`;
    stream.onReadable = () => {
      const bytes = readAll(stream);
      if (bytes.byteLength > 0) pieces.push(bytes);
      if (stream.isReadToEnd || stream.isClosed) resolve();
    };
    for (let at = 0; at < body.byteLength; at += 30_000) {
      await new Promise<void>((taken) => void (stream.write(body.subarray(at, at + 30_000), taken) && taken()));
    }
    stream.end();
    await ended;
    assertEquals([stream.error, answered], [null, `200 ${path}`]);
    assertEquals(join(...pieces), body);
  };
  const sizes = Array.from({ length: 200 }, (_, i) => i < 3 ? 65_534 + i : Math.floor(random() ** 3 * 300_000));
  await Promise.all(sizes.map((size, i) => {
    const body = Uint8Array.from({ length: size }, (_, at) => at * 31 + i);
    return call(`/${i}`, body);
  }));
  assertEquals(most, 10);
  assertEquals(connection.activeStreams, 0);
  connection.close();
  assertEquals(await over, null);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  assertEquals(sessions.size, 0);
});
