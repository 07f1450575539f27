/**
 * What carries the bytes of an HTTP/2 connection, and one that does by Node's streams, as for TLS.
 *
 * @module
 */
import type { Duplex } from "node:stream";

/** Receives what a {@linkcode Transport} reads. */
export interface TransportSink {
  /** Bytes came; they are valid until this returns. */
  onBytes(bytes: Uint8Array): void;
  /** The memory that the next bytes belong in, if that is known; they may come by `onBytes` all the same. */
  room(): Uint8Array<ArrayBuffer> | null;
  /** Bytes came into the memory that `room` has just returned. */
  onFilled(count: number): void;
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
  /** Whether `writeNow` may take anything. */
  readonly writesNow: boolean;
  /**
   * Writes what can be written at once. Only while no other write is under way.
   *
   * @param pieces The bytes, in order; they may change afterwards
   * @returns Number of bytes written, from the first on; 0 if there is no room now, or the next write fails
   */
  writeNow(pieces: readonly Uint8Array<ArrayBuffer>[]): number;
  /** Shuts this direction down once earlier writes have finished. */
  end(): void;
  /** Ends both directions at once. Idempotent. */
  destroy(): void;
}

/** A transport on a stream of Node. */
export class NodeTransport implements Transport {
  readonly writesNow = false;
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

  writeNow(): number {
    return 0;
  }

  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}
