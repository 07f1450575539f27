/**
 * Counts the connections of a server over all its isolates, in shared memory.
 *
 * @module
 */
import type { ConnectionCounter } from "../stream_plane.ts";

/** Slots before those of the isolates: connections so far, active ones, and those that wait for another request. */
const TOTAL = 0, ACTIVE = 1, IDLE = 2, FIRST_ISOLATE = 3;
/**
 * Slots of an isolate: its active connections, those that wait, and what clients have of its shared memory: how many they are, bytes
 * lent to them, bytes of arenas in use.
 */
const SLOTS = 5;

/** What clients have of shared memory. */
export interface LentMemory {
  readonly clients: number;
  readonly leasedBytes: number;
  readonly arenaBytes: number;
}

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

  /** Notes what clients have of the isolate's memory now. */
  lent({ clients, leasedBytes, arenaBytes }: LentMemory): void {
    for (const [i, value] of [clients, leasedBytes, arenaBytes].entries()) {
      Atomics.store(this.#slots, this.#own + 2 + i, BigInt(value));
    }
  }

  /** What clients have of the memory of all isolates, as they have noted it last. */
  get lentByAll(): LentMemory {
    const sums = [0, 0, 0];
    for (let own = FIRST_ISOLATE; own < this.#slots.length; own += SLOTS) {
      for (const i of sums.keys()) sums[i] += Number(Atomics.load(this.#slots, own + 2 + i));
    }
    const [clients, leasedBytes, arenaBytes] = sums;
    return { clients, leasedBytes, arenaBytes };
  }

  /** Takes back what an isolate that is gone has counted as open. */
  forget(): void {
    this.lent({ clients: 0, leasedBytes: 0, arenaBytes: 0 });
    Atomics.sub(this.#slots, IDLE, Atomics.exchange(this.#slots, this.#ownIdle, 0n));
    Atomics.sub(this.#slots, ACTIVE, Atomics.exchange(this.#slots, this.#own, 0n));
  }
}
