/** Bodies that are received in their own memory and sent from it, under the same rules as all others. */
import { assert, assertEquals } from "@std/assert";
import { ClientConnection } from "../../src/http2/client_connection.ts";
import type { ClientStream } from "../../src/http2/client_stream.ts";
import { Flag, frame, FrameType, numbersFrame, PREFACE, settingsFrame } from "../../src/http2/frames.ts";
import { SettingId } from "../../src/http2/settings.ts";
import type { Transport, TransportSink } from "../../src/http2/transport.ts";
import { join } from "../support/bytes.ts";
import { answer, cutFrames, numberAt, type RawFrame } from "../support/http2_raw.ts";

const KIB = 1024;
const STREAM_WINDOW = 256 * KIB;

/** Takes what is written at once up to a limit, and the rest when `takeRest` is called. */
class ByHand implements Transport {
  readonly writesNow = true;
  /** Bytes that are taken at once from now on. */
  roomBytes = Infinity;
  sink: TransportSink | null = null;
  readonly #written: Uint8Array[] = [];
  readonly #waiting: (() => void)[] = [];

  start(sink: TransportSink): void {
    this.sink = sink;
  }
  write(bytes: Uint8Array, done: () => void): void {
    this.#waiting.push(() => {
      this.#written.push(bytes.slice());
      done();
    });
  }
  writeNow(pieces: readonly Uint8Array<ArrayBuffer>[]): number {
    const bytes = join(...pieces).subarray(0, this.roomBytes);
    this.#written.push(bytes);
    this.roomBytes -= bytes.byteLength;
    return bytes.byteLength;
  }
  /** Takes what waits. @returns whether there was anything */
  takeRest(): boolean {
    const waiting = this.#waiting.splice(0);
    for (const take of waiting) take();
    return waiting.length > 0;
  }
  get frames(): RawFrame[] {
    const { frames, rest } = cutFrames(join(...this.#written).subarray(PREFACE.byteLength));
    assertEquals(rest.byteLength, 0, "whole frames");
    return frames;
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

/** A connection with one request. */
function connected(): { transport: ByHand; stream: ClientStream; sink: TransportSink } {
  const transport = new ByHand();
  const options = { streamWindow: STREAM_WINDOW, connectionWindow: 2 ** 20, maxHeaderBytes: 2 ** 15, lingerMs: 100 };
  const connection = new ClientConnection(transport, { ...options, onClose: () => {} });
  transport.sink!.onBytes(settingsFrame([]));
  const stream = connection.request([[":method", "POST"], [":scheme", "http"], [":path", "/"], [":authority", "here"]]);
  return { transport, stream, sink: transport.sink! };
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
const dataHeader = (length: number, flags = 0): Uint8Array =>
  frame(FrameType.data, flags, 1, new Uint8Array(length)).subarray(0, 9);
const bytesOf = (frames: RawFrame[]): Uint8Array =>
  join(...frames.filter(({ type }) => type === FrameType.data).map(({ payload }) => payload));

Deno.test("a body in its own memory is no longer than its frame, gives credit as any other, and ends with it", async () => {
  const { transport, stream, sink } = connected();
  const body = new Uint8Array(200 * KIB);
  let filled = 0;
  stream.place = { room: () => body.subarray(filled), filled: (count) => void (filled += count) };
  sink.onBytes(answer(1));
  assertEquals(sink.room(), null, "between two frames");
  sink.onBytes(dataHeader(100 * KIB));
  assertEquals(sink.room()?.byteLength, 100 * KIB);
  sink.onFilled(60 * KIB);
  assertEquals(sink.room()?.byteOffset, 60 * KIB);
  assertEquals(sink.room()?.byteLength, 40 * KIB);
  sink.onFilled(40 * KIB);
  assertEquals([filled, sink.room()], [100 * KIB, null]);
  await turn();
  const credits = transport.frames.filter(({ type, streamId }) => type === FrameType.windowUpdate && streamId === 1);
  assertEquals(credits.map(({ payload }) => numberAt(payload, 0)), [100 * KIB]);
  sink.onBytes(dataHeader(32 * KIB, Flag.endStream));
  sink.onFilled(sink.room()!.byteLength);
  assert(stream.isRemoteEnded);
});

Deno.test("bytes are not received in place if they are few, padded, of an announced size, or behind others that wait", () => {
  const place = { room: () => new Uint8Array(2 ** 20), filled: () => {} };
  const roomAfter = (...parts: Uint8Array[]): Uint8Array | null => {
    const { stream, sink } = connected();
    stream.place = place;
    sink.onBytes(join(...parts));
    return sink.room();
  };
  assert(roomAfter(answer(1), dataHeader(32 * KIB)) !== null);
  assertEquals(roomAfter(answer(1), dataHeader(32 * KIB - 1)), null);
  assertEquals(roomAfter(answer(1), dataHeader(32 * KIB), new Uint8Array(30 * KIB)), null);
  assertEquals(roomAfter(answer(1), dataHeader(64 * KIB, Flag.padded), new Uint8Array(1)), null);
  assertEquals(roomAfter(answer(1, 0, [[":status", "200"], ["content-length", "65536"]]), dataHeader(64 * KIB)), null);
  // Nothing has read this byte.
  assertEquals(roomAfter(answer(1), frame(FrameType.data, 0, 1, new Uint8Array(1)), dataHeader(64 * KIB)), null);
  // A stream that is not there any more.
  assertEquals(roomAfter(answer(1, Flag.endStream), dataHeader(64 * KIB)), null);
});

Deno.test("data sent from its memory keeps to both windows and to the peer's longest frame", async () => {
  const { transport, stream, sink } = connected();
  const body = new Uint8Array(400 * KIB).map((_, i) => i * 7 + (i >> 8));
  let isTaken = stream.write(body, () => isTaken = true);
  const sent = async (): Promise<number> => {
    await turn();
    const { frames } = transport;
    const bytes = bytesOf(frames);
    assertEquals(bytes, body.subarray(0, bytes.byteLength));
    assert(frames.every(({ payload }) => payload.byteLength <= 16 * KIB));
    return bytes.byteLength;
  };
  assertEquals(await sent(), 65_535, "the first windows");
  sink.onBytes(numbersFrame(FrameType.windowUpdate, 1, 2 ** 20));
  assertEquals(await sent(), 65_535, "the connection's window is still full");
  sink.onBytes(numbersFrame(FrameType.windowUpdate, 0, 100_000));
  assertEquals(await sent(), 165_535);
  sink.onBytes(numbersFrame(FrameType.windowUpdate, 0, 2 ** 20));
  assertEquals([await sent(), isTaken], [body.byteLength, true]);
});

Deno.test("whatever part the system takes at once, the rest follows, and only then more", async () => {
  const body = new Uint8Array(300 * KIB).map((_, i) => i * 7 + (i >> 8));
  for (const roomBytes of [0, 1, 8, 9, 10, 40 * KIB + 8, 40 * KIB + 9, 40 * KIB + 10, 80 * KIB + 20, 250 * KIB]) {
    const { transport, stream, sink } = connected();
    sink.onBytes(join(
      settingsFrame([[SettingId.maxFrameSize, 40 * KIB], [SettingId.initialWindowSize, 2 ** 20]]),
      numbersFrame(FrameType.windowUpdate, 0, 2 ** 20),
    ));
    await turn();
    transport.roomBytes = roomBytes;
    let isTaken = stream.write(body, () => isTaken = true);
    await turn();
    assert(!isTaken, `${roomBytes} bytes at once`);
    // Control frames wait with it.
    sink.onBytes(frame(FrameType.ping, 0, 0, new Uint8Array(8)));
    await turn();
    while (transport.takeRest()) await turn();
    assert(isTaken);
    assertEquals(bytesOf(transport.frames), body);
    assertEquals(transport.frames.filter(({ type }) => type === FrameType.ping).length, 1);
  }
});
