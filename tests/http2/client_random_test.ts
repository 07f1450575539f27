/** The client's side of the HTTP/2 layer against servers at random, and against one of node:http2. */
import { assert, assertEquals } from "@std/assert";
import { createServer, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { ClientConnection } from "../../src/http2/client_connection.ts";
import type { ClientStream } from "../../src/http2/client_stream.ts";
import { Http2Error, Http2Reset } from "../../src/http2/errors.ts";
import { Flag, frame, FrameType, numbersFrame, PREFACE, settingsFrame } from "../../src/http2/frames.ts";
import { encodeHeaders } from "../../src/http2/hpack.ts";
import { DenoTransport } from "../../src/http2/deno_transport.ts";
import { join, joinAll } from "../support/bytes.ts";
import { connected, eights, HELLO, OK_STATUS, readAll, trailers } from "./support/client.ts";
import {
  answer,
  checkClientBytes,
  ClientFrameChecker,
  cutFrames,
  MemoryClientConnection,
  numberAt,
  type RawFrame,
} from "../support/http2_raw.ts";
import { type Random, seed, seededRandom } from "../support/random.ts";
import { endLater } from "../support/session_end.ts";

const { data, headers, rstStream, settings, ping, goaway, windowUpdate, continuation } = FrameType;
const { endHeaders, padded } = Flag;

/** A server that takes and gives at random, within what it has announced, and sees that the client keeps to it too. */
class ModelServer {
  readonly #memory: MemoryClientConnection;
  readonly #random: Random;
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

  constructor(memory: MemoryClientConnection, random: Random) {
    this.#memory = memory;
    this.#random = random;
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
    const random = this.#random;
    const ids = [...this.#open];
    const id = ids[random.below(ids.length)];
    switch (random.below(8)) {
      case 0:
        this.#settings.push([[3, 1 + random.below(6)], [4, random.below(3) * 40_000 + random.below(100)]]);
        return settingsFrame(this.#settings.at(-1)!);
      case 1: {
        const more = 1 + random.below(100_000);
        this.#window += more;
        return numbersFrame(windowUpdate, 0, more);
      }
      case 2: {
        if (id === undefined) break;
        const more = 1 + random.below(50_000);
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
    const body = joinAll(this.#received.get(id)!);
    const done = this.#echoed.get(id);
    if (done === undefined) {
      this.#echoed.set(id, 0);
      return answer(id);
    }
    const pad = this.#random.below(4) === 0 ? this.#random.below(30) : -1;
    const most = Math.min(this.#credit, this.#credits.get(id)!) - (pad + 1);
    const length = Math.min(body.byteLength - done, most, 1 + this.#random.below(60_000));
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
  const random = seededRandom();
  for (let round = 0; round < 150; round++) {
    const memory = await connected();
    const server = new ModelServer(memory, random);
    const calls: { stream: ClientStream; body: Uint8Array; read: Uint8Array[]; isReset: boolean }[] = [];
    const start = () => {
      const stream = memory.request();
      const body = Uint8Array.from(
        { length: random.below(random.chance(0.3) ? 200_000 : 300) },
        () => random.below(256),
      );
      const call = { stream, body, read: [] as Uint8Array[], isReset: false };
      calls.push(call);
      const step = 1 + random.below(80_000);
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
      if (random.chance(0.2)) start();
      if (calls.length > 0 && random.chance(0.5)) read(calls[random.below(calls.length)]);
      if (calls.length > 0 && random.chance(0.02)) {
        const call = calls[random.below(calls.length)];
        if (!call.stream.isClosed) call.isReset = true;
        call.stream.reset();
      }
      await memory.send();
      server.take();
      await memory.send(...Array.from({ length: 1 + random.below(4) }, () => server.act()));
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
      assertEquals(joinAll(read), body, `round ${round}: stream ${stream.id}`);
    }
    assertEquals([memory.connection.activeStreams, server.hasCalls], [0, false]);
    await memory.end();
    assertEquals(await memory.over, null);
  }
});

Deno.test("random frames, mutated ones and what a caller does leave no call without an end and no frame cut", async () => {
  const random = seededRandom();
  const junk = (length: number) => Uint8Array.from({ length }, () => random.below(256));
  const id = () => 1 + 2 * random.below(8);
  const pieces: (() => Uint8Array)[] = [
    () => settingsFrame([[3, random.below(8)], [4, random.below(2 ** 20)]]),
    () => numbersFrame(windowUpdate, 0, 1 + random.below(2 ** 20)),
    () => numbersFrame(rstStream, id(), random.below(14)),
    () => random.chance(0.8) ? trailers(id()) : answer(id()),
    () => frame(data, random.below(2), id(), junk(random.below(300))),
    () => frame(data, random.below(16), id(), junk(random.below(30))),
    () => frame(headers, random.below(256), id(), encodeHeaders([OK_STATUS])),
    () => frame(headers, endHeaders, id(), join(encodeHeaders([OK_STATUS]), junk(random.below(20)))),
    () => frame(random.below(12), random.below(256), random.below(10), junk(random.below(40))),
    () => settingsFrame([[random.below(8), random.below(2 ** 20)]]),
    () => numbersFrame(windowUpdate, random.below(8), random.below(2 ** 20)),
    () => numbersFrame(goaway, 0, random.below(12), random.below(3)),
    () => frame(continuation, random.below(8), id(), junk(random.below(30))),
    () => junk(random.below(30)),
  ];
  /** Connections that ended in order, by GOAWAY and for what is wrong, and calls that were answered. */
  const kinds = [0, 0, 0, 0];
  for (let i = 0; i < 4000; i++) {
    const where = `round ${i} of seed ${seed}`;
    const memory = new MemoryClientConnection();
    const calls: { stream: ClientStream; isWriting: boolean; closes: number; answer: number }[] = [];
    let owed = 0;
    let depth = 0;
    const isMild = random.chance(0.7);
    /** What an honest server would send next, a few frames of each answer in their order. */
    const next = (): Uint8Array => {
      const open = calls.filter(({ stream, answer }) => stream.id > 0 && !stream.isClosed && answer < 4);
      const call = open[random.below(open.length)];
      if (call === undefined || random.chance(0.2)) return pieces[random.below(2)]();
      const { id } = call.stream;
      if (++call.answer === 1) return answer(id);
      return call.answer < 4 ? frame(data, 0, id, junk(random.below(300))) : trailers(id);
    };
    const piece = () => isMild && random.chance(0.98) ? next() : pieces[random.below(pieces.length)]();
    const act = () => {
      // Callbacks act too, but not without end.
      if (depth > 4) return;
      depth++;
      const call = calls[random.below(calls.length)];
      const kind = random.below(20);
      if (kind < 4 || call === undefined) request();
      else if (kind < 10) write(call);
      else if (kind < 12) call.stream.end(random.chance(0.5) ? [] : [["t", "u"]]);
      else if (kind < 15) call.stream.read();
      else if (kind < 16) call.stream.discard();
      else if (kind < 17) call.stream.drop();
      else if (kind < 19) call.stream.reset(random.below(12));
      else if (random.chance(0.2)) memory.connection.close();
      else if (random.chance(0.1)) memory.connection.destroy(random.below(12));
      depth--;
    };
    const sometimes = () => void (random.chance(0.3) && act());
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
      if (call.stream.write(new Uint8Array(random.below(random.chance(0.3) ? 200_000 : 2000)), then)) taken();
    };
    if (random.chance(0.95)) await memory.send(HELLO);
    for (let steps = 1 + random.below(12); steps > 0; steps--) {
      for (let acts = random.below(4); acts > 0; acts--) act();
      const bytes = join(...Array.from({ length: random.below(6) }, piece));
      for (let flips = isMild || random.chance(0.8) ? 0 : random.below(4); flips > 0 && bytes.length > 0; flips--) {
        bytes[random.below(bytes.length)] ^= 1 << random.below(8);
      }
      const cut = random.below(bytes.length);
      await memory.send(bytes.subarray(0, cut), bytes.subarray(cut));
    }
    try {
      checkClientBytes(joinAll(memory.pipe.written), Infinity);
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
  const random = seededRandom();
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
    assertEquals(joinAll(pieces), body);
  };
  const sizes = Array.from(
    { length: 200 },
    (_, i) => i < 3 ? 65_534 + i : Math.floor(random.fraction() ** 3 * 300_000),
  );
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
