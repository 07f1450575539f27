/**
 * Blocks and bodies in device memory.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { Block, Body } from "../block.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { Cell } from "./slabs.ts";

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
  giveBack(cell: Cell, events: readonly DeviceEvent[]): void;
  /** Gives the cell back when nothing refers to `holder` any more. `events` is read then. */
  watch(holder: object, cell: Cell, events: readonly DeviceEvent[]): void;
  /** Ends that. */
  unwatch(holder: object): void;
}

/** Events of which few are unfinished: the finished ones are dropped as others come. */
function add(events: DeviceEvent[], event: DeviceEvent): void {
  for (let i = events.length - 1; i >= 0; i--) {
    if (events[i] === event) return;
    if (events[i].isFinished()) events.splice(i, 1);
  }
  events.push(event);
}

function noBytes(space: string): never {
  throw new DipcError(
    "unsupported",
    `these bytes lie in the memory of ${space}, which the CPU cannot read; copy them to the host first, such as with ` +
      "toHost() of the batch",
  );
}

/** A writable block of device memory. */
export class DeviceBlock implements Block, UsedByCopies {
  /** `"cuda:N"`. */
  readonly space: string;
  /** Usable bytes. */
  readonly capacity: number;
  /** Device address, a multiple of 256. Not to be dereferenced by the CPU. */
  readonly address: bigint;
  readonly #owner: BlockOwner;
  readonly #events: DeviceEvent[] = [];
  #cell: Cell | null;

  /** @ignore Made by a pool */
  constructor(owner: BlockOwner, cell: Cell) {
    this.#owner = owner;
    this.#cell = cell;
    this.space = owner.space;
    this.capacity = cell.byteLength;
    this.address = cell.address;
    owner.watch(this, cell, this.#events);
  }

  /** Address and size of the driver's allocation that holds the block. */
  get allocation(): { readonly address: bigint; readonly byteLength: number } {
    const { address, byteLength } = this.#held().slab;
    return { address, byteLength };
  }

  usedBy(event: DeviceEvent): void {
    this.#held();
    add(this.#events, event);
  }

  /**
   * Not to be had: the CPU cannot read device memory.
   *
   * @throws {DipcError} always `unsupported`
   */
  bytes(): Uint8Array<ArrayBuffer> {
    return noBytes(this.space);
  }

  toBody(byteLength: number): DeviceBody {
    const cell = this.#held();
    if (!(byteLength >= 0 && byteLength <= this.capacity)) {
      throw new DipcError("invalid_argument", `a body of ${byteLength} bytes does not fit a block of ${this.capacity}`);
    }
    this.#cell = null;
    this.#owner.unwatch(this);
    return new DeviceBody(this.#owner, cell, this.#events, byteLength);
  }

  release(): void {
    const cell = this.#cell;
    if (cell === null) return;
    this.#cell = null;
    this.#owner.unwatch(this);
    this.#owner.giveBack(cell, this.#events);
  }

  #held(): Cell {
    if (this.#cell === null) throw new DipcError("closed", "this block was given away or released");
    return this.#cell;
  }
}

/** A body in device memory. */
export class DeviceBody implements Body, UsedByCopies {
  /** `"cuda:N"`. */
  readonly space: string;
  /** Number of valid bytes. */
  readonly byteLength: number;
  /** Device address; `0n` for an empty body. */
  readonly address: bigint;
  readonly #owner: BlockOwner;
  readonly #events: DeviceEvent[];
  #cell: Cell | null;

  /** @ignore Made by a block */
  constructor(owner: BlockOwner, cell: Cell, events: DeviceEvent[], byteLength: number) {
    this.#owner = owner;
    this.#cell = cell;
    this.#events = events;
    this.space = owner.space;
    this.byteLength = byteLength;
    this.address = byteLength === 0 ? 0n : cell.address;
    owner.watch(this, cell, events);
  }

  /** Address and size of the driver's allocation that holds the body. */
  get allocation(): { readonly address: bigint; readonly byteLength: number } {
    const { address, byteLength } = this.#held().slab;
    return { address, byteLength };
  }

  /** Whether `release()` was called. */
  get isReleased(): boolean {
    return this.#cell === null;
  }

  usedBy(event: DeviceEvent): void {
    this.#held();
    add(this.#events, event);
  }

  /**
   * Not to be had: the CPU cannot read device memory.
   *
   * @throws {DipcError} always `unsupported`
   */
  bytes(): Uint8Array<ArrayBuffer> {
    return noBytes(this.space);
  }

  release(): void {
    const cell = this.#cell;
    if (cell === null) return;
    this.#cell = null;
    this.#owner.unwatch(this);
    this.#owner.giveBack(cell, this.#events);
  }

  #held(): Cell {
    if (this.#cell === null) throw new DipcError("closed", "this body was released");
    return this.#cell;
  }
}
