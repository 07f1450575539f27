/**
 * Metadata frames that have arrived and wait to be taken.
 *
 * The active message handler only copies: eager messages into a recycled slot at once; of a rendezvous message it records
 * the descriptor, and the data is fetched after progress has returned. Order of arrival is kept.
 *
 * @module
 */
import { addressOf, type Libc, libc } from "../../../ffi/libc.ts";

/** Frames start at an address that is 3 more than a multiple of 8, so that what follows the prefix is aligned. */
const SHIFT = 3;
/** Bytes of a frame before its payload: type (u8) and sequence number (u32). */
export const FRAME_PREFIX_BYTES = 5;
/** Bytes of memory that a short frame takes. */
export const SLOT_BYTES = 1024;
/** Slots that grew beyond this are not kept. */
const LARGEST_KEPT_SLOT = 64 << 10;
const MAX_FREE_SLOTS = 256;

/** Memory for one frame. */
export class FrameSlot {
  /** Address of the frame's first byte. */
  address = 0n;
  /** The frame, once it is there. */
  view: Uint8Array<ArrayBuffer>;
  /** False while a rendezvous frame is being fetched. */
  ready = false;
  /** Bytes of the frame. */
  length = 0;
  #memory: ArrayBuffer;

  /** Makes a slot of the usual size. */
  constructor() {
    this.#memory = new ArrayBuffer(SLOT_BYTES);
    this.view = new Uint8Array(this.#memory, SHIFT, 0);
    this.address = addressOf(new Uint8Array(this.#memory)) + BigInt(SHIFT);
  }

  /** Bytes that fit without growing. */
  get capacity(): number {
    return this.#memory.byteLength - SHIFT;
  }

  /**
   * Makes room for a frame.
   *
   * @param length Size of the frame in bytes
   */
  prepare(length: number): void {
    if (length > this.capacity) {
      this.#memory = new ArrayBuffer(2 ** Math.ceil(Math.log2(length + SHIFT)));
      this.address = addressOf(new Uint8Array(this.#memory)) + BigInt(SHIFT);
      this.view = new Uint8Array(this.#memory, SHIFT, length);
    } else if (this.view.byteLength !== length) {
      this.view = new Uint8Array(this.#memory, SHIFT, length);
    }
    this.length = length;
  }
}

/** A queue of frames. */
export class FrameQueue {
  #libc: Libc = libc();
  #free: FrameSlot[] = [];
  #ring: (FrameSlot | null)[] = new Array(16).fill(null);
  #head = 0;
  #count = 0;
  #taken: FrameSlot | null = null;
  /** Total bytes of the frames in the queue. */
  bytes = 0;

  /** Frames in the queue. */
  get count(): number {
    return this.#count;
  }

  /**
   * Copies a frame into the queue.
   *
   * @param data Address of its first byte
   * @param size Size of the frame in bytes
   * @param length The same size as a number
   */
  push(data: bigint, size: bigint, length: number): void {
    const slot = this.reserve(length);
    slot.ready = true;
    if (length !== 0) this.#libc.memcpy(slot.address, data, size);
  }

  /**
   * Takes the next place in the queue for a frame that is still to be fetched.
   *
   * @param length Size of the frame in bytes
   */
  reserve(length: number): FrameSlot {
    const slot = this.#free.length > 0 ? this.#free.pop()! : new FrameSlot();
    slot.prepare(length);
    slot.ready = false;
    if (this.#count === this.#ring.length) this.#growRing();
    this.#ring[(this.#head + this.#count) & (this.#ring.length - 1)] = slot;
    this.#count++;
    this.bytes += length;
    return slot;
  }

  /** Whether `slot` holds the frame to be taken next. */
  isNext(slot: FrameSlot): boolean {
    return this.#count > 0 && this.#ring[this.#head] === slot;
  }

  /** The next frame, valid until the next call; null if none is complete. */
  take(): Uint8Array<ArrayBuffer> | null {
    if (this.#taken !== null) {
      if (this.#free.length < MAX_FREE_SLOTS && this.#taken.capacity <= LARGEST_KEPT_SLOT) this.#free.push(this.#taken);
      this.#taken = null;
    }
    if (this.#count === 0) return null;
    const slot = this.#ring[this.#head]!;
    if (!slot.ready) return null;
    this.#ring[this.#head] = null;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#count--;
    this.bytes -= slot.length;
    this.#taken = slot;
    return slot.view;
  }

  #growRing(): void {
    const old = this.#ring;
    this.#ring = new Array(old.length * 2).fill(null);
    for (let i = 0; i < this.#count; i++) this.#ring[i] = old[(this.#head + i) & (old.length - 1)];
    this.#head = 0;
  }
}
