/** The client's side of the HTTP/2 layer: what it writes against bytes written by hand, and what a server may do to its calls. */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { Http2Code, Http2Reset } from "../../src/http2/errors.ts";
import { Flag, frame, FrameType, numbersFrame, settingsFrame } from "../../src/http2/frames.ts";
import { encodeHeaders, HpackDecoder } from "../../src/http2/hpack.ts";
import {
  codeOf,
  connected,
  eights,
  HELLO,
  initialWindow,
  maxStreams,
  nothing,
  readAll,
  times,
  trailers,
  watch,
  whole,
} from "./support/client.ts";
import { hex, join, joinAll } from "../support/bytes.ts";
import { answer, checkClientBytes, MemoryClientConnection, numberAt } from "../support/http2_raw.ts";

const { data, headers, rstStream, settings, ping, goaway, windowUpdate, continuation } = FrameType;
const { endStream, endHeaders, padded } = Flag;

Deno.test("a client starts with the preface, its settings and its window, and answers SETTINGS and PING", async () => {
  const memory = await connected(HELLO, frame(ping, 0, 0, hex("0102030405060708")));
  assertEquals(
    joinAll(memory.pipe.written),
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
  assert(stream.write(new TextEncoder().encode("hello"), nothing), "a write within the window was not taken");
  stream.end();
  await memory.send();
  assertEquals(
    joinAll(memory.pipe.written).subarray(24 + 33 + 13),
    hex(
      `00000f 01 04 00000001 20 83 86 04 04 2f732f4d 01 04 68657265
       000005 00 00 00000001 68656c6c6f  000000 00 01 00000001`,
    ),
  );
  await memory.end();
});

Deno.test("headers, message and end of a call are one write although some awaits lie between", async () => {
  const memory = await connected();
  const before = memory.pipe.written.length;
  const stream = memory.request();
  for (let i = 0; i < 5; i++) await null;
  stream.write(new TextEncoder().encode("hello"), nothing);
  for (let i = 0; i < 5; i++) await null;
  stream.end();
  await memory.send();
  assertEquals(memory.frames.filter(({ streamId }) => streamId === 1).map(({ type }) => type), [headers, data, data]);
  assertEquals(memory.pipe.written.length - before, 1);
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
  assert(stream.isClosed && stream.isRemoteEnded && !stream.isReadToEnd, "the stream is not closed with bytes left");
  assertEquals(memory.connection.activeStreams, 0);
  assertEquals(readAll(stream), hex("030405"));
  assert(stream.isReadToEnd, "the stream is not read to its end");
  assertEquals(memory.resets, []);
  await memory.end();
});

Deno.test("a server that resets a call behind its trailers has answered it, and what it sent can be read", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  let taken = 0;
  assert(!stream.write(new Uint8Array(100_000), () => taken++), "more was taken than the window has room for");
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
  assert(stream.isReadToEnd, "the stream is not read to its end");
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
  assert(!stream.isReadToEnd, "the stream ended too early");
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
    assert(log.every((line) => !line.startsWith("trailers")), log.join());
    assertEquals(readAll(stream), bytes);
    assert(stream.isReadToEnd, "the stream is not read to its end");
    await memory.end();
  }
});

Deno.test("padding is not part of a body or of headers, and counts for the windows", async () => {
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
    assert(stream.isReadToEnd, "the stream is not read to its end");
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

Deno.test("further requests wait while the server accepts no more, and what is written meanwhile is sent then", async () => {
  const memory = await connected(maxStreams(2));
  const streams = ["/0", "/1", "/2", "/3"].map((path) => memory.request(path));
  let taken = 0;
  assert(!streams[2].write(hex("aabb"), () => taken++), "a call that waits for its turn took bytes");
  streams[2].end();
  assert(!streams[3].write(hex("cc"), () => taken++), "a call that waits for its turn took bytes");
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
  checkClientBytes(joinAll(memory.pipe.written));
  await memory.end();
});

Deno.test("one request is sent before the server has announced how many it accepts, and any number if it does not", async () => {
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

Deno.test("a server that accepts no request gets none until it accepts some", async () => {
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

Deno.test("a request that waits can be cancelled, and is never opened", async () => {
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
  assert(!memory.connection.isUsable, "the connection accepts new calls");
  assertEquals(memory.sent(headers).map(({ streamId }) => streamId), [1, 3, 5]);
  await memory.send(answer(1), frame(data, 0, 1, hex("01")), trailers(1));
  assertEquals(await memory.over, null);
  assertEquals(readAll(streams[0]), hex("01"));
  assertEquals(memory.frames.at(-1), { type: goaway, flags: 0, streamId: 0, payload: new Uint8Array(8) });
  checkClientBytes(joinAll(memory.pipe.written));
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
  assert(!stream.isRemoteEnded, "the answer has ended");
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
  const { streams } = checkClientBytes(joinAll(memory.pipe.written));
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

Deno.test("the window of a stream grows up to its limit while all is read as it comes, and only then", async () => {
  const KIB = 1024;
  const memory = await connected(); // with a window of 128 KiB
  const stream = memory.request();
  stream.maxWindow = 160 * KIB;
  let isReader = false;
  stream.onBytes = () => isReader;
  await memory.send(answer(1));
  /** The credit for a quarter of a window. */
  const creditFor = async (window: number): Promise<number[]> => {
    const before = memory.sent(windowUpdate, 1).length;
    await memory.send(frame(data, 0, 1, new Uint8Array(window / 4)));
    readAll(stream);
    await memory.send();
    return memory.sent(windowUpdate, 1).slice(before).map(({ payload }) => numberAt(payload, 0));
  };
  assertEquals(await creditFor(128 * KIB), [32 * KIB], "for bytes that have waited");
  isReader = true;
  assertEquals(await creditFor(128 * KIB), [(32 + 32) * KIB]);
  assertEquals(await creditFor(160 * KIB), [40 * KIB]);
  // The peer may use all of it at once.
  isReader = false;
  await memory.send(frame(data, 0, 1, new Uint8Array(80 * KIB)), frame(data, 0, 1, new Uint8Array(80 * KIB)));
  assertEquals(memory.resets, []);
  await memory.send(frame(data, 0, 1, new Uint8Array(1)));
  assertEquals(memory.resets, [[1, Http2Code.flowControlError]]);
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
