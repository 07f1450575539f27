/**
 * Destinations of formatted bytes: a file, standard output, or memory.
 *
 * @module
 */
import { concatBytes } from "../bytes.ts";
import type { Body } from "../memory/block.ts";

/** Something to write: bytes, or a body in native memory, which is written without a copy. */
export type Piece = Uint8Array<ArrayBuffer> | Body;

/** Accepts bytes in order. Borrowed pieces may be reused once `write` has returned or its promise is settled. */
export interface ByteSink {
  /**
   * Writes all bytes of all pieces.
   *
   * @throws {DipcError} `io`
   */
  write(pieces: readonly Piece[]): void | Promise<void>;
  /** Makes the output final once everything is written. @throws {DipcError} `io` */
  finish(): void | Promise<void>;
  /** Aborts the output and removes what was written, if possible. Never throws. Idempotent. */
  abort(): void | Promise<void>;
}

/** The bytes of a piece, in place. */
export function pieceBytes(piece: Piece): Uint8Array<ArrayBuffer> {
  return piece instanceof Uint8Array ? piece : piece.bytes();
}

/** Collects everything in memory. */
export class MemorySink implements ByteSink {
  #chunks: Uint8Array<ArrayBuffer>[] = [];

  /** Copies the pieces. */
  write(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.#chunks.push(pieceBytes(piece).slice());
  }

  /** Does nothing. */
  finish(): void {}

  /** Discards everything. */
  abort(): void {
    this.#chunks = [];
  }

  /** Everything written so far. */
  bytes(): Uint8Array<ArrayBuffer> {
    return concatBytes(this.#chunks);
  }
}
