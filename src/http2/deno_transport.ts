/**
 * A transport on a socket of Deno.
 *
 * The runtime opens the socket, waits for it, reports its end and closes it. Bodies need not go through it: if the program may call
 * native code, system calls on the same socket receive them into their own memory and send them from it, for as long as that does not
 * have to wait.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Transport, TransportSink } from "./transport.ts";

/** System calls on a socket, which never wait. */
export interface SocketCalls {
  /**
   * Receives what has come.
   *
   * @param into Memory for it, not empty
   * @returns Number of bytes; 0 if there are none now, or none come any more
   * @throws {Error} What the system reports
   */
  receive(into: Uint8Array<ArrayBuffer>): number;
  /**
   * Sends as much as the system takes.
   *
   * @param pieces The bytes, in order
   * @returns Number of bytes taken, from the first on; 0 if there is no room for now
   * @throws {Error} What the system reports
   */
  send(pieces: readonly Uint8Array<ArrayBuffer>[]): number;
}

/** Bytes that a connection has carried when the calls on its socket are looked for. Most connections never carry as many. */
export const MANY_BYTES: number = 512 * 1024;
/** Size of one read into the buffer, in bytes. */
const READ_BYTES = 64 * 1024;
/** The same while most of what comes belongs elsewhere: room for what lies between two bodies. */
const SHORT_READ_BYTES = 1024;
/** Bytes that system calls may move before the event loop gets its turn: a fast peer would never let them come to an end. */
const TURN_BYTES = 2 * 2 ** 20;
/** How long what a peer has sent last may take to be read once nothing can be written, in milliseconds. */
const LAST_READ_MS = 100;

/**
 * A transport on a socket of Deno, whose reads reuse one buffer: twice as fast as Node's, which allocate a buffer for each
 * read.
 */
export class DenoTransport implements Transport {
  readonly #socket: Deno.Conn;
  readonly #findCalls: () => SocketCalls | null;
  /** `undefined` until they are looked for. */
  #calls: SocketCalls | null | undefined;
  #sink: TransportSink | null = null;
  #written: Promise<void> = Promise.resolve();
  #reading: Promise<unknown> = Promise.resolve();
  /** Bytes that the runtime has moved. */
  #carriedBytes = 0;
  /** Bytes that system calls have moved since the event loop had its turn. */
  #turnBytes = 0;
  /** Whether most bytes are received in the memory that they belong in. */
  #isBulk = false;
  /** What a system call has reported, which the system does only once. */
  #sendError: unknown = null;
  #isWriteBroken = false;
  #resume: (() => void) | null = null;
  #isPaused = false;
  #isDestroyed = false;

  /**
   * @param socket Connected, and not used by anything else
   * @param findCalls Finds the system calls on it; called once, and only if it carries much
   */
  constructor(socket: Deno.Conn, findCalls: () => SocketCalls | null = () => null) {
    this.#socket = socket;
    this.#findCalls = findCalls;
  }

  start(sink: TransportSink): void {
    this.#sink = sink;
    this.#reading = this.#read(sink).then(
      () => this.#isWriteBroken || this.#end(null),
      (error) => this.#isWriteBroken || this.#end(error),
    );
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#resume?.();
    this.#resume = null;
  }

  write(bytes: Uint8Array, done: (error?: Error | null) => void): void {
    this.#written = this.#written.then(() => this.#write(bytes));
    this.#written.then(() => done(), (error) => {
      done(error);
      this.#endAfterReading(error);
    });
  }

  get writesNow(): boolean {
    return this.#direct !== null;
  }

  writeNow(pieces: readonly Uint8Array<ArrayBuffer>[]): number {
    if (this.#turnBytes >= TURN_BYTES || this.#sendError !== null) return 0;
    try {
      const sent = this.#direct?.send(pieces) ?? 0;
      this.#turnBytes += sent;
      return sent;
    } catch (error) {
      // The write that follows fails with it.
      this.#sendError = error;
      return 0;
    }
  }

  end(): void {
    // The peer may have closed already.
    this.#written.then(() => this.#socket.closeWrite()).catch(() => {});
  }

  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#socket.close();
    this.resume();
    queueMicrotask(() => this.#end(null));
  }

  /** The system calls; `null` if there are none, they are not worth it yet, or the socket is closed. */
  get #direct(): SocketCalls | null {
    if (this.#isDestroyed || this.#carriedBytes < MANY_BYTES) return null;
    return this.#calls === undefined ? this.#calls = this.#findCalls() : this.#calls;
  }

  async #read(sink: TransportSink): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    const short = buffer.subarray(0, SHORT_READ_BYTES);
    for (;;) {
      while (this.#isPaused) await new Promise<void>((resolve) => this.#resume = resolve);
      if (this.#turnBytes >= TURN_BYTES) await this.#turn();
      // Among large bodies it only waits for bytes: the others are received below.
      const into = this.#isBulk ? short : buffer;
      const bytes = await this.#socket.read(into);
      if (bytes === null || this.#isDestroyed) return;
      this.#carriedBytes += bytes;
      sink.onBytes(into.subarray(0, bytes));
      if (bytes === into.byteLength) await this.#receive(sink, buffer, short);
    }
  }

  /** Receives what has come, as long as that may be more. */
  async #receive(sink: TransportSink, buffer: Uint8Array<ArrayBuffer>, short: Uint8Array<ArrayBuffer>): Promise<void> {
    while (!this.#isPaused && this.#turnBytes < TURN_BYTES) {
      const calls = this.#direct;
      if (calls === null) return;
      const room = sink.room();
      const into = room ?? (this.#isBulk ? short : buffer);
      const bytes = calls.receive(into);
      // The runtime tells whether that was the end.
      if (bytes === 0) return;
      this.#turnBytes += bytes;
      const isFull = bytes === into.byteLength;
      this.#isBulk = room !== null || (this.#isBulk && !isFull);
      if (room === null) sink.onBytes(into.subarray(0, bytes));
      else sink.onFilled(bytes);
      if (!isFull) return;
      // Whoever waits for what is complete now goes first.
      await null;
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#sendError !== null) throw this.#sendError;
    for (let at = 0; at < bytes.byteLength;) at += await this.#socket.write(bytes.subarray(at));
    this.#carriedBytes += bytes.byteLength;
    if (this.#turnBytes >= TURN_BYTES) await this.#turn();
  }

  async #turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#turnBytes = 0;
  }

  /** A peer that has gone may have said why: GOAWAY names the calls that it has not taken. */
  #endAfterReading(error: Error): void {
    if (this.#isWriteBroken) return;
    this.#isWriteBroken = true;
    this.resume();
    const timer = setTimeout(() => this.#end(error), LAST_READ_MS);
    this.#reading.then(() => {
      clearTimeout(timer);
      this.#end(error);
    });
  }

  #end(error: Error | null): void {
    const sink = this.#sink;
    this.#sink = null;
    // What fails because of `destroy` is not a failure.
    sink?.onEnd(this.#isDestroyed ? null : error);
  }
}
