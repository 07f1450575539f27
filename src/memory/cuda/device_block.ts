/**
 * Blocks and bodies in device memory.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import type { Block, Body } from "../block.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { Cell } from "./slabs.ts";

/** A piece of device memory, and the allocation of the driver that it lies in. */
export interface DeviceCell {
  /** Device address of its first byte. */
  readonly address: bigint;
  readonly slab: { readonly address: bigint; readonly byteLength: number };
}

/** Memory that copies of a GPU may use. */
export interface UsedByCopies {
  /**
   * Keeps the memory from being recycled before the event is finished, whenever it is released.
   *
   * @throws {DipcError} `closed` after release
   */
  usedBy(event: DeviceEvent): void;
}

/** What a block needs to know of its pool. */
export interface BlockOwner {
  /** `"cuda:N"`. */
  readonly space: string;
  /** Takes a cell back. */
  giveBack(cell: DeviceCell, events: readonly DeviceEvent[]): void;
  /** Gives the cell back when nothing refers to `holder` any more. `events` is read then. */
  watch(holder: object, cell: DeviceCell, events: readonly DeviceEvent[]): void;
  /** Ends {@linkcode watch}. */
  unwatch(holder: object): void;
}

/**
 * Adds an event to those that memory waits for, and drops the finished ones.
 *
 * @param events The list
 */
export function addEvent(events: DeviceEvent[], event: DeviceEvent): void {
  for (let i = events.length - 1; i >= 0; i--) {
    if (events[i] === event) return;
    if (events[i].isFinished()) events.splice(i, 1);
  }
  events.push(event);
}

/**
 * Checks that a body fits its block.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function checkFits(byteLength: number, capacity: number): void {
  if (byteLength >= 0 && byteLength <= capacity) return;
  throw new LocalError(
    "invalid_argument",
    `cannot make a body of ${byteLength} bytes: its block has ${capacity} bytes`,
  );
}

/** What a block and a body have in common: a piece of device memory, while they hold it. */
export abstract class DeviceMemory implements UsedByCopies {
  /** `"cuda:N"`. */
  readonly space: string;
  /** @ignore Name of the object in messages */
  protected abstract readonly what: string;
  /** @ignore */
  protected readonly owner: BlockOwner;
  /** @ignore Copies that may still use it */
  protected readonly events: DeviceEvent[];
  #cell: DeviceCell | null;

  /** @ignore */
  constructor(owner: BlockOwner, cell: DeviceCell, events: DeviceEvent[]) {
    this.owner = owner;
    this.space = owner.space;
    this.events = events;
    this.#cell = cell;
    owner.watch(this, cell, events);
  }

  /** Address and size of the driver's allocation that holds it. */
  get allocation(): { readonly address: bigint; readonly byteLength: number } {
    const { address, byteLength } = this.#held().slab;
    return { address, byteLength };
  }

  /** Whether it was released, or given away. */
  get isReleased(): boolean {
    return this.#cell === null;
  }

  usedBy(event: DeviceEvent): void {
    this.#held();
    addEvent(this.events, event);
  }

  /**
   * Always fails: the CPU cannot read device memory.
   *
   * @throws {DipcError} always `unsupported`
   */
  bytes(): Uint8Array<ArrayBuffer> {
    throw new LocalError(
      "unsupported",
      `cannot read these bytes on the CPU: they lie in the memory of ${this.space}; copy them to the host first, such ` +
        "as with toHost() of the batch",
    );
  }

  /** Gives it back to its pool, which recycles it once copies that use it are done. Idempotent. */
  release(): void {
    if (this.#cell !== null) this.owner.giveBack(this.giveAway(), this.events);
  }

  /** @ignore Ends the hold on it */
  protected giveAway(): DeviceCell {
    const cell = this.#held();
    this.#cell = null;
    this.owner.unwatch(this);
    return cell;
  }

  #held(): DeviceCell {
    if (this.#cell === null) throw new LocalError("closed", `cannot use ${this.what}: it was given away or released`);
    return this.#cell;
  }
}

/** A writable block of device memory. */
export class DeviceBlock extends DeviceMemory implements Block {
  /** @ignore */
  protected readonly what = "this block";
  /** Usable bytes. */
  readonly capacity: number;
  /** Device address, a multiple of 256. Not to be dereferenced by the CPU. */
  readonly address: bigint;

  /** @ignore Made by a pool */
  constructor(owner: BlockOwner, cell: Cell) {
    super(owner, cell, []);
    this.capacity = cell.byteLength;
    this.address = cell.address;
  }

  /**
   * Turns the first bytes into a body that owns this block; the block must not be used afterwards.
   *
   * @param byteLength How many
   * @param filled The end of a copy that fills them, if they are not filled yet
   * @throws {DipcError} `closed`; `invalid_argument` if they do not fit
   */
  toBody(byteLength: number, filled: DeviceEvent | null = null): DeviceBody {
    checkFits(byteLength, this.capacity);
    return new DeviceBody(this.owner, this.giveAway(), this.events, byteLength, filled);
  }
}

/** A body in device memory. */
export class DeviceBody extends DeviceMemory implements Body {
  /** @ignore */
  protected readonly what = "this body";
  /** Number of valid bytes. */
  readonly byteLength: number;
  /** Device address; `0n` for an empty body. */
  readonly address: bigint;
  /** The end of the copy that fills it; `null` if it is filled already, or if its holder knows. */
  readonly filled: DeviceEvent | null;

  /** @ignore Made by a block */
  constructor(
    owner: BlockOwner,
    cell: DeviceCell,
    events: DeviceEvent[],
    byteLength: number,
    filled: DeviceEvent | null = null,
  ) {
    super(owner, cell, events);
    this.byteLength = byteLength;
    this.filled = filled;
    this.address = byteLength === 0 ? 0n : cell.address;
  }
}
