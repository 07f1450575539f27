/**
 * The HTTP/2 layer of the Flight server: header compression and frames against bytes written by hand, what is wrong gets the
 * code that RFC 9113 wants, and no client can end the process or have it hold more than was announced.
 */
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { serveFlight } from "../../flight.ts";
import { BodyQueue } from "../../src/http2/body_queue.ts";
import { Http2Code, Http2Error } from "../../src/http2/errors.ts";
import { Flag, frame, FrameType, headerFrames, numbersFrame, settingsFrame } from "../../src/http2/frames.ts";
import { encodeHeaders, HpackDecoder } from "../../src/http2/hpack.ts";
import type { ServerStream } from "../../src/http2/server_stream.ts";
import { until } from "../support/time.ts";
import { hex, join, joinAll } from "../support/bytes.ts";
import { MemoryConnection, RawClient, request, requestBlock, START } from "../support/http2_raw.ts";
import { seededRandom } from "../support/random.ts";

const decoder = () => new HpackDecoder(32 * 1024);

Deno.test("HPACK: the literals of RFC 7541, appendix C.2", () => {
  const cases: [string, string, string, number][] = [
    ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key", "custom-header", 55],
    ["040c 2f73 616d 706c 652f 7061 7468", ":path", "/sample/path", 0],
    ["1008 7061 7373 776f 7264 0673 6563 7265 74", "password", "secret", 0],
    ["82", ":method", "GET", 0],
  ];
  for (const [bytes, name, value, size] of cases) {
    const hpack = decoder();
    assertEquals(hpack.decode(hex(bytes)), { fields: [[name, value]], isTooLong: false });
    assertEquals(hpack.tableBytes, size);
  }
});

Deno.test("HPACK: the requests of RFC 7541, appendix C.3 and C.4, without and with Huffman code", () => {
  const plain = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
  ];
  const compressed = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
  ];
  const start = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "www.example.com"]];
  for (const blocks of [plain, compressed]) {
    const hpack = decoder();
    assertEquals(hpack.decode(hex(blocks[0])).fields as unknown, start);
    assertEquals(hpack.tableBytes, 57);
    assertEquals(hpack.decode(hex(blocks[1])).fields as unknown, [...start, ["cache-control", "no-cache"]]);
    assertEquals(hpack.tableBytes, 110);
    assertEquals(hpack.decode(hex(blocks[2])).fields as unknown, [
      [":method", "GET"],
      [":scheme", "https"],
      [":path", "/index.html"],
      [":authority", "www.example.com"],
      ["custom-key", "custom-value"],
    ]);
    assertEquals(hpack.tableBytes, 164);
  }
});

Deno.test("HPACK: the responses of RFC 7541, appendix C.6, which evict entries from a table of 256 bytes", () => {
  const hpack = decoder();
  const first = hex(
    `3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
     63c7 8f0b 97c8 e9ae 82ae 43d3`,
  );
  const rest = [
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ];
  assertEquals(hpack.decode(first).fields as unknown, [[":status", "302"], ...rest]);
  assertEquals(hpack.tableBytes, 222);
  assertEquals(hpack.decode(hex("4883 640e ffc1 c0bf")).fields as unknown, [[":status", "307"], ...rest]);
  assertEquals(hpack.tableBytes, 222);
  const third = hex(
    `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf
     cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
  );
  assertEquals(hpack.decode(third).fields as unknown, [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
    ["location", "https://www.example.com"],
    ["content-encoding", "gzip"],
    ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ]);
  assertEquals(hpack.tableBytes, 215);
});

Deno.test("HPACK: what is wrong is a COMPRESSION_ERROR, and a list that is too long is cut without losing the table", () => {
  const wrong = [
    "80",
    "c0",
    "ff8080808010",
    "3fe21f",
    "8220",
    "0085",
    "000361",
    "00 81 fe 00",
    "00 84 ffffffff 00",
    "1f",
  ];
  for (const bytes of wrong) {
    const error = assertThrows(() => decoder().decode(hex(bytes)), Http2Error);
    assertEquals(error.code, Http2Code.compressionError, bytes);
  }
  const short = new HpackDecoder(100);
  assert(short.decode(encodeHeaders([["a", "x".repeat(80)]])).isTooLong, "the list was taken");
  // Two entries of the table, of which the list takes none; both are there afterwards.
  const long = hex("40 01 61 3f" + "62".repeat(63) + "40 01 63 3f" + "64".repeat(63));
  assertEquals(short.decode(long).isTooLong, true);
  assertEquals(short.decode(hex("be")).fields as unknown, [["c", "d".repeat(63)]]);
});

Deno.test("HPACK: what is encoded is decoded again", () => {
  const fields = [[":status", "200"], ["content-type", "application/grpc"], ["grpc-message", "é".repeat(300)]] as const;
  assertEquals(encodeHeaders(fields.slice(0, 1)), hex("88"));
  assertEquals(decoder().decode(encodeHeaders(fields, true)).fields as unknown, fields);
});

Deno.test("frames: the bytes written by hand", () => {
  assertEquals(numbersFrame(FrameType.windowUpdate, 3, 65536), hex("000004 08 00 00000003 00010000"));
  assertEquals(numbersFrame(FrameType.rstStream, 5, Http2Code.cancel), hex("000004 03 00 00000005 00000008"));
  assertEquals(numbersFrame(FrameType.goaway, 0, 7, 11), hex("000008 07 00 00000000 00000007 0000000b"));
  assertEquals(settingsFrame([[4, 2 ** 20]]), hex("000006 04 00 00000000 0004 00100000"));
  assertEquals(
    headerFrames(1, hex("8882"), true, 1),
    hex("000001 01 01 00000001 88 000001 09 04 00000001 82"),
  );
});

Deno.test("a connection starts with its settings and its window, and answers SETTINGS and PING", async () => {
  const memory = new MemoryConnection();
  await memory.send(START, frame(FrameType.ping, 0, 0, hex("0102030405060708")));
  assertEquals(
    joinAll(memory.pipe.written),
    hex(
      `00001e 04 00 00000000 0002 00000000 0003 0000000a 0004 00020000 0005 00040000 0006 00008000
       000004 08 00 00000000 00030001  000000 04 01 00000000  000008 06 01 00000000 0102030405060708`,
    ),
  );
  await memory.end();
});

const { data, headers, priority, rstStream, settings, pushPromise, ping, goaway, windowUpdate, continuation } =
  FrameType;
const { endStream, endHeaders, padded } = Flag;
const block = (...fields: [string, string][]) => request(1, endHeaders, encodeHeaders(fields));
const post: [string, string][] = [[":method", "POST"], [":scheme", "http"], [":path", "/"]];
const times = (count: number, bytes: Uint8Array) => join(...Array.from({ length: count }, () => bytes));

/** A header block of more than 1 MiB. */
const longBlock = join(
  frame(headers, 0, 1, new Uint8Array(200_000)),
  times(5, frame(continuation, 0, 1, new Uint8Array(200_000))),
);

/** What is wrong, the bytes behind the start, and the code of the GOAWAY that they get. */
const CONNECTION_ERRORS: [string, Uint8Array, number][] = [
  ["DATA on stream 0", frame(data, 0, 0), Http2Code.protocolError],
  ["DATA on an idle stream", frame(data, 0, 1, hex("00")), Http2Code.protocolError],
  ["DATA with too much padding", join(request(1), frame(data, padded, 1, hex("05 00"))), Http2Code.protocolError],
  ["padded DATA without bytes", join(request(1), frame(data, padded, 1)), Http2Code.frameSizeError],
  ["HEADERS on stream 0", request(0), Http2Code.protocolError],
  ["HEADERS on an even stream", request(2), Http2Code.protocolError],
  ["HEADERS with too much padding", frame(headers, endHeaders | padded, 1, hex("09 82")), Http2Code.protocolError],
  ["HEADERS too short for its priority", frame(headers, 0x24, 1, hex("00")), Http2Code.frameSizeError],
  ["HEADERS that cannot be decoded", frame(headers, endHeaders, 1, hex("80")), Http2Code.compressionError],
  ["CONTINUATION alone", frame(continuation, endHeaders, 1), Http2Code.protocolError],
  ["a frame inside a header block", join(request(1, 0), frame(ping, 0, 0, new Uint8Array(8))), Http2Code.protocolError],
  ["CONTINUATION of another stream", join(request(1, 0), frame(continuation, 4, 3)), Http2Code.protocolError],
  ["CONTINUATION without end", join(request(1, 0), times(40, frame(continuation, 0, 1))), Http2Code.enhanceYourCalm],
  ["a header block too long", longBlock, Http2Code.enhanceYourCalm],
  ["a frame longer than announced", hex("ffffff 00 00 00000001"), Http2Code.frameSizeError],
  ["PRIORITY on stream 0", frame(priority, 0, 0, new Uint8Array(5)), Http2Code.protocolError],
  ["RST_STREAM too short", join(request(1), frame(rstStream, 0, 1, hex("00"))), Http2Code.frameSizeError],
  ["RST_STREAM on an idle stream", numbersFrame(rstStream, 1, 8), Http2Code.protocolError],
  ["SETTINGS on a stream", frame(settings, 0, 1), Http2Code.protocolError],
  ["SETTINGS of a wrong length", frame(settings, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["an acknowledgement with bytes", frame(settings, 1, 0, new Uint8Array(6)), Http2Code.frameSizeError],
  ["ENABLE_PUSH of 2", settingsFrame([[2, 2]]), Http2Code.protocolError],
  ["INITIAL_WINDOW_SIZE too large", settingsFrame([[4, 2 ** 31]]), Http2Code.flowControlError],
  ["MAX_FRAME_SIZE too small", settingsFrame([[5, 100]]), Http2Code.protocolError],
  ["PUSH_PROMISE", frame(pushPromise, 0, 1, new Uint8Array(4)), Http2Code.protocolError],
  ["PING on a stream", frame(ping, 0, 1, new Uint8Array(8)), Http2Code.protocolError],
  ["PING of a wrong length", frame(ping, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["GOAWAY on a stream", frame(goaway, 0, 1, new Uint8Array(8)), Http2Code.protocolError],
  ["GOAWAY too short", frame(goaway, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["WINDOW_UPDATE of a wrong length", frame(windowUpdate, 0, 0, hex("00")), Http2Code.frameSizeError],
  ["WINDOW_UPDATE by 0", numbersFrame(windowUpdate, 0, 0), Http2Code.protocolError],
  ["WINDOW_UPDATE on an idle stream", numbersFrame(windowUpdate, 1, 1), Http2Code.protocolError],
  ["a connection window too large", numbersFrame(windowUpdate, 0, 2 ** 31 - 1), Http2Code.flowControlError],
  [
    "a stream window too large by SETTINGS",
    join(request(1), numbersFrame(windowUpdate, 1, 2 ** 31 - 70_000), settingsFrame([[4, 100_000]])),
    Http2Code.flowControlError,
  ],
  [
    "more DATA than the connection's window",
    join(
      request(1),
      request(3),
      ...[1, 3].map((id) => frame(data, 0, id, new Uint8Array(2 ** 17))),
      frame(data, 0, 3, hex("00")),
    ),
    Http2Code.flowControlError,
  ],
  ["a flood of PING", times(5000, frame(ping, 0, 0, new Uint8Array(8))), Http2Code.enhanceYourCalm],
  ["a flood of SETTINGS", times(5000, frame(settings, 0, 0)), Http2Code.enhanceYourCalm],
  ["a flood of empty DATA", join(request(1), times(5000, frame(data, 0, 1))), Http2Code.enhanceYourCalm],
  ["a flood of unknown frames", times(5000, frame(0x77, 0, 0)), Http2Code.enhanceYourCalm],
  [
    "a flood of requests that are reset at once",
    join(...Array.from({ length: 1200 }, (_, i) => join(request(2 * i + 1), numbersFrame(rstStream, 2 * i + 1, 8)))),
    Http2Code.enhanceYourCalm,
  ],
  [
    "a frame on a stream that its client has reset",
    join(request(1), numbersFrame(rstStream, 1, 8), frame(data, 0, 1, hex("00"))),
    Http2Code.streamClosed,
  ],
];

Deno.test("what is wrong with a connection ends it with the code of RFC 9113", async (t) => {
  for (const [name, bytes, code] of CONNECTION_ERRORS) {
    await t.step(name, async () => {
      const memory = new MemoryConnection();
      await memory.send(START, bytes);
      const error = await memory.over;
      const last = memory.frames.at(-1)!;
      assertEquals(last.type, goaway, String(error));
      assertEquals(new DataView(last.payload.slice().buffer).getUint32(4), code, String(error));
      assert(error instanceof Http2Error, String(error));
    });
  }
  await t.step("bytes that are not HTTP/2, and a first frame that is not SETTINGS", async () => {
    for (const bytes of [new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"), join(START.subarray(0, 24), request(1))]) {
      const memory = new MemoryConnection();
      await memory.send(bytes);
      assertEquals(((await memory.over) as Http2Error).code, Http2Code.protocolError);
    }
  });
});

/** What is wrong, and the code of the RST_STREAM that stream 1 gets. */
const STREAM_ERRORS: [string, Uint8Array, number][] = [
  ["no method", block([":scheme", "http"], [":path", "/"]), Http2Code.protocolError],
  ["an empty path", block([":method", "POST"], [":scheme", "http"], [":path", ""]), Http2Code.protocolError],
  ["a pseudo-header twice", block(...post, [":path", "/"]), Http2Code.protocolError],
  ["a pseudo-header that is not known", block(...post, [":status", "200"]), Http2Code.protocolError],
  ["a pseudo-header behind others", block(["a", "b"], ...post), Http2Code.protocolError],
  ["a name with a capital letter", block(...post, ["A", "b"]), Http2Code.protocolError],
  ["a value with a line end", block(...post, ["a", "b\r\nc"]), Http2Code.protocolError],
  ["a header of HTTP/1.1", block(...post, ["connection", "close"]), Http2Code.protocolError],
  ["te other than trailers", block(...post, ["te", "gzip"]), Http2Code.protocolError],
  ["headers that are too long", block(...post, ["a", "b".repeat(33_000)]), Http2Code.enhanceYourCalm],
  [
    "a body longer than its content-length",
    join(block(...post, ["content-length", "1"]), frame(data, 0, 1, hex("0000"))),
    Http2Code.protocolError,
  ],
  [
    "a body shorter than its content-length",
    join(block(...post, ["content-length", "3"]), frame(data, endStream, 1, hex("0000"))),
    Http2Code.protocolError,
  ],
  [
    "DATA behind the end",
    join(request(1, endHeaders | endStream), frame(data, 0, 1, hex("00"))),
    Http2Code.streamClosed,
  ],
  ["HEADERS behind the end", join(request(1, endHeaders | endStream), request(1)), Http2Code.streamClosed],
  [
    "trailers that are not the end",
    join(request(1), request(1, endHeaders, hex("00016101 62"))),
    Http2Code.protocolError,
  ],
  ["trailers with a pseudo-header", join(request(1), request(1, endHeaders | endStream)), Http2Code.protocolError],
  ["WINDOW_UPDATE by 0", join(request(1), numbersFrame(windowUpdate, 1, 0)), Http2Code.protocolError],
  ["a window too large", join(request(1), numbersFrame(windowUpdate, 1, 2 ** 31 - 1)), Http2Code.flowControlError],
  ["PRIORITY of a wrong length", join(request(1), frame(priority, 0, 1, hex("00"))), Http2Code.frameSizeError],
  [
    "more DATA than the window",
    join(request(1), frame(data, 0, 1, new Uint8Array(2 ** 17)), frame(data, 0, 1, hex("00"))),
    Http2Code.flowControlError,
  ],
];

Deno.test("what is wrong with a stream resets it alone, and the connection goes on", async (t) => {
  for (const [name, bytes, code] of STREAM_ERRORS) {
    await t.step(name, async () => {
      const paths: string[] = [];
      const memory = new MemoryConnection({ onStream: (stream) => paths.push(stream.request.path) });
      await memory.send(START, bytes, request(3, endHeaders, requestBlock("/after")));
      const resets = memory.frames.filter(({ type }) => type === rstStream);
      assertEquals(resets.map(({ streamId, payload }) => [streamId, payload[3]]), [[1, code]]);
      assertEquals(paths.at(-1), "/after");
      assertEquals(memory.connection.activeStreams, 1);
      await memory.end();
    });
  }
  await t.step("more streams than announced are refused", async () => {
    const memory = new MemoryConnection({ maxStreams: 2 });
    await memory.send(START, request(1), request(3), request(5));
    const resets = memory.frames.filter(({ type }) => type === rstStream);
    assertEquals(resets.map(({ streamId, payload }) => [streamId, payload[3]]), [[5, Http2Code.refusedStream]]);
    await memory.end();
  });
});

Deno.test("credit is given only for what was read", async () => {
  const streams: ServerStream[] = [];
  const memory = new MemoryConnection({ onStream: (stream) => streams.push(stream) });
  const updates = () => memory.frames.filter(({ type, streamId }) => type === windowUpdate && streamId === 1).length;
  await memory.send(START, request(1), frame(data, 0, 1, new Uint8Array(2 ** 17)));
  assertEquals(updates(), 0);
  let bytes = 0;
  for (let piece = streams[0].read(); piece !== null; piece = streams[0].read()) bytes += piece.byteLength;
  await memory.send();
  assertEquals(bytes, 2 ** 17);
  assertEquals(updates(), 1);
  await memory.end();
});

Deno.test("DATA waits for the client's windows, and trailers follow it", async () => {
  const memory = new MemoryConnection({
    onStream: (stream) => {
      stream.respond([[":status", "200"]]);
      stream.write(new Uint8Array(100_000), () => {});
      stream.end([["grpc-status", "0"]]);
    },
  });
  const sent = () =>
    memory.frames.filter(({ type }) => type === data).reduce((sum, { payload }) => sum + payload.byteLength, 0);
  await memory.send(START, request(1, endHeaders | endStream));
  assertEquals(sent(), 65_535);
  await memory.send(numbersFrame(windowUpdate, 1, 50_000));
  assertEquals(sent(), 65_535);
  await memory.send(numbersFrame(windowUpdate, 0, 50_000));
  assertEquals(sent(), 100_000);
  assertEquals(memory.frames.at(-1)!.flags, endHeaders | endStream);
  assertEquals(memory.connection.activeStreams, 0);
  await memory.end();
});

Deno.test("a client that does not read is not read either, and its answers stay bounded", async () => {
  const memory = new MemoryConnection();
  memory.pipe.isStalled = true;
  await memory.send(START);
  for (let i = 0; i < 3000; i++) memory.pipe.push(join(frame(ping, 0, 0, new Uint8Array(8))));
  for (let i = 0; i < 60; i++) memory.pipe.push(times(60, frame(settings, 1, 0)));
  await memory.send();
  assertLess(memory.pipe.writableLength, 2 ** 20);
  await memory.end();
});

Deno.test("closing lets streams under way end, and accepts no further one", async () => {
  const streams: ServerStream[] = [];
  const memory = new MemoryConnection({ onStream: (stream) => streams.push(stream) });
  await memory.send(START, request(1, endHeaders | endStream));
  memory.connection.close();
  await memory.send(request(3, endHeaders | endStream));
  assertEquals(streams.length, 1);
  streams[0].respond([[":status", "200"]], true);
  assertEquals(await memory.over, null);
  assertEquals(memory.frames.at(-1)!.type, headers);
  await streams[0].closed;
});

Deno.test("a client that goes for an error has no further call started, also in the chunk that says so", async () => {
  const paths: string[] = [];
  const memory = new MemoryConnection({ onStream: (stream) => paths.push(stream.request.path) });
  const further = request(3, endHeaders | endStream, requestBlock("/after"));
  await memory.send(join(START, request(1), numbersFrame(goaway, 0, 0, Http2Code.internalError), further));
  assertEquals([paths, memory.connection.activeStreams], [["/s/M"], 0]);
  await memory.end();
});

Deno.test("small pieces of a body do not keep the chunks that they came in", () => {
  const queue = new BodyQueue();
  const chunk = new Uint8Array(65_536);
  for (let i = 0; i < 5000; i++) queue.push(chunk.subarray(i, i + 1));
  queue.push(chunk.subarray(0, 2000));
  let bytes = 0;
  for (let piece = queue.shift(); piece !== null; piece = queue.shift()) {
    assert(piece.buffer !== chunk.buffer, "a piece shares the memory of what arrived");
    bytes += piece.byteLength;
  }
  assertEquals([bytes, queue.bytes], [7000, 0]);
});

Deno.test("pieces of one byte between larger ones take no more memory than a few times their bytes", () => {
  const queue = new BodyQueue();
  for (let i = 0; i < 1000; i++) {
    queue.push(new Uint8Array(1024));
    queue.push(Uint8Array.of(i));
  }
  assertEquals(queue.bytes, 1_025_000);
  let held = 0;
  for (let piece = queue.shift(); piece !== null; piece = queue.shift()) held += piece.buffer.byteLength;
  assertLess(held, 2 * 1_025_000);
});

Deno.test("closing waits for a client that is slow to take the last answer", async () => {
  let stream: ServerStream | null = null;
  const slow = new MemoryConnection({ lingerMs: 20, onStream: (opened) => stream = opened });
  await slow.send(START, settingsFrame([[4, 2 ** 20]]), frame(FrameType.windowUpdate, 0, 0, hex("000fffff")));
  await slow.send(request(1, Flag.endHeaders | Flag.endStream));
  slow.pipe.delayMs = 30;
  stream!.respond([[":status", "200"]]);
  const taken = new Promise<void>((resolve) => stream!.write(new Uint8Array(900_000), resolve) && resolve());
  slow.connection.close();
  await taken;
  stream!.end([["grpc-status", "0"]]);
  assertEquals(await slow.over, null);
  const frames = slow.frames;
  const sent = frames.filter(({ type }) => type === FrameType.data).reduce((sum, f) => sum + f.payload.byteLength, 0);
  assertEquals(sent, 900_000);
  assertEquals(frames.at(-1)!.flags & Flag.endStream, Flag.endStream);
});

Deno.test("random frames and mutated ones never hang the connection, throw or leave a stream", async () => {
  const random = seededRandom();
  const junk = (length: number) => Uint8Array.from({ length }, () => random.below(256));
  const pieces: (() => Uint8Array)[] = [
    () => request(1 + 2 * random.below(8), random.below(256)),
    () => request(1 + 2 * random.below(8), endHeaders, join(requestBlock(), junk(random.below(20)))),
    () => frame(data, random.below(16), 1 + 2 * random.below(8), junk(random.below(300))),
    () => frame(random.below(12), random.below(256), random.below(10), junk(random.below(40))),
    () => settingsFrame([[random.below(8), random.below(2 ** 20)]]),
    () => numbersFrame(windowUpdate, random.below(8), random.below(2 ** 20)),
    () => numbersFrame(rstStream, 1 + 2 * random.below(8), random.below(14)),
    () => frame(continuation, random.below(8), 1 + 2 * random.below(8), junk(random.below(30))),
    () => junk(random.below(30)),
  ];
  for (let i = 0; i < 4000; i++) {
    const streams: ServerStream[] = [];
    const memory = new MemoryConnection({
      onStream: (stream) => {
        streams.push(stream);
        stream.onReadable = () => stream.read();
        if (random.chance(0.7)) stream.respond([[":status", "200"]], random.chance(0.2));
        if (random.chance(0.5)) stream.write(new Uint8Array(random.below(200_000)), () => {});
        if (random.chance(0.3)) stream.end([["grpc-status", "0"]]);
        if (random.chance(0.1)) stream.reset();
      },
    });
    const bytes = join(
      START,
      ...Array.from({ length: 1 + random.below(12) }, () => pieces[random.below(pieces.length)]()),
    );
    for (let flips = random.chance(0.5) ? 0 : random.below(4); flips > 0; flips--) {
      bytes[random.below(bytes.length)] ^= 1 << random.below(8);
    }
    const cut = random.below(bytes.length);
    await memory.send(bytes.subarray(0, cut), bytes.subarray(cut));
    await memory.end();
    await Promise.all(streams.map(({ closed }) => closed));
    assert(!((await memory.over) instanceof TypeError || (await memory.over) instanceof RangeError), `case ${i}`);
    assertEquals(memory.connection.activeStreams, 0);
  }
});

const PATH = "/arrow.flight.protocol.FlightService/DoAction";

/** An action's call: its headers, and the message with its name. */
function action(streamId: number, name: string): Uint8Array {
  const type = new TextEncoder().encode(name);
  const message = join(Uint8Array.of(0, 0, 0, 0, type.length + 2, 0x0a, type.length), type);
  return join(request(streamId, endHeaders, requestBlock(PATH)), frame(data, endStream, streamId, message));
}

function serveActions() {
  return serveFlight({
    handlers: {
      actions: {
        short: { description: "one result", run: () => [new Uint8Array(100)] },
        long: {
          description: "results without end",
          run: async function* () {
            for (;;) {
              yield new Uint8Array(100_000);
              await new Promise((resolve) => setImmediate(resolve));
            }
          },
        },
      },
    },
  });
}

Deno.test("1,000 calls on one connection that is then closed, 20 times, leave the server as it was", async () => {
  await using server = await serveActions();
  for (let round = 0; round < 20; round++) {
    const client = await RawClient.connect(server.port);
    for (let i = 0; i < 1000; i += 20) {
      await client.send(...Array.from({ length: 20 }, (_, k) => action(2 * (i + k) + 1, "short")));
      assertEquals(await client.answers(20), 20 * 107);
    }
    if (round % 2 === 0) await client.send(numbersFrame(goaway, 0, 0, 0));
    client.close();
  }
});

Deno.test("streams that are reset in the middle of a write, and connections that are lost there, end their calls", async () => {
  await using server = await serveActions();
  for (let round = 0; round < 5; round++) {
    const client = await RawClient.connect(server.port);
    for (let i = 0; i < 20; i++) {
      await client.send(action(2 * i + 1, "long"));
      for (let bytes = 0; bytes < 300_000;) {
        for (const { type, payload } of (await client.read())!) if (type === data) bytes += payload.byteLength;
      }
      await client.send(numbersFrame(rstStream, 2 * i + 1, Http2Code.cancel));
    }
    await client.send(action(101, "long"));
    await client.read();
    client.close();
  }
  await until(() => server.activeCalls === 0);
  const client = await RawClient.connect(server.port);
  await client.send(action(1, "short"));
  assertEquals(await client.answers(1), 107);
  client.close();
});
