/**
 * A pool for programs that may not use native memory: its blocks belong to the garbage collector.
 *
 * @module
 */
import { isGranted } from "../permissions.ts";
import { LocalError } from "../errors.ts";
import type { Block, Body, Pool } from "./block.ts";
import { hostPool } from "./host_pool.ts";
import { wrapBytes } from "./wrap.ts";

class PlainBlock implements Block {
  readonly space = "host";
  readonly capacity: number;
  #bytes: Uint8Array<ArrayBuffer> | null;

  constructor(byteLength: number) {
    this.capacity = byteLength;
    this.#bytes = new Uint8Array(byteLength);
  }

  get address(): bigint {
    return wrapBytes(this.bytes()).address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw new LocalError("closed", "cannot use this block: it was given away or released");
    return this.#bytes;
  }

  toBody(byteLength: number): Body {
    const body = wrapBytes(this.bytes().subarray(0, byteLength));
    this.#bytes = null;
    return body;
  }

  release(): void {
    this.#bytes = null;
  }
}

const plainPool: Pool = { space: "host", acquire: (byteLength) => new PlainBlock(byteLength) };

/** The shared pool of host memory, or one without native memory if Deno does not allow that. Never prompts. */
export function permittedPool(): Pool {
  return isGranted({ name: "ffi" }) ? hostPool() : plainPool;
}
