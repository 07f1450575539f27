/**
 * Memory owned by the garbage collector, seen as a {@linkcode Body}.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { addressOf } from "../../ffi/libc.ts";
import type { Body } from "./block.ts";

class WrappedBody implements Body {
  readonly space = "host";
  readonly byteLength: number;
  #bytes: Uint8Array<ArrayBuffer> | null;
  #address = -1n;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.byteLength = bytes.byteLength;
    this.#bytes = bytes;
  }

  get address(): bigint {
    if (this.byteLength === 0 || this.#bytes === null) return 0n;
    return this.#address === -1n ? this.#address = addressOf(this.#bytes) : this.#address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw new LocalError("closed", "cannot read this body: it was released");
    return this.#bytes;
  }

  release(): void {
    this.#bytes = null;
  }
}

/**
 * Wraps bytes that the garbage collector owns. The body keeps them alive until it is released; releasing it leaves the
 * array itself as it is.
 *
 * @param bytes The bytes; not copied
 */
export function wrapBytes(bytes: Uint8Array<ArrayBuffer>): Body {
  return new WrappedBody(bytes);
}
