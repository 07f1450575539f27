/**
 * A garbage-collected ArrayBuffer as a body whose memory is freed immediately when it is released.
 *
 * @module
 */
import { addressOf } from "../../ffi/libc.ts";
import { LocalError } from "../errors.ts";
import type { Body } from "../memory/block.ts";

/** Size in bytes of the smallest array that V8 does not move. */
const SMALLEST_FIXED = 128;

/**
 * A part of an ArrayBuffer that has no other user. Unlike {@linkcode wrapBytes} it owns the buffer: releasing detaches it,
 * which frees its memory without waiting for a collection.
 */
export class OwnedBody implements Body {
  /** Always `"host"`. */
  readonly space = "host";
  /** Number of valid bytes. */
  readonly byteLength: number;
  #bytes: Uint8Array<ArrayBuffer> | null;
  #address: bigint | null = null;

  /** @param bytes The body; from now on the body owns the entire buffer */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.byteLength = bytes.byteLength;
    if (bytes.byteLength < SMALLEST_FIXED) {
      const fixed = new Uint8Array(SMALLEST_FIXED);
      fixed.set(bytes);
      bytes = fixed.subarray(0, bytes.byteLength);
    }
    this.#bytes = bytes;
  }

  /** Address of the first byte. */
  get address(): bigint {
    if (this.byteLength === 0 || this.#bytes === null) return 0n;
    return this.#address ??= addressOf(this.#bytes);
  }

  /** The bytes, in place. @throws {DipcError} `closed` after release */
  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw new LocalError("closed", "cannot read this body: it was released");
    return this.#bytes;
  }

  /** Frees the memory; every view of it becomes empty. Idempotent. */
  release(): void {
    this.#bytes?.buffer.transfer(0);
    this.#bytes = null;
  }
}
