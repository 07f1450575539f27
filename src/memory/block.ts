/**
 * The interface of a piece of memory, whichever space it lies in.
 *
 * @module
 */

/**
 * Memory that can be given to a transport: an address, a length, and a way to release it.
 *
 * Ownership: the holder of a body may read it until `release()`. A body given to a transport's send is borrowed until
 * that operation is done or the channel's `close()` has resolved; only then may it be released.
 */
export interface Body {
  /** Memory space: `"host"`, or `"cuda:N"` for the memory of a GPU. */
  readonly space: string;
  /** Number of valid bytes. */
  readonly byteLength: number;
  /** Address of the first byte as a C `uintptr_t`; `0n` for an empty body. */
  readonly address: bigint;
  /** Whether another process can write to it meanwhile, so that what was checked may change. Default false. */
  readonly isChangeable?: boolean;
  /**
   * The bytes, in place. Host memory only.
   *
   * @throws {DipcError} `closed` after release
   */
  bytes(): Uint8Array<ArrayBuffer>;
  /** Gives the memory back to its owner; views of it become empty. Idempotent. */
  release(): void;
}

/** A writable piece of memory taken from a pool: the target of a receive or of a file read. */
export interface Block {
  /** Memory space: `"host"`, or `"cuda:N"` for the memory of a GPU. */
  readonly space: string;
  /** Usable bytes; at least as many as were requested. */
  readonly capacity: number;
  /** Address of the first byte as a C `uintptr_t`. Aligned to 64 bytes or more. */
  readonly address: bigint;
  /** The whole block as a writable view, in place. Host memory only. */
  bytes(): Uint8Array<ArrayBuffer>;
  /** Turns the first `byteLength` bytes into a body that owns this block; the block must not be used afterwards. */
  toBody(byteLength: number): Body;
  /** Gives the block back unused. Idempotent. */
  release(): void;
}

/** A source of blocks. */
export interface Pool {
  /** Memory space of every block of this pool. */
  readonly space: string;
  /**
   * A block of at least `byteLength` bytes (0 is allowed), recycled where possible.
   *
   * @throws {DipcError} `out_of_memory`
   */
  acquire(byteLength: number): Block;
}
