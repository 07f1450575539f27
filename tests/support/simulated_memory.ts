/**
 * Memory for simulations: no FFI, every block and body counted, and whatever is used after its release shows.
 *
 * @module
 */
import { DipcError } from "../../src/errors.ts";
import type { Block, Body, Pool } from "../../src/memory/block.ts";

const RELEASED = 0xDB;

/** A pool over ordinary arrays. Released memory is scribbled over; a second release of a block is counted. */
export class SimulatedPool implements Pool {
  readonly space = "host";
  /** Blocks and bodies that were not released. */
  out = 0;
  /** Largest number of bytes out at once. */
  peakBytes = 0;
  /** Blocks used in a way their contract forbids. */
  misuses = 0;
  #bytesOut = 0;

  acquire(byteLength: number): Block {
    return this.take(new Uint8Array(byteLength).fill(0xAB));
  }

  /** A body with these bytes, which it owns. */
  body(bytes: Uint8Array<ArrayBuffer>): Body {
    return this.take(bytes).toBody(bytes.byteLength);
  }

  private take(bytes: Uint8Array<ArrayBuffer>): SimulatedBlock {
    this.out++;
    this.#bytesOut += bytes.byteLength;
    this.peakBytes = Math.max(this.peakBytes, this.#bytesOut);
    return new SimulatedBlock(this, bytes);
  }

  giveBack(bytes: Uint8Array): void {
    this.out--;
    this.#bytesOut -= bytes.byteLength;
    bytes.fill(RELEASED);
  }
}

class SimulatedBlock implements Block {
  readonly space = "host";
  readonly capacity: number;
  readonly address = 64n;
  #state: "block" | "body" | "released" = "block";

  constructor(readonly pool: SimulatedPool, readonly memory: Uint8Array<ArrayBuffer>) {
    this.capacity = memory.byteLength;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#state !== "block") this.pool.misuses++;
    return this.memory;
  }

  toBody(byteLength: number): Body {
    if (this.#state !== "block" || byteLength > this.capacity) this.pool.misuses++;
    this.#state = "body";
    return new SimulatedBody(this.pool, this.memory, byteLength);
  }

  release(): void {
    if (this.#state === "body") this.pool.misuses++;
    if (this.#state !== "block") return;
    this.#state = "released";
    this.pool.giveBack(this.memory);
  }
}

class SimulatedBody implements Body {
  readonly space = "host";
  readonly address = 64n;
  #released = false;

  constructor(readonly pool: SimulatedPool, readonly memory: Uint8Array<ArrayBuffer>, readonly byteLength: number) {}

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#released) throw new DipcError("closed", "a body was read after its release");
    return this.memory.subarray(0, this.byteLength);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.pool.giveBack(this.memory);
  }
}
