/**
 * What a client keeps for its next request to the same server, for a while.
 *
 * Nothing waits for it, so it never keeps a program alive: a timer that does not count as work looks at it periodically, and whoever
 * takes it looks at it first.
 *
 * @module
 */
import type { KeepOptions } from "./transport.ts";

/** How often what waits is looked at, in milliseconds. */
const LOOK_MS = 1_000;

/** What can be kept. */
export interface Keepable {
  /** Whether it can be used again, as far as this side can know. */
  isSound(): boolean;
  /** Closes it, now. */
  cut(): void;
  /** Closes it in its own time, and saves what can be used again. Default: `cut`. */
  retire?(): void;
}

interface Kept<Item> {
  readonly key: string;
  readonly item: Item;
  /** When it is closed, of `performance.now()`. */
  readonly until: number;
}

function retire(item: Keepable): void {
  if (item.retire === undefined) item.cut();
  else item.retire();
}

/** Things that wait to be used again. */
export class IdlePool<Item extends Keepable> {
  /** In the order in which they were put, the oldest first. */
  #all: Kept<Item>[] = [];
  readonly #most: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  /** @param most How many wait at most, of all keys together */
  constructor(most: number) {
    this.#most = most;
  }

  /** How many wait. */
  get count(): number {
    return this.#all.length;
  }

  /** Whether anything of a key waits; it need not be sound. */
  has(key: string): boolean {
    const now = performance.now();
    return this.#all.some((kept) => kept.key === key && now < kept.until);
  }

  /**
   * What was used last, if it is sound. The caller owns it.
   *
   * @param key What its user was looking for
   */
  take(key: string): Item | null {
    const now = performance.now();
    for (let i = this.#all.length - 1; i >= 0; i--) {
      const { item, until } = this.#all[i];
      if (this.#all[i].key !== key) continue;
      this.#all.splice(i, 1);
      if (now < until && item.isSound()) return item;
      retire(item);
    }
    return null;
  }

  /**
   * Keeps something. The oldest is cut if there is too much.
   *
   * @param key What a user of it will look for
   * @param item What is kept
   * @param keep How many of that key are kept, and how long
   */
  put(key: string, item: Item, { connections, milliseconds }: KeepOptions): void {
    if (this.#isClosed) return item.cut();
    this.#all.push({ key, item, until: performance.now() + milliseconds });
    let same = this.#all.filter((each) => each.key === key).length;
    for (let i = 0; i < this.#all.length && (same > connections || this.#all.length > this.#most);) {
      const kept = this.#all[i];
      if (same > connections && kept.key !== key) {
        i++;
        continue;
      }
      if (kept.key === key) same--;
      this.#all.splice(i, 1);
      kept.item.cut();
    }
    this.#watch();
  }

  /** Cuts all that wait. */
  drop(): void {
    for (const { item } of this.#all.splice(0)) item.cut();
    this.#unwatch();
  }

  /** Cuts all, and what comes later. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.drop();
  }

  /** Looks at what waits from time to time, as long as there is anything. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    const ended = this.#all.filter(({ item, until }) => now >= until || !item.isSound());
    this.#all = this.#all.filter((kept) => !ended.includes(kept));
    for (const { item } of ended) retire(item);
    if (this.#all.length === 0) this.#unwatch();
  }

  #unwatch(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
