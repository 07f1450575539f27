/**
 * A server of gRPC on TCP whose every frame is written by the test: it can end connections and reject calls at will.
 *
 * @module
 */
import { Flag, frame, FrameType, numbersFrame, PREFACE, settingsFrame } from "../../src/http2/frames.ts";
import type { HeaderField } from "../../src/http2/static_table.ts";
import { grpcMessage, join } from "./bytes.ts";
import { answer, cutFrames, type RawFrame } from "./http2_raw.ts";

/** One connection of a client. */
export class RawConnection {
  /** Its number, from 1. */
  readonly number: number;
  /** Bytes of DATA received, by stream. */
  readonly received: Map<number, Uint8Array> = new Map();
  readonly #socket: Deno.Conn;

  constructor(number: number, socket: Deno.Conn) {
    this.number = number;
    this.#socket = socket;
  }

  /** Writes frames. */
  async send(...frames: Uint8Array[]): Promise<void> {
    const bytes = join(...frames);
    for (let at = 0; at < bytes.byteLength;) at += await this.#socket.write(bytes.subarray(at));
  }

  /** Answers a call with messages and the status OK. */
  async succeed(streamId: number, ...messages: Uint8Array[]): Promise<void> {
    await this.send(
      answer(streamId),
      ...messages.map((message) => frame(FrameType.data, 0, streamId, grpcMessage(message))),
      answer(streamId, Flag.endStream, [["grpc-status", "0"]]),
    );
  }

  /** Answers a call with headers alone. */
  async answerOnly(streamId: number, fields: readonly HeaderField[]): Promise<void> {
    await this.send(answer(streamId, Flag.endStream, fields));
  }

  /** Rejects a call. */
  async refuse(streamId: number): Promise<void> {
    await this.send(numbersFrame(FrameType.rstStream, streamId, 7));
  }

  /** Announces the last call that this connection takes. */
  async goaway(lastId: number, code = 0): Promise<void> {
    await this.send(numbersFrame(FrameType.goaway, 0, lastId, code));
  }

  /** Lets the client send so many bytes more. */
  async credit(streamId: number, bytes: number): Promise<void> {
    if (bytes === 0) return;
    const { windowUpdate } = FrameType;
    await this.send(numbersFrame(windowUpdate, 0, bytes), numbersFrame(windowUpdate, streamId, bytes));
  }

  /** Closes it. */
  close(): void {
    try {
      this.#socket.close();
    } catch {
      // The client has closed it.
    }
  }
}

/** What a test does with what comes. */
export interface RawHandlers {
  /** Settings of the server. */
  settings?: readonly (readonly [id: number, value: number])[];
  /** A connection was made; before it nothing is sent. */
  onConnection?(connection: RawConnection): unknown;
  /** The headers of a call came. */
  onHeaders?(connection: RawConnection, streamId: number, frame: RawFrame): unknown;
  /** Bytes of DATA came. */
  onData?(connection: RawConnection, streamId: number, bytes: number): unknown;
  /** All that a client sends in a call came. */
  onRequest?(connection: RawConnection, streamId: number, body: Uint8Array): unknown;
}

/** A running server. */
export interface RawServer extends AsyncDisposable {
  readonly port: number;
  readonly location: string;
  /** Connections made so far. */
  readonly connections: readonly RawConnection[];
}

/** Starts a server. */
export function rawServer(handlers: RawHandlers): RawServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const connections: RawConnection[] = [];
  const running = (async () => {
    for await (const socket of listener) {
      const connection = new RawConnection(connections.length + 1, socket);
      connections.push(connection);
      serve(connection, socket, handlers).catch(() => {});
    }
  })();
  return {
    port,
    location: `grpc://127.0.0.1:${port}`,
    connections,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of connections) connection.close();
      await running.catch(() => {});
    },
  };
}

async function serve(connection: RawConnection, socket: Deno.Conn, handlers: RawHandlers): Promise<void> {
  await handlers.onConnection?.(connection);
  await connection.send(settingsFrame(handlers.settings ?? []));
  const buffer = new Uint8Array(65_536);
  let pending: Uint8Array = new Uint8Array();
  let prefaceLeft = PREFACE.byteLength;
  for (let n; (n = await socket.read(buffer)) !== null;) {
    const skipped = Math.min(prefaceLeft, n);
    prefaceLeft -= skipped;
    const { frames, rest } = cutFrames(join(pending, buffer.slice(skipped, n)));
    pending = rest;
    for (const each of frames) await take(connection, each, handlers);
  }
}

async function take(connection: RawConnection, raw: RawFrame, handlers: RawHandlers): Promise<void> {
  const { type, flags, streamId, payload } = raw;
  if (type === FrameType.settings && (flags & Flag.ack) === 0) await connection.send(frame(type, Flag.ack, 0));
  if (type === FrameType.headers) await handlers.onHeaders?.(connection, streamId, raw);
  if (type !== FrameType.data && type !== FrameType.headers) return;
  const body = join(
    connection.received.get(streamId) ?? new Uint8Array(),
    type === FrameType.data ? payload : new Uint8Array(),
  );
  connection.received.set(streamId, body);
  if (type === FrameType.data) await handlers.onData?.(connection, streamId, payload.byteLength);
  if ((flags & Flag.endStream) !== 0) await handlers.onRequest?.(connection, streamId, body);
}
