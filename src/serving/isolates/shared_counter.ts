/**
 * Counts the connections of a server over all its isolates, in shared memory.
 *
 * @module
 */
import type { ConnectionCounter } from "../stream_plane.ts";

/** Slots before those of the isolates: connections so far, active ones, and those that wait for another request. */
const TOTAL = 0, ACTIVE = 1, IDLE = 2, FIRST_ISOLATE = 3;
/** Slots of an isolate: its active connections, and those that wait. */
const SLOTS = 2;

/**
 * Memory for the counters of a server.
 *
 * @param isolates Number of isolates
 */
export function counterMemory(isolates: number): SharedArrayBuffer {
  return new SharedArrayBuffer((FIRST_ISOLATE + SLOTS * isolates) * BigInt64Array.BYTES_PER_ELEMENT);
}

/** The counters as one isolate uses them. */
export class SharedCounter implements ConnectionCounter {
  readonly #slots: BigInt64Array<SharedArrayBuffer>;
  readonly #own: number;
  readonly #ownIdle: number;

  /**
   * @param memory Of {@linkcode counterMemory}
   * @param index Number of the isolate, from 0
   */
  constructor(memory: SharedArrayBuffer, index: number) {
    this.#slots = new BigInt64Array(memory);
    this.#own = FIRST_ISOLATE + SLOTS * index;
    this.#ownIdle = this.#own + 1;
  }

  get active(): number {
    return Number(Atomics.load(this.#slots, ACTIVE));
  }

  get idle(): number {
    return Number(Atomics.load(this.#slots, IDLE));
  }

  begin(): { connection: number; active: number } {
    Atomics.add(this.#slots, this.#own, 1n);
    const active = Number(Atomics.add(this.#slots, ACTIVE, 1n)) + 1;
    return { connection: Number(Atomics.add(this.#slots, TOTAL, 1n)) + 1, active };
  }

  end(): void {
    Atomics.sub(this.#slots, ACTIVE, 1n);
    Atomics.sub(this.#slots, this.#own, 1n);
  }

  rest(): void {
    this.end();
    Atomics.add(this.#slots, this.#ownIdle, 1n);
    Atomics.add(this.#slots, IDLE, 1n);
  }

  wake(): number {
    this.endIdle();
    Atomics.add(this.#slots, this.#own, 1n);
    return Number(Atomics.add(this.#slots, ACTIVE, 1n)) + 1;
  }

  endIdle(): void {
    Atomics.sub(this.#slots, IDLE, 1n);
    Atomics.sub(this.#slots, this.#ownIdle, 1n);
  }

  /** Takes back what an isolate that is gone has counted as open. */
  forget(): void {
    Atomics.sub(this.#slots, IDLE, Atomics.exchange(this.#slots, this.#ownIdle, 0n));
    Atomics.sub(this.#slots, ACTIVE, Atomics.exchange(this.#slots, this.#own, 0n));
  }
}
