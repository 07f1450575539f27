/**
 * The interface of memory that another process lends, as this process reads it.
 *
 * @module
 */
import type { Body } from "./block.ts";

/** A body whose buffers do not lie as in a packed one. */
export interface ScatteredBody {
  /** Offset of each buffer in the region, in bytes. */
  readonly offsets: ArrayLike<number>;
  /** Offset and length of each buffer in the packed body, in bytes: 2 numbers per buffer. */
  readonly buffers: ArrayLike<number>;
  /** Bytes of the packed body. */
  readonly byteLength: number;
  /** What is given back once it was copied. */
  readonly addresses: readonly bigint[];
}

/** A region. Whoever uses it has checked that every place lies inside. */
export interface LentRegion {
  /**
   * A part of the memory as a body. When it is released, or when it and what was made of it is collected, its addresses are given
   * back.
   *
   * @param start Offset of its first byte
   * @param byteLength Its size in bytes
   * @param addresses What is given back then
   */
  body(start: number, byteLength: number, addresses: readonly bigint[]): Body;
  /**
   * A packed copy of a body whose buffers lie apart.
   *
   * @throws {DipcError} `out_of_memory`
   */
  gather(body: ScatteredBody): Body;
  /** To be called before the server learns what was given back: it may use that memory again then. */
  settle?(): void;
  /** Nothing more is made of it for now: once no part is in use, `onResting` is called. Not every region can wait. */
  rest?(): void;
  /** Nothing more is made of it: once no part is in use it is unmapped. Idempotent. */
  close(): void;
}

/** What a {@linkcode LentRegion} calls. */
export interface LentRegionOptions {
  /** A part is not used any more: these addresses can be given back. The bytes are those that somebody may be waiting for. */
  onFree(addresses: readonly bigint[], byteLength: number): void;
  /** It was closed and is unmapped now. */
  onUnused(): void;
  /** It rests: no part is in use, and the next stream may make some. */
  onResting(): void;
}
