/**
 * HTTP/2 by hand: connections on a pipe in memory, and a client that sends any bytes, right or wrong.
 *
 * @module
 */
import { Duplex } from "node:stream";
import { ClientConnection } from "../../src/http2/client_connection.ts";
import type { ClientStream } from "../../src/http2/client_stream.ts";
import type { ConnectionOptions } from "../../src/http2/connection.ts";
import { ServerConnection, type ServerConnectionOptions } from "../../src/http2/server_connection.ts";
import { Flag, frame, FrameType, PREFACE, settingsFrame } from "../../src/http2/frames.ts";
import { encodeHeaders, HpackDecoder } from "../../src/http2/hpack.ts";
import type { HeaderField } from "../../src/http2/static_table.ts";
import { NodeTransport } from "../../src/http2/transport.ts";
import { hex, join } from "./bytes.ts";

/** A frame as read back. */
export interface RawFrame {
  type: number;
  flags: number;
  streamId: number;
  payload: Uint8Array;
}

/** Cuts bytes into frames; what is behind the last whole one is returned too. */
export function cutFrames(bytes: Uint8Array): { frames: RawFrame[]; rest: Uint8Array } {
  const frames: RawFrame[] = [];
  let at = 0;
  while (bytes.byteLength - at >= 9) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const length = view.getUint32(0) >>> 8;
    if (bytes.byteLength - at - 9 < length) break;
    frames.push({
      type: view.getUint8(3),
      flags: view.getUint8(4),
      streamId: view.getUint32(5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return { frames, rest: bytes.subarray(at) };
}

/** What every client starts with. */
export const START: Uint8Array = join(PREFACE, settingsFrame([]));

/** Headers of a gRPC request. */
export function requestBlock(path = "/s/M", more: readonly (readonly [string, string])[] = []): Uint8Array {
  return encodeHeaders([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "here"],
    ["content-type", "application/grpc"],
    ...more,
  ]);
}

/** A HEADERS frame with a gRPC request. */
export function request(
  streamId: number,
  flags: number = Flag.endHeaders,
  block: Uint8Array = requestBlock(),
): Uint8Array {
  return frame(FrameType.headers, flags, streamId, block);
}

/** The far side of a connection in memory: accepts everything unless it is stalled. */
class Pipe extends Duplex {
  /** Bytes that the connection wrote. */
  readonly written: Uint8Array[] = [];
  isStalled = false;
  /** How long each write takes. */
  delayMs = 0;
  /** Whether the far side leaves its direction open when this side has ended. */
  isLingering = false;
  override _read(): void {}
  override _write(chunk: Uint8Array, _: unknown, done: (error?: Error | null) => void): void {
    if (this.isStalled) return;
    this.written.push(new Uint8Array(chunk)); // a copy, which a Buffer's slice is not
    if (this.delayMs === 0) done();
    else setTimeout(done, this.delayMs);
  }
  override _final(done: () => void): void {
    done();
    if (!this.isLingering) this.destroy();
  }
}

/** One side of a connection, in memory. */
abstract class InMemory {
  readonly pipe: Pipe = new Pipe({ highWaterMark: 2 ** 20 });
  /** Resolves with the error when the connection is over. */
  readonly over: Promise<Error | null>;
  protected readonly options: ConnectionOptions;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.over = promise;
    this.options = {
      streamWindow: 2 ** 17,
      connectionWindow: 2 ** 18,
      maxHeaderBytes: 32 * 1024,
      lingerMs: 500,
      onClose: resolve,
    };
  }

  /** Lets bytes arrive, and what they cause happen. */
  async send(...parts: Uint8Array[]): Promise<void> {
    for (const part of parts) this.pipe.push(part.slice());
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** The frames that were written. */
  get frames(): RawFrame[] {
    return cutFrames(join(...this.pipe.written)).frames;
  }

  /** Ends it. */
  async end(): Promise<void> {
    this.pipe.destroy();
    await this.over;
  }
}

/** A server's side of a connection, in memory. */
export class MemoryConnection extends InMemory {
  readonly connection: ServerConnection;

  /** @param options What differs from the usual */
  constructor(options: Partial<ServerConnectionOptions> = {}) {
    super();
    this.connection = new ServerConnection(new NodeTransport(this.pipe), {
      ...this.options,
      maxStreams: 10,
      peerSubject: null,
      onStream: () => {},
      ...options,
    });
  }
}

/** A client's side of a connection, in memory. */
export class MemoryClientConnection extends InMemory {
  readonly connection: ClientConnection;

  /** @param options What differs from the usual */
  constructor(options: Partial<ConnectionOptions> = {}) {
    super();
    this.connection = new ClientConnection(new NodeTransport(this.pipe), { ...this.options, ...options });
  }

  /** Makes a request. */
  request(path = "/s/M"): ClientStream {
    return this.connection.request([[":method", "POST"], [":scheme", "http"], [":path", path], [":authority", "here"]]);
  }

  /** The frames that were written, behind the preface. */
  override get frames(): RawFrame[] {
    return cutFrames(join(...this.pipe.written).subarray(PREFACE.byteLength)).frames;
  }

  /** Those of one type, on a stream or on all. */
  sent(type: number, streamId?: number): RawFrame[] {
    return this.frames.filter((each) => each.type === type && (streamId ?? each.streamId) === each.streamId);
  }

  /** How many bytes of DATA were written, on a stream or on all. */
  sentBytes(streamId?: number): number {
    return this.sent(FrameType.data, streamId).reduce((sum, { payload }) => sum + payload.byteLength, 0);
  }

  /** The streams of the RST_STREAM frames that were written, and their codes. */
  get resets(): [streamId: number, code: number][] {
    return this.sent(FrameType.rstStream).map(({ streamId, payload }) => [streamId, numberAt(payload, 0)]);
  }
}

/** A number of four bytes in a frame. */
export function numberAt(payload: Uint8Array, at: number): number {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(at);
}

/** A HEADERS frame with an answer's headers or trailers. */
export function answer(
  streamId: number,
  flags = 0,
  fields: readonly HeaderField[] = [[":status", "200"], ["content-type", "application/grpc"]],
): Uint8Array {
  return frame(FrameType.headers, Flag.endHeaders | flags, streamId, encodeHeaders(fields));
}

/** What a server has seen of a client's stream. */
interface SeenStream {
  bytes: number;
  isEnded: boolean;
  isReset: boolean;
}

/** Looks at what a client writes as a strict server would: throws at the first frame that breaks RFC 9113. */
export class ClientFrameChecker {
  readonly streams = new Map<number, SeenStream>();
  readonly #hpack = new HpackDecoder(64 * 1024);
  #lastId = 0;
  #isFirst = true;
  /** The stream of a header block that goes on. */
  #blockOf = 0;
  #block: Uint8Array[] = [];
  readonly #maxFrameBytes: number;

  /** @param maxFrameBytes Longest frame that the server accepts, in bytes */
  constructor(maxFrameBytes = 16_384) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** The next frame. */
  take({ type, flags, streamId, payload }: RawFrame): void {
    const { data, headers, rstStream, settings, ping, goaway, windowUpdate, continuation } = FrameType;
    const length = payload.byteLength;
    this.#expect(this.#isFirst === (type === settings && flags === 0), "SETTINGS at the start only");
    this.#isFirst = false;
    this.#expect((type === continuation) === (this.#blockOf !== 0), "CONTINUATION behind an open block only");
    this.#expect(length <= this.#maxFrameBytes, "no frame longer than announced");
    if (type === settings || type === ping || type === goaway) {
      this.#expect(streamId === 0, "no stream");
      if (type === settings) this.#expect(flags === 0 || length === 0, "an empty acknowledgement");
      if (type === ping) this.#expect(length === 8 && flags === Flag.ack, "an answer to PING");
      if (type === goaway) this.#expect(length >= 8 && numberAt(payload, 0) === 0, "GOAWAY of stream 0");
      return;
    }
    if (type === windowUpdate && streamId === 0) return this.#checkUpdate(payload);
    if (type === headers && streamId > this.#lastId) {
      this.#expect(streamId % 2 === 1, "an odd number");
      this.#lastId = streamId;
      this.streams.set(streamId, { bytes: 0, isEnded: false, isReset: false });
    }
    const stream = this.streams.get(streamId);
    this.#expect(stream !== undefined && !stream.isReset, "a stream that is open");
    if (type === windowUpdate) return this.#checkUpdate(payload);
    if (type === rstStream) {
      this.#expect(length === 4, "a code");
      stream!.isReset = true;
      return;
    }
    this.#expect(type === data || type === headers || type === continuation, "a type that a client sends");
    if (type === continuation) this.#expect(streamId === this.#blockOf, "the block's stream");
    else this.#expect(!stream!.isEnded, "nothing behind the end");
    if (type !== continuation && (flags & Flag.endStream) !== 0) stream!.isEnded = true;
    if (type === data) stream!.bytes += length;
    else this.#takeBlock(streamId, flags, payload);
  }

  #takeBlock(streamId: number, flags: number, payload: Uint8Array): void {
    this.#block.push(payload);
    this.#blockOf = streamId;
    if ((flags & Flag.endHeaders) === 0) return;
    this.#hpack.decode(join(...this.#block));
    this.#block = [];
    this.#blockOf = 0;
  }

  #checkUpdate(payload: Uint8Array): void {
    this.#expect(payload.byteLength === 4 && numberAt(payload, 0) > 0, "WINDOW_UPDATE by some bytes");
  }

  #expect(condition: boolean, what: string): void {
    if (!condition) throw new Error(`the client broke HTTP/2: expected ${what}`);
  }
}

/** Looks at everything that a client has written: its preface, and whole frames in order. */
export function checkClientBytes(written: Uint8Array, maxFrameBytes?: number): ClientFrameChecker {
  const text = new TextDecoder().decode(written.subarray(0, PREFACE.byteLength));
  if (text !== new TextDecoder().decode(PREFACE)) throw new Error(`the client starts with ${JSON.stringify(text)}`);
  const { frames, rest } = cutFrames(written.subarray(PREFACE.byteLength));
  if (rest.byteLength > 0) throw new Error(`${rest.byteLength} bytes behind the client's last frame`);
  const checker = new ClientFrameChecker(maxFrameBytes);
  for (const each of frames) checker.take(each);
  return checker;
}

/** A client on a socket. */
export class RawClient {
  readonly #socket: Deno.TcpConn;
  #rest: Uint8Array = new Uint8Array();
  readonly #buffer = new Uint8Array(2 ** 16);

  private constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
  }

  /**
   * Connects and says hello.
   *
   * @param port The server's
   * @param window Of each stream; that of the connection is as large as it can be
   */
  static async connect(port: number, window: number = 2 ** 31 - 1): Promise<RawClient> {
    const client = new RawClient(await Deno.connect({ port, hostname: "127.0.0.1" }));
    await client.send(PREFACE, settingsFrame([[4, window]]), frame(FrameType.windowUpdate, 0, 0, hex("7fff0000")));
    return client;
  }

  /** Sends bytes. */
  async send(...parts: Uint8Array[]): Promise<void> {
    const bytes = join(...parts);
    for (let at = 0; at < bytes.byteLength;) at += await this.#socket.write(bytes.subarray(at));
  }

  /** The next frames, `null` at the end. */
  async read(): Promise<RawFrame[] | null> {
    const n = await this.#socket.read(this.#buffer);
    if (n === null) return null;
    const { frames, rest } = cutFrames(join(this.#rest, this.#buffer.subarray(0, n)));
    this.#rest = rest;
    return frames;
  }

  /** Reads until a number of answers have ended; says how many bytes of DATA came. */
  async answers(count: number): Promise<number> {
    let bytes = 0;
    while (count > 0) {
      const frames = await this.read();
      if (frames === null) throw new Error(`the server closed the connection, ${count} answers are missing`);
      for (const { type, flags, payload } of frames) {
        if (type === FrameType.data) bytes += payload.byteLength;
        if (type === FrameType.goaway || type === FrameType.rstStream) throw new Error(`frame of type ${type}`);
        if (type === FrameType.headers && (flags & Flag.endStream) !== 0) count--;
      }
    }
    return bytes;
  }

  /** Closes the socket. */
  close(): void {
    this.#socket.close();
  }
}
