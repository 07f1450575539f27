/**
 * Fuzz targets for whole connections of HTTP/2: whatever a peer sends, a connection writes nothing but whole frames, holds
 * no more than its windows, and is over exactly once.
 *
 * @module
 */
import { DipcError } from "../../../src/errors.ts";
import { ClientConnection } from "../../../src/http2/client_connection.ts";
import type { Http2Connection } from "../../../src/http2/connection.ts";
import { Http2Error, Http2Reset } from "../../../src/http2/errors.ts";
import { PREFACE } from "../../../src/http2/frames.ts";
import { ServerConnection } from "../../../src/http2/server_connection.ts";
import type { Http2Stream } from "../../../src/http2/stream.ts";
import type { Transport, TransportSink } from "../../../src/http2/transport.ts";
import { join } from "../../support/bytes.ts";
import { checkClientBytes, cutFrames } from "../../support/http2_raw.ts";
import { check, inPieces } from "../support/checks.ts";
import { framesOfClient, framesOfServer, mutateFrames } from "../support/http2_frames.ts";
import type { FuzzTarget } from "../target.ts";

const STREAM_WINDOW = 1 << 17, CONNECTION_WINDOW = 1 << 18, MAX_STREAMS = 4;
/** What one run may write: answers to control frames, and the answers of the streams. */
const MAX_WRITTEN = 1 << 20;

/** Bytes that are taken at once, of those that may be. */
const MAX_TAKEN_AT_ONCE = 20_000;

/** Carries bytes that the input holds; what is written is kept, and taken when the input says so. */
class ScriptedTransport implements Transport {
  readonly written: Uint8Array[] = [];
  isDestroyed = false;
  isEnded = false;
  /** Whether a part of what is written is taken at once. */
  writesNow = false;
  #sink: TransportSink | null = null;
  #unfinished: (() => void)[] = [];

  start(sink: TransportSink): void {
    this.#sink = sink;
  }
  pause(): void {}
  resume(): void {}
  write(bytes: Uint8Array, done: () => void): void {
    if (this.isEnded) throw new Error("bytes were written after the end");
    this.written.push(bytes.slice());
    this.#unfinished.push(done);
  }
  writeNow(pieces: readonly Uint8Array<ArrayBuffer>[]): number {
    check("nothing is written at once while a write is under way", this.#unfinished.length === 0);
    const bytes = join(...pieces).subarray(0, MAX_TAKEN_AT_ONCE);
    this.written.push(bytes);
    return bytes.byteLength;
  }
  end(): void {
    this.isEnded = true;
  }
  destroy(): void {
    this.isDestroyed = true;
    this.finish(null);
  }
  arrive(bytes: Uint8Array): void {
    if (!this.isDestroyed) this.#sink?.onBytes(bytes);
  }
  take(): void {
    for (const done of this.#unfinished.splice(0)) done();
  }
  finish(error: Error | null): void {
    const sink = this.#sink;
    this.#sink = null;
    sink?.onEnd(error);
  }
}

interface Side {
  connection: Http2Connection;
  streams: Http2Stream[];
}

/** A program: how bytes come, then the bytes. */
async function play(input: Uint8Array, make: (transport: ScriptedTransport, onClose: () => void) => Side) {
  const transport = new ScriptedTransport();
  let closes = 0;
  const { connection, streams } = make(transport, () => closes++);
  const mode = input[0] ?? 0;
  transport.writesNow = (mode & 16) !== 0;
  await null; // what is written is gathered for a microtask
  let piece = 0;
  inPieces(input.subarray(1), mode & 3 ? 1 << (4 * (mode & 3)) : 0, (bytes) => {
    transport.arrive(bytes);
    if ((piece++ & 1) === 0) transport.take();
  });
  await null;
  if ((mode & 8) !== 0) { for (const stream of streams) while (stream.read() !== null); }
  for (let i = 0; i < 3; i++) {
    transport.take();
    await null;
  }
  const { error } = connection;
  const wasOver = connection.isOver;
  if ((mode & 4) !== 0) connection.close();
  transport.take();
  connection.destroy();
  await null;
  transport.take();
  transport.finish(null);
  await null;
  check("a connection is over exactly once", closes === 1);
  check("no stream is left", connection.activeStreams === 0 && streams.every((stream) => stream.isClosed));
  const bytes = join(...transport.written);
  check("little is written", bytes.byteLength <= MAX_WRITTEN);
  return { error, wasOver, bytes };
}

/** @returns whether the connection was still in use when all had come */
function answer({ error, wasOver }: { error: Error | null; wasOver: boolean }): boolean {
  if (error === null) return !wasOver;
  if (!(error instanceof Http2Error || error instanceof Http2Reset)) throw error;
  throw new DipcError("protocol", error.message);
}

const options = {
  streamWindow: STREAM_WINDOW,
  connectionWindow: CONNECTION_WINDOW,
  maxHeaderBytes: 2000,
  lingerMs: 60_000,
};

const server: FuzzTarget = {
  name: "http2/server",
  files: [
    ...["server_connection", "server_stream", "connection", "input", "stream", "frames", "fields"].map((name) =>
      `src/http2/${name}.ts`
    ),
  ],
  maxInputBytes: 3000,
  seeds: () =>
    framesOfClient().flatMap((bytes, i) => [i, 8 | i, 16 | i].map((mode) => join(Uint8Array.of(mode), bytes))),
  mutate: (input, random) => mutateFrames(input, 1, random),
  async run(input) {
    const played = await play(input, (transport, onClose) => {
      const streams: Http2Stream[] = [];
      const connection = new ServerConnection(transport, {
        ...options,
        maxStreams: MAX_STREAMS,
        peerSubject: null,
        onStream(stream) {
          streams.push(stream);
          check("no more streams than announced", connection.activeStreams <= MAX_STREAMS);
          check("a request has a path", stream.request.path.length > 0);
          stream.respond([[":status", "200"]]);
          if (streams.length % 2 === 0) stream.end([["grpc-status", "0"]]);
          else if (streams.length % 3 === 0) stream.write(new Uint8Array(70_000), () => {});
        },
        onClose,
      });
      return { connection, streams };
    });
    check("a server writes whole frames", cutFrames(played.bytes).rest.byteLength === 0);
    return answer(played);
  },
};

const client: FuzzTarget = {
  name: "http2/client",
  files: [
    ...["client_connection", "client_stream", "connection", "input", "stream", "frames", "fields"].map((name) =>
      `src/http2/${name}.ts`
    ),
  ],
  maxInputBytes: 3000,
  seeds: () =>
    framesOfServer().flatMap((bytes, i) => [i, 8 | i, 16 | i].map((mode) => join(Uint8Array.of(mode), bytes))),
  mutate: (input, random) => mutateFrames(input, 1, random),
  async run(input) {
    const played = await play(input, (transport, onClose) => {
      const connection = new ClientConnection(transport, { ...options, freeText: new Set(["grpc-message"]), onClose });
      const streams: Http2Stream[] = [];
      for (const path of ["/s/A", "/s/B"]) {
        const stream = connection.request([[":method", "POST"], [":scheme", "http"], [":path", path], [
          ":authority",
          "h",
        ]]);
        stream.onHeaders = (status) => check("a status has three digits", status >= 200 && status <= 999);
        stream.write(new Uint8Array(100), () => {});
        stream.end();
        streams.push(stream);
      }
      return { connection, streams };
    });
    if (played.bytes.byteLength >= PREFACE.byteLength) checkClientBytes(played.bytes, 1 << 24);
    return answer(played);
  },
};

const targets: FuzzTarget[] = [server, client];
export default targets;
