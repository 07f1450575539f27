/**
 * Memory for the bodies that a gateway receives, which clients on this machine can read in place: a body is written once, by whom
 * receives it.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { Arena, type ArenaBlock } from "../memory/arena.ts";
import type { Block, Body, Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { SharedRegion } from "../memory/shared_region.ts";
import type { LendableBody } from "./counted_body.ts";
import { type DatasetMemory, grantOf, type MemoryGrant, type PlacedBody } from "../serving/shared_memory.ts";

/** An arena as a source of blocks; what does not fit in there comes from the pool of the isolate, and travels. */
export class GatewayMemory implements Pool, DatasetMemory {
  readonly kind = "host";
  readonly space = "host";
  readonly isConstant = false;
  readonly #arena: Arena<SharedRegion>;
  readonly #minBytes: number;
  #isClosed = false;

  /**
   * @param byteLength Size of the arena in bytes
   * @param minBytes Smaller bodies are not shared, in bytes
   */
  constructor(byteLength: number, minBytes: number) {
    this.#arena = new Arena(SharedRegion.create(byteLength));
    this.#minBytes = minBytes;
  }

  get usedBytes(): number {
    return this.#isClosed ? 0 : this.#arena.usedBytes;
  }

  grant(): MemoryGrant {
    if (this.#isClosed) throw new LocalError("closed", "cannot share memory: the gateway was closed");
    return grantOf(this.#arena.region);
  }

  acquire(byteLength: number): Block {
    const block = this.#isClosed || byteLength < Math.max(1, this.#minBytes) ? null : this.#arena.take(byteLength);
    return block === null ? hostPool().acquire(byteLength) : new SharedBlock(this.#arena.region, block);
  }

  place(body: Body): PlacedBody | null {
    const memory = (body as Partial<LendableBody>).held?.() ?? null;
    return memory === null ? null : { address: body.address, memory };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#arena.close();
  }
}

class SharedBlock implements Block {
  readonly space = "host";
  readonly capacity: number;
  readonly address: bigint;
  #block: ArenaBlock | null;

  constructor({ base }: SharedRegion, block: ArenaBlock) {
    this.#block = block;
    this.capacity = block.byteLength;
    this.address = base + BigInt(block.offset);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return bytesAt(this.address, this.capacity);
  }

  toBody(byteLength: number): Body {
    const block = this.#block!;
    this.#block = null;
    return new SharedBody(block, this.address, byteLength);
  }

  release(): void {
    this.#block?.drop();
    this.#block = null;
  }
}

class SharedBody implements LendableBody {
  readonly space = "host";
  readonly byteLength: number;
  readonly address: bigint;
  #block: ArenaBlock | null;

  constructor(block: ArenaBlock, address: bigint, byteLength: number) {
    this.#block = block;
    this.address = address;
    this.byteLength = byteLength;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    this.#check();
    return bytesAt(this.address, this.byteLength);
  }

  held(): ArenaBlock {
    const block = this.#check();
    block.hold();
    return block;
  }

  release(): void {
    this.#block?.drop();
    this.#block = null;
  }

  #check(): ArenaBlock {
    if (this.#block === null) throw new LocalError("closed", "cannot read this body: it was released");
    return this.#block;
  }
}

function bytesAt(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer);
}
