/**
 * What carries the bytes of an HTTP/2 connection: a socket of Deno, or one of Node's streams, as for TLS.
 *
 * @module
 */
import type { Duplex } from "node:stream";

/** Receives what a {@linkcode Transport} reads. */
export interface TransportSink {
  /** Bytes came; they are valid until this returns. */
  onBytes(bytes: Uint8Array): void;
  /** No more comes, and nothing can be sent; with an error unless it ended cleanly. Called once. */
  onEnd(error: Error | null): void;
}

/** Carries bytes. */
export interface Transport {
  /** Begins to read. Called once. */
  start(sink: TransportSink): void;
  /** Pauses reading. */
  pause(): void;
  /** Resumes reading. */
  resume(): void;
  /**
   * Writes bytes, after those of earlier writes.
   *
   * @param bytes Must not change until `done` is called
   * @param done Called once; with an error if the bytes could not be written
   */
  write(bytes: Uint8Array, done: (error?: Error | null) => void): void;
  /** Shuts this direction down once earlier writes have finished. */
  end(): void;
  /** Ends both directions at once. Idempotent. */
  destroy(): void;
}

/** A transport on a stream of Node. */
export class NodeTransport implements Transport {
  readonly #stream: Duplex;

  /** @param stream Connected, and not used by anything else */
  constructor(stream: Duplex) {
    this.#stream = stream;
    // Always there: an error event without a listener ends the process.
    stream.on("error", () => {});
  }

  start(sink: TransportSink): void {
    const stream = this.#stream;
    let hasEnded = false;
    const end = (error: Error | null): void => {
      if (!hasEnded) sink.onEnd(error);
      hasEnded = true;
    };
    // Not as Node's Buffer, whose `slice` does not copy.
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

/** Size of one read, in bytes. */
const READ_BYTES = 64 * 1024;
/** How long what a peer has sent last may take to be read once nothing can be written, in milliseconds. */
const LAST_READ_MS = 100;

/**
 * A transport on a socket of Deno, whose reads reuse one buffer: twice as fast as Node's, which allocate a buffer for each
 * read.
 */
export class DenoTransport implements Transport {
  readonly #socket: Deno.Conn;
  #sink: TransportSink | null = null;
  #written: Promise<void> = Promise.resolve();
  #reading: Promise<unknown> = Promise.resolve();
  #isWriteBroken = false;
  #resume: (() => void) | null = null;
  #isPaused = false;
  #isDestroyed = false;

  /** @param socket Connected, and not used by anything else */
  constructor(socket: Deno.Conn) {
    this.#socket = socket;
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
