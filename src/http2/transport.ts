/**
 * What carries the bytes of an HTTP/2 connection: a socket of Deno, or one of Node's streams, which is how TLS comes.
 *
 * @module
 */
import type { Duplex } from "node:stream";

/** Takes what a {@linkcode Transport} brings. */
export interface TransportSink {
  /** Bytes came; they are the transport's again when this returns. */
  onBytes(bytes: Uint8Array): void;
  /** No more comes, and nothing can be sent; with an error where that is not in order. Called once. */
  onEnd(error: Error | null): void;
}

/** Carries bytes. */
export interface Transport {
  /** Begins to read. Called once. */
  start(sink: TransportSink): void;
  /** Stops reading for a while. */
  pause(): void;
  /** Goes on reading. */
  resume(): void;
  /**
   * Writes, behind what was written before.
   *
   * @param bytes Must stay as they are until `done`
   * @param done Called once; with an error where the bytes did not go
   */
  write(bytes: Uint8Array, done: (error?: Error | null) => void): void;
  /** Says that no more is written, once what was has gone. */
  end(): void;
  /** Ends both directions at once. Idempotent. */
  destroy(): void;
}

/** Over a stream of Node. */
export class NodeTransport implements Transport {
  readonly #stream: Duplex;

  /** @param stream Connected; nobody else uses it */
  constructor(stream: Duplex) {
    this.#stream = stream;
    // Always there: an error that nobody listens to ends the process.
    stream.on("error", () => {});
  }

  start(sink: TransportSink): void {
    const stream = this.#stream;
    let hasEnded = false;
    const end = (error: Error | null): void => {
      if (!hasEnded) sink.onEnd(error);
      hasEnded = true;
    };
    // Not as node's Buffer, whose `slice` does not copy.
    stream.on(
      "data",
      ({ buffer, byteOffset, byteLength }: Uint8Array) => sink.onBytes(new Uint8Array(buffer, byteOffset, byteLength)),
    );
    stream.on("end", () => end(null));
    stream.on("close", () => end(null));
    stream.on("error", end);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  write(bytes: Uint8Array, done: (error?: Error | null) => void): void {
    this.#stream.write(bytes, done);
  }

  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

/** Bytes of one read. */
const READ_BYTES = 64 * 1024;

/**
 * Over a socket of Deno, whose reads go into one buffer again and again: twice as fast as Node's, which leave a buffer for the
 * garbage collector each time.
 */
export class DenoTransport implements Transport {
  readonly #socket: Deno.Conn;
  #sink: TransportSink | null = null;
  #written: Promise<void> = Promise.resolve();
  #resume: (() => void) | null = null;
  #isPaused = false;
  #isDestroyed = false;

  /** @param socket Connected; nobody else uses it */
  constructor(socket: Deno.Conn) {
    this.#socket = socket;
  }

  start(sink: TransportSink): void {
    this.#sink = sink;
    this.#read(sink).then(() => this.#end(null), (error) => this.#end(error));
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
      this.#end(error);
    });
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

  async #read(sink: TransportSink): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      while (this.#isPaused) await new Promise<void>((resolve) => this.#resume = resolve);
      const bytes = await this.#socket.read(buffer);
      if (bytes === null || this.#isDestroyed) return;
      sink.onBytes(buffer.subarray(0, bytes));
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength;) at += await this.#socket.write(bytes.subarray(at));
  }

  #end(error: Error | null): void {
    const sink = this.#sink;
    this.#sink = null;
    // What fails because of `destroy` is no failure.
    sink?.onEnd(this.#isDestroyed ? null : error);
  }
}
