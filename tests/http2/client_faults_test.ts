/** The client's side of the HTTP/2 layer and what is wrong: it gets the code that RFC 9113 wants, and leaves no call without an end. */
import { assert, assertEquals, assertGreater, assertInstanceOf } from "@std/assert";
import { Http2Code, Http2Error } from "../../src/http2/errors.ts";
import { Flag, frame, FrameType, numbersFrame, PREFACE, settingsFrame } from "../../src/http2/frames.ts";
import type { HeaderField } from "../../src/http2/static_table.ts";
import {
  codeOf,
  connected,
  eights,
  HELLO,
  initialWindow,
  maxStreams,
  nothing,
  OK_STATUS as ok,
  times,
  trailers,
  watch,
  whole,
} from "./support/client.ts";
import { hex, join, joinAll } from "../support/bytes.ts";
import { answer, checkClientBytes, MemoryClientConnection, numberAt } from "../support/http2_raw.ts";

const { data, headers, priority, rstStream, settings, pushPromise, ping, goaway, windowUpdate, continuation } =
  FrameType;
const { endStream, endHeaders, padded } = Flag;

const bad = (flags: number, ...fields: HeaderField[]) => answer(1, flags, fields);

/** DATA on stream 1, and PINGs behind it. */
const contentAndPings = (pings: number) => join(frame(data, 0, 1, hex("00")), times(pings, frame(ping, 0, 0, eights)));

/** What is wrong with the answer on stream 1, and the code of the RST_STREAM that it gets. */
const STREAM_ERRORS: [string, Uint8Array, number][] = [
  ["no fields", bad(0), Http2Code.protocolError],
  ["no status", bad(0, ["a", "b"]), Http2Code.protocolError],
  ["a status of two digits", bad(0, [":status", "20"]), Http2Code.protocolError],
  ["a status of four digits", bad(0, [":status", "2000"]), Http2Code.protocolError],
  ["a status that is not a number", bad(0, [":status", "2x0"]), Http2Code.protocolError],
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
  ["a content-length that is not a number", bad(0, ok, ["content-length", "-1"]), Http2Code.protocolError],
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
  ["DATA before HEADERS", frame(data, 0, 1, hex("00")), Http2Code.protocolError],
  ["DATA behind 1xx", join(bad(0, [":status", "100"]), frame(data, endStream, 1, hex("00"))), Http2Code.protocolError],
  ["no body although one is announced", bad(endStream, ok, ["content-length", "1"]), Http2Code.protocolError],
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
      checkClientBytes(joinAll(memory.pipe.written));
      await memory.end();
      assertEquals(await memory.over, null);
    });
  }
});

Deno.test("trailers are reported only if the body is as long as was announced", async () => {
  const memory = await connected();
  const stream = memory.request();
  const log = watch(stream);
  await memory.send(bad(0, ok, ["content-length", "2"]), frame(data, 0, 1, hex("00")), trailers(1));
  assertEquals(log, ["headers 200 content-length,2", "readable", "readable", "closed Http2Error"]);
  await memory.end();
});

/** A header block of more than 1 MiB. */
const longBlock = join(
  frame(headers, 0, 1, new Uint8Array(200_000)),
  times(5, frame(continuation, 0, 1, new Uint8Array(200_000))),
);

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
  ["a header block too long", longBlock, Http2Code.enhanceYourCalm],
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
  ["a flood of PING beside DATA", join(answer(1), times(5000, contentAndPings(2))), Http2Code.enhanceYourCalm],
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
      checkClientBytes(joinAll(memory.pipe.written));
    });
  }
  const text = (line: string) => new TextEncoder().encode(line);
  const starts: [string, Uint8Array][] = [
    ["an answer of HTTP/1.1", text("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["a preface, as clients send it", PREFACE],
    ["PING before SETTINGS", join(frame(ping, 0, 0, eights), HELLO)],
    ["an acknowledgement before SETTINGS", frame(settings, 1, 0)],
    ["an answer before SETTINGS", join(answer(1), HELLO)],
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

Deno.test("a server may send a PING for each frame with content, however many there are", async () => {
  const memory = await connected();
  memory.request();
  await memory.send(answer(1), times(5000, contentAndPings(1)));
  assertEquals([memory.sent(ping).length, memory.connection.isUsable], [5000, true]);
  for (let id = 3; id < 12_003; id += 2) {
    memory.request().end();
    memory.pipe.push(join(whole(id), frame(ping, 0, 0, eights)));
  }
  await memory.send();
  assertEquals([memory.sent(ping).length, memory.connection.isUsable], [11_000, true]);
  await memory.end();
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
  assert(stream.isReadToEnd && stream.isClosed, "the stream has not ended");
  assertEquals(stream.read(), null);
  await memory.end();
});

Deno.test("the end of a request is sent once the write before it was cancelled", async () => {
  for (const isEndFirst of [false, true]) {
    const memory = await connected();
    const stream = memory.request();
    let taken = 0;
    assert(!stream.write(new Uint8Array(100_000), () => taken++), "more was taken than the window has room for");
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
  assert(stream.write(hex("00"), nothing), "a write within the window was not taken");
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
        assertGreater(hits, 0);
        assert(streams[target].isClosed && !streams[target].isReadToEnd, "the stream that was hit goes on");
        assert(streams.slice(1, 3).every(({ id, isClosed }) => id > 0 || isClosed), "a call was forgotten");
        const seen = checkClientBytes(joinAll(memory.pipe.written)).streams;
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
