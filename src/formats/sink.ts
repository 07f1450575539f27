/**
 * Where formatted bytes go: a file, standard output, a `WritableStream`, or memory.
 *
 * @module
 */
import { concatBytes } from "../bytes.ts";
import { LocalError } from "../errors.ts";
import type { Body } from "../memory/block.ts";

/** Something to write: bytes, or a body in native memory, which is written from where it lies. */
export type Piece = Uint8Array<ArrayBuffer> | Body;

/** Takes bytes in order. Borrowed pieces may be reused once `write` has returned or its promise is settled. */
export interface ByteSink {
  /**
   * Writes all bytes of all pieces.
   *
   * @throws {DipcError} `io`
   */
  write(pieces: readonly Piece[]): void | Promise<void>;
  /** Everything was written: makes it final. @throws {DipcError} `io` */
  finish(): void | Promise<void>;
  /** Gives up; leaves nothing behind where that is possible. Never throws. Idempotent. */
  abort(): void | Promise<void>;
}

/** The bytes of a piece, in place. */
export function pieceBytes(piece: Piece): Uint8Array<ArrayBuffer> {
  return piece instanceof Uint8Array ? piece : piece.bytes();
}

/** A sink over something with the `write` of `Deno.stdout`. Does not close it. */
export class WriterSink implements ByteSink {
  readonly #writer: { write(bytes: Uint8Array): Promise<number> };
  readonly #name: string;

  /**
   * @param writer Such as `Deno.stdout`
   * @param name What to call it in messages
   */
  constructor(writer: { write(bytes: Uint8Array): Promise<number> }, name: string) {
    this.#writer = writer;
    this.#name = name;
  }

  /** Writes all pieces, waiting for a slow reader. */
  async write(pieces: readonly Piece[]): Promise<void> {
    for (const piece of pieces) {
      const bytes = pieceBytes(piece);
      try {
        for (let done = 0; done < bytes.byteLength;) done += await this.#writer.write(bytes.subarray(done));
      } catch (cause) {
        const text = cause instanceof Deno.errors.BrokenPipe
          ? "nobody reads it any more (broken pipe)"
          : cause instanceof Error
          ? cause.message
          : String(cause);
        throw new LocalError("io", `cannot write to ${this.#name}: ${text}`, { cause });
      }
    }
  }

  /** Nothing to do: every write has been passed on. */
  finish(): void {}

  /** Nothing to do: what was written cannot be taken back. */
  abort(): void {}
}

/** Collects everything in memory. */
export class MemorySink implements ByteSink {
  #chunks: Uint8Array<ArrayBuffer>[] = [];

  /** Copies the pieces. */
  write(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.#chunks.push(pieceBytes(piece).slice());
  }

  /** Nothing to do. */
  finish(): void {}

  /** Forgets everything. */
  abort(): void {
    this.#chunks = [];
  }

  /** Everything written so far. */
  bytes(): Uint8Array<ArrayBuffer> {
    return concatBytes(this.#chunks);
  }
}
