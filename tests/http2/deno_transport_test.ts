/**
 * Connections on sockets of Deno: what they carry is the same with and without system calls on the socket, whatever part of it those
 * move at a time.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { replaceSocket } from "../../ffi/sockets.ts";
import { findConnection } from "../../ffi/tcp_sockets.ts";
import { socketCalls } from "../../src/grpc/socket_calls.ts";
import { ClientConnection } from "../../src/http2/client_connection.ts";
import { DenoTransport, MANY_BYTES, type SocketCalls } from "../../src/http2/deno_transport.ts";
import { FrameType, numbersFrame, settingsFrame } from "../../src/http2/frames.ts";
import { ServerConnection } from "../../src/http2/server_connection.ts";
import { SettingId } from "../../src/http2/settings.ts";
import type { Http2Stream } from "../../src/http2/stream.ts";
import type { TransportSink } from "../../src/http2/transport.ts";
import { join } from "../support/bytes.ts";
import { Random, seededRandom } from "../support/random.ts";

const MIB = 2 ** 20;

/** Bytes that look like none before them. */
function randomBytes(random: Random, byteLength: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(byteLength / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.uint32();
  return new Uint8Array(words.buffer, 0, byteLength);
}

/** The first bytes of pieces. */
function firstOf(pieces: readonly Uint8Array<ArrayBuffer>[], most: number): Uint8Array<ArrayBuffer>[] {
  let left = most;
  return pieces.map((piece) => {
    const part = piece.subarray(0, left);
    left -= part.byteLength;
    return part;
  });
}

/** Calls that move less than they could. */
function reluctant(calls: SocketCalls, random: Random): SocketCalls {
  return {
    receive: (into) => random.below(8) === 0 ? 0 : calls.receive(into.subarray(0, 1 + random.below(into.byteLength))),
    send: (pieces) => {
      const most = [0, 1, 9, 10, 100, 20_000, 2 ** 16, MIB][random.below(8)];
      return most === 0 ? 0 : calls.send(firstOf(pieces, 1 + random.below(most)));
    },
  };
}

/** Receives a body, in place where that is possible. */
class Collector {
  inPlaceBytes = 0;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #whole = Promise.withResolvers<Uint8Array>();
  #filled = 0;

  constructor(stream: Http2Stream, byteLength: number, random: Random) {
    this.#bytes = new Uint8Array(byteLength);
    const add = (count: number): void => {
      this.#filled += count;
      if (this.#filled === byteLength) this.#whole.resolve(this.#bytes);
    };
    // Values of any length follow one another in a body, and some bytes have no place of their own.
    stream.place = {
      room: () => {
        const room = this.#bytes.subarray(this.#filled, this.#filled + 1 + random.below(MIB));
        return random.below(8) === 0 || room.byteLength === 0 ? null : room;
      },
      filled: (count) => {
        this.inPlaceBytes += count;
        add(count);
      },
    };
    const take = (bytes: Uint8Array): true => {
      this.#bytes.set(bytes, this.#filled);
      add(bytes.byteLength);
      return true;
    };
    stream.onBytes = (bytes) => random.below(8) > 0 && take(bytes);
    const readAll = (): void => {
      for (let piece = stream.read(); piece !== null; piece = stream.read()) take(piece);
    };
    stream.onReadable = () => random.below(4) === 0 ? void setTimeout(readAll, 1) : readAll();
    stream.onClose = () => this.#whole.reject(stream.error ?? new Error("the stream has ended"));
  }

  get whole(): Promise<Uint8Array> {
    return this.#whole.promise;
  }
}

/** Writes a body in pieces of any size. */
async function writeBody(stream: Http2Stream, body: Uint8Array, random: Random): Promise<void> {
  for (let at = 0; at < body.byteLength;) {
    const piece = body.subarray(at, at + 1 + random.below([100, 20_000, MIB][random.below(3)]));
    await new Promise<void>((resolve) => stream.write(piece, resolve) && resolve());
    at += piece.byteLength;
  }
}

interface Ends {
  client: ClientConnection;
  server: ServerConnection;
  /** The stream that the server has got for each request. */
  streams: Http2Stream[];
  over: Promise<(Error | null)[]>;
}

type FindCalls = (socket: Deno.TcpConn) => SocketCalls | null;

/** Two ends of HTTP/2 on a connection of this machine. */
async function connected(findCalls: FindCalls, random: Random): Promise<Ends> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connecting = Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const accepted = await listener.accept();
  const socket = await connecting;
  const [clientOver, serverOver] = [Promise.withResolvers<Error | null>(), Promise.withResolvers<Error | null>()];
  const options = () => ({
    streamWindow: 2 ** 16 + random.below(2 * MIB),
    connectionWindow: 2 ** 17 + random.below(8 * MIB),
    maxHeaderBytes: 2 ** 15,
    lingerMs: 100,
  });
  const streams: Http2Stream[] = [];
  const server = new ServerConnection(new DenoTransport(accepted, () => findCalls(accepted)), {
    ...options(),
    maxStreams: 10,
    peerSubject: null,
    onStream: (stream) => {
      streams.push(stream);
      stream.respond([[":status", "200"]]);
    },
    onClose: serverOver.resolve,
  });
  const client = new ClientConnection(new DenoTransport(socket, () => findCalls(socket)), {
    ...options(),
    onClose: clientOver.resolve,
  });
  const over = Promise.all([clientOver.promise, serverOver.promise]);
  return { client, server, streams, over };
}

async function request({ client, streams }: Ends): Promise<[client: Http2Stream, server: Http2Stream]> {
  const stream = client.request([[":method", "POST"], [":scheme", "http"], [":path", "/"], [":authority", "here"]]);
  while (streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  return [stream, streams.shift()!];
}

const STREAMS = 3;
const KINDS: Record<string, { find: (random: Random) => FindCalls; isDirect: boolean }> = {
  "without system calls": { find: () => () => null, isDirect: false },
  "by system calls": { find: () => socketCalls, isDirect: true },
  "by system calls that move any part": {
    find: (random) => (socket) => reluctant(socketCalls(socket)!, random),
    isDirect: true,
  },
};

for (const [kind, { find, isDirect }] of Object.entries(KINDS)) {
  Deno.test(`bodies of several streams arrive as they were sent, both ways at once, ${kind}`, async () => {
    const random = seededRandom();
    const ends = await connected(find(random), random);
    const collectors: Collector[] = [];
    const transfers: Promise<void>[] = [];
    for (let i = 0; i < STREAMS; i++) {
      const [there, here] = await request(ends);
      for (const [from, to] of [[there, here], [here, there]]) {
        const body = randomBytes(random, MANY_BYTES + random.below(3 * MIB));
        const collector = new Collector(to, body.byteLength, random);
        collectors.push(collector);
        transfers.push((async () => {
          await writeBody(from, body, random);
          const got = await collector.whole;
          assertEquals(got.findIndex((byte, at) => byte !== body[at]), -1, "the first byte that differs");
        })());
      }
    }
    await Promise.all(transfers);
    const inPlaceBytes = collectors.reduce((sum, each) => sum + each.inPlaceBytes, 0);
    assertEquals(inPlaceBytes > 0, isDirect, `${inPlaceBytes} bytes were received in place`);
    ends.client.close();
    ends.server.destroy();
    assertEquals(await ends.over, [null, null]);
  });
}

for (const [kind, { find }] of Object.entries(KINDS).slice(0, 2)) {
  Deno.test(`a connection that is reset while much is sent ends with the system's error, ${kind}`, async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const connecting = Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    using peer = await listener.accept();
    const socket = await connecting;
    const findCalls = find(new Random(0));
    const { promise: over, resolve } = Promise.withResolvers<Error | null>();
    const options = { streamWindow: 2 ** 16, connectionWindow: 2 ** 16, maxHeaderBytes: 2 ** 15, lingerMs: 100 };
    const client = new ClientConnection(new DenoTransport(socket, () => findCalls(socket)), {
      ...options,
      onClose: resolve,
    });
    const wide = 2 ** 30;
    await peer.write(
      join(settingsFrame([[SettingId.initialWindowSize, wide]]), numbersFrame(FrameType.windowUpdate, 0, wide)),
    );
    const stream = client.request([[":method", "POST"], [":scheme", "http"], [":path", "/"], [":authority", "here"]]);
    const write = (): void => {
      while (!stream.isClosed && stream.write(new Uint8Array(MIB), write));
    };
    write();
    const into = new Uint8Array(2 ** 16);
    for (let bytes = 0; bytes < 4 * MANY_BYTES;) bytes += (await peer.read(into))!;
    // A socket that is closed with unread bytes resets its connection.
    assert(replaceSocket(findConnection(peer.localAddr.port, peer.remoteAddr)!, peer.localAddr.port));
    assertMatch((await over)?.message ?? "", /^(Connection reset by peer|Broken pipe) \(os error \d+\)$/);
  });
}

Deno.test("the system calls of a connection that carries little are never looked for, otherwise once", async () => {
  const random = seededRandom();
  let found = 0;
  const ends = await connected((socket) => {
    found++;
    return socketCalls(socket);
  }, random);
  const [there, here] = await request(ends);
  const send = async (byteLength: number): Promise<void> => {
    const collector = new Collector(here, byteLength, random);
    await writeBody(there, new Uint8Array(byteLength), random);
    await collector.whole;
  };
  await send(MANY_BYTES / 2);
  assertEquals(found, 0);
  await send(4 * MANY_BYTES);
  assertEquals(found, 2, "at both ends");
  ends.client.destroy();
  ends.server.destroy();
  await ends.over;
});

/** A socket whose reads fill everything, and whose writes take everything. */
function endlessSocket(): Deno.Conn & { isClosed: boolean } {
  const socket = {
    isClosed: false,
    read: (into: Uint8Array) => Promise.resolve(socket.isClosed ? null : into.byteLength),
    write: (bytes: Uint8Array) => Promise.resolve(bytes.byteLength),
    close: () => void (socket.isClosed = true),
  };
  return socket as unknown as Deno.Conn & { isClosed: boolean };
}

/** Calls that move everything, but on an open socket alone. */
function endlessCalls(socket: { isClosed: boolean }): SocketCalls {
  return {
    receive: (into) => {
      assert(!socket.isClosed, "received by a descriptor that is closed");
      return into.byteLength;
    },
    send: (pieces) => {
      assert(!socket.isClosed, "sent by a descriptor that is closed");
      return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
    },
  };
}

/** Counts the turns of the event loop until it is stopped. */
function countTurns(): { stop: () => number } {
  let turns = 0, isOver = false;
  const next = (): void => {
    if (isOver) return;
    turns++;
    setImmediate(next);
  };
  setImmediate(next);
  return {
    stop: () => {
      isOver = true;
      return turns;
    },
  };
}

Deno.test("the event loop has its turns while a peer never lets this side wait, and nothing is received after the end", async () => {
  const socket = endlessSocket();
  const transport = new DenoTransport(socket, () => endlessCalls(socket));
  const place = new Uint8Array(2 ** 16);
  const { promise, resolve } = Promise.withResolvers<void>();
  const turns = countTurns();
  let bytes = 0;
  const add = (count: number): void => {
    bytes += count;
    if (bytes >= 64 * MIB) transport.destroy();
  };
  const sink: TransportSink = {
    room: () => place,
    onBytes: ({ byteLength }) => add(byteLength),
    onFilled: add,
    onEnd: () => resolve(),
  };
  transport.start(sink);
  await promise;
  assert(turns.stop() >= 16, "a turn for every few MiB");
  assert(bytes < 65 * MIB);
});

Deno.test("what the system reports when it is to send at once is the error of the write that follows", async () => {
  const report = new Error("as the system reports it");
  const send = (): never => {
    throw report;
  };
  const transport = new DenoTransport(endlessSocket(), () => ({ receive: () => 0, send }));
  const piece = new Uint8Array(MANY_BYTES);
  const write = (): Promise<unknown> => new Promise((resolve) => transport.write(piece, resolve));
  assertEquals(await write(), undefined);
  assertEquals(transport.writeNow([piece]), 0);
  assertEquals(await write(), report);
  transport.destroy();
});

Deno.test("the event loop has its turns while the system takes everything, and nothing is sent after the end", async () => {
  const socket = endlessSocket();
  const transport = new DenoTransport(socket, () => endlessCalls(socket));
  const piece = new Uint8Array(2 ** 16);
  const write = (): Promise<void> =>
    new Promise((resolve, reject) => transport.write(piece, (error) => error ? reject(error) : resolve()));
  for (let i = 0; i * piece.byteLength < MANY_BYTES; i++) await write();
  assert(transport.writesNow);
  const turns = countTurns();
  let bytes = 0;
  while (bytes < 64 * MIB) {
    const taken = transport.writeNow([piece]);
    if (taken === 0) await write();
    bytes += taken;
  }
  assert(turns.stop() >= 16, "a turn for every few MiB");
  transport.destroy();
  assertEquals([transport.writesNow, transport.writeNow([piece])], [false, 0]);
});
