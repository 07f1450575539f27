/**
 * The memory in which the bodies of a shared dataset lie: packed once, if the dataset is in memory, or in an arena through which they stream.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { Arena } from "../memory/arena.ts";
import type { Body } from "../memory/block.ts";
import type { Leasable } from "../memory/leases.ts";
import { SharedRegion } from "../memory/shared_region.ts";
import type { MemoryKind, SharedMemoryFacts } from "../protocol/share_handshake.ts";
import { ResidentDataset } from "../sources/resident.ts";

/** The place of a body. */
export interface PlacedBody {
  /** Address of its first byte, as it is in lists. */
  readonly address: bigint;
  /** What is lent with it. The caller is a holder, and drops it. */
  readonly memory: Leasable;
}

/** What a client gets. */
export interface MemoryGrant {
  readonly facts: SharedMemoryFacts;
  /** The memfd that goes with that, if the memory has one. */
  readonly descriptor: number | null;
}

/** Memory whose bodies can be lent. */
export interface LendableMemory {
  /** Memory space of the bodies in it. */
  readonly space: string;
  /** Whether nothing in it ever changes, so that it does not matter who holds how much of it. */
  readonly isConstant: boolean;
  /** Bytes of an arena that are in use: being sent, or lent. */
  readonly usedBytes: number;
  /** Brings a body there; `null` if there is no room now. */
  place(body: Body): PlacedBody | null;
}

/** Memory of a shared dataset, which clients of this machine open. */
export interface DatasetMemory extends LendableMemory {
  /** How clients open it. */
  readonly kind: MemoryKind;
  /** Why it is not shared after all. */
  readonly problem?: DipcError;
  /** Counts the clients that have it, if it cannot be freed before they have left. */
  readonly clients?: { hold(): void; drop(): void };
  /**
   * What a client gets.
   *
   * @throws {DipcError} `out_of_memory`, `unsupported`
   */
  grant(): MemoryGrant;
  /** Unmaps it here. Idempotent. */
  close(): void;
}

/** Bodies begin at multiples of this many bytes. */
const ALIGNMENT = 64;

/** Memory that is never used for anything else need not be counted. */
export const ALWAYS_THERE: Leasable = { byteLength: 0, hold() {}, drop() {} };

/** The memory of a dataset that was packed. */
export class PackedMemory implements DatasetMemory {
  readonly kind = "host";
  readonly space = "host";
  readonly isConstant = true;
  readonly usedBytes = 0;
  readonly #grant: MemoryGrant;
  readonly #onClose: () => void;
  #isClosed = false;

  /**
   * @param grant What clients get
   * @param onClose Called once, when it is closed
   */
  constructor(grant: MemoryGrant, onClose: () => void) {
    this.#grant = grant;
    this.#onClose = onClose;
  }

  grant(): MemoryGrant {
    if (this.#isClosed) throw closed();
    return this.#grant;
  }

  place(body: Body): PlacedBody | null {
    const { base, byteLength } = this.#grant.facts;
    const { address } = body;
    const isInside = address >= base && address + BigInt(body.byteLength) <= base + BigInt(byteLength);
    return isInside ? { address, memory: ALWAYS_THERE } : null;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
  }
}

/** The body of a message in packed memory. */
class PackedBody implements Body {
  readonly space = "host";
  readonly byteLength: number;
  readonly address: bigint;
  #bytes: Uint8Array<ArrayBuffer> | null = null;

  constructor(address: bigint, byteLength: number) {
    this.address = byteLength === 0 ? 0n : address;
    this.byteLength = byteLength;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.byteLength === 0) return new Uint8Array(0);
    return this.#bytes ??= new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(this.address)!, this.byteLength) as ArrayBuffer,
    );
  }

  /** The memory is the dataset's. */
  release(): void {}
}

/** A dataset in packed memory, which is unmapped when its last run has ended. */
class PackedDataset extends ResidentDataset {
  readonly #memory: DatasetMemory;

  constructor(from: ResidentDataset, messages: readonly IpcMessage[], memory: DatasetMemory) {
    super(from.schema, messages);
    this.#memory = memory;
  }

  protected override _released(): void {
    this.#memory.close();
  }
}

/**
 * Packs a dataset that is in memory: one copy, which clients read in place and from which everything else is sent, too.
 *
 * @param dataset The dataset; stays the caller's
 * @throws {DipcError} `out_of_memory`, `unsupported`
 */
export function packDataset(dataset: ResidentDataset): { dataset: ResidentDataset; memory: DatasetMemory } {
  const { _messages: messages } = dataset;
  const offsets: number[] = [];
  let end = 0;
  for (const { body } of messages) {
    offsets.push(end);
    end += Math.ceil((body?.byteLength ?? 0) / ALIGNMENT) * ALIGNMENT;
  }
  const region = SharedRegion.filled(end, (region) => {
    messages.forEach(({ body }, i) => {
      if (body !== null) region.write(offsets[i], body.address, body.byteLength);
    });
  });
  const packed = messages.map(({ header, body }, i): IpcMessage => ({
    header,
    body: body === null ? null : new PackedBody(region.base + BigInt(offsets[i]), body.byteLength),
  }));
  const memory = new PackedMemory(grantOf(region), () => region.close());
  return { dataset: new PackedDataset(dataset, packed, memory), memory };
}

/** An arena, through which the bodies of a dataset stream. It is made when the first client comes. */
export class StreamMemory implements DatasetMemory {
  readonly kind = "host";
  readonly space = "host";
  readonly isConstant = false;
  readonly #byteLength: number;
  #arena: Arena<SharedRegion> | null = null;
  #isClosed = false;

  /** @param byteLength Size of the arena in bytes */
  constructor(byteLength: number) {
    this.#byteLength = byteLength;
  }

  grant(): MemoryGrant {
    if (this.#isClosed) throw closed();
    this.#arena ??= new Arena(SharedRegion.create(this.#byteLength));
    return grantOf(this.#arena.region);
  }

  get usedBytes(): number {
    return this.#arena?.usedBytes ?? 0;
  }

  place(body: Body): PlacedBody | null {
    return this.#arena === null ? null : placeIn(this.#arena, body);
  }

  close(): void {
    this.#isClosed = true;
    this.#arena?.close();
    this.#arena = null;
  }
}

/** Copies a body to an arena; `null` if there is no room now. */
export function placeIn(arena: Arena, body: Body): PlacedBody | null {
  const block = arena.place(body);
  return block === null ? null : { address: arena.region.base + BigInt(block.offset), memory: block };
}

/** What a client gets of a memfd. */
export function grantOf({ generation, base, byteLength, descriptor }: SharedRegion): MemoryGrant {
  return { facts: { generation, base, byteLength }, descriptor };
}

function closed(): LocalError {
  return new LocalError("closed", "cannot share memory: the dataset was closed");
}
