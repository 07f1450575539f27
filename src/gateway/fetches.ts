/**
 * The fetches that clients share: one for all who request the same data with the same credentials while it is under way, or is kept.
 *
 * @module
 */
import { credentialsIn } from "./headers.ts";
import type { FetchParts } from "./open_fetch.ts";
import { type FetchBudget, SharedFetch } from "./shared_fetch.ts";

/** Limits of {@linkcode Fetches}. */
export interface FetchLimits {
  /** Most bytes of messages that are kept, of all fetches. */
  readonly maxBytes: number;
  /** How long a whole result can be joined after it has come, in milliseconds. */
  readonly keepMs: number;
}

/** Fetches by what they fetch. */
export class Fetches implements FetchBudget {
  readonly #limits: FetchLimits;
  /** The least recently joined first. */
  readonly #fetches = new Map<string, SharedFetch>();
  /** All, those that cannot be joined any more, too. */
  readonly #all = new Set<SharedFetch>();
  /** Results that nobody reads now, and what ends them. */
  readonly #idle = new Map<SharedFetch, ReturnType<typeof setTimeout>>();
  bytes = 0;

  constructor(limits: FetchLimits) {
    this.#limits = limits;
  }

  /** The fetch that is there, or a new one, for a caller that joins it now. */
  of(parts: FetchParts): SharedFetch {
    const key = keyOf(parts);
    let fetch = this.#fetches.get(key);
    if (fetch === undefined || fetch.joinableMs(this.#limits.keepMs) === 0) {
      // Nobody's deadline ends what others read, too.
      const headers = new Headers(parts.headers);
      headers.delete("grpc-timeout");
      fetch = new SharedFetch({ ...parts, headers }, this);
      this.#all.add(fetch);
    }
    clearTimeout(this.#idle.get(fetch));
    this.#idle.delete(fetch);
    this.#fetches.delete(key);
    this.#fetches.set(key, fetch);
    return fetch;
  }

  makeRoom(): boolean {
    const { maxBytes } = this.#limits;
    for (const fetch of this.#idle.keys()) if (this.bytes >= maxBytes) this.#end(fetch);
    for (const fetch of this.#all) if (this.bytes >= maxBytes) fetch.trim();
    return this.bytes < maxBytes;
  }

  onIdle(fetch: SharedFetch): void {
    const leftMs = fetch.joinableMs(this.#limits.keepMs);
    if (leftMs === 0 || leftMs === Infinity) return this.#end(fetch);
    const timer = setTimeout(() => this.#end(fetch), leftMs);
    Deno.unrefTimer(timer as unknown as number);
    this.#idle.set(fetch, timer);
  }

  /** Ends what nobody reads; the others end with their readers. */
  close(): void {
    for (const fetch of this.#idle.keys()) this.#end(fetch);
  }

  #end(fetch: SharedFetch): void {
    clearTimeout(this.#idle.get(fetch));
    this.#idle.delete(fetch);
    this.#all.delete(fetch);
    for (const [key, each] of this.#fetches) if (each === fetch) this.#fetches.delete(key);
    fetch.close();
  }
}

function keyOf({ engine, ticket, places, headers }: FetchParts): string {
  return JSON.stringify([engine.name, places, ticket.toBase64(), credentialsIn(headers)]);
}
