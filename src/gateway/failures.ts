/**
 * How fetches have failed. Drivers try every location that an endpoint has, and each of a gateway's leads to the same engine: what its ticket
 * stands for must not be executed again for that, so that they get the same answer.
 *
 * @module
 */
import type { ServerCall } from "../grpc/server_call.ts";
import { UntakenError } from "../grpc/untaken_error.ts";
import { credentialsIn } from "./headers.ts";
import type { Relayed } from "./relay.ts";

/** How long an answer is given again, in milliseconds: a driver may wait for a location in between. */
const KEPT_MS = 60_000;
/** Most answers that are kept; the oldest one is forgotten first. */
const MAX_KEPT = 10_000;
/** Most characters of them together. */
const MAX_CHARACTERS = 8 * 2 ** 20;

interface Kept {
  /** What the engine has answered; `null` if it has not. */
  readonly relayed: Relayed | null;
  readonly trailers: Headers;
  /** What kept it from answering. */
  readonly thrown: unknown;
  readonly untilMs: number;
  readonly characters: number;
}

/** The failures of the last minute, by ticket and credentials. */
export class FetchFailures {
  /** The oldest one first. */
  readonly #kept = new Map<string, Kept>();
  #characters = 0;

  /**
   * Fetches, unless it has failed before.
   *
   * @param ticket The gateway's ticket
   * @param call The client's call
   * @param fetch Fetches; tells when the engine is asked
   */
  async once(
    ticket: Uint8Array,
    call: ServerCall,
    fetch: (onSent: () => void) => Promise<Relayed>,
  ): Promise<Relayed> {
    // Tickets of a gateway are ASCII. Another client's failure may be due to its credentials.
    const key = `${new TextDecoder().decode(ticket)} ${JSON.stringify(credentialsIn(call.headers))}`;
    this.#trim();
    const before = this.#kept.get(key);
    if (before !== undefined) {
      for (const [name, value] of before.trailers) call.trailers.append(name, value);
      if (before.relayed === null) throw before.thrown;
      return { ...before.relayed, bytes: 0 };
    }
    let isSent = false;
    try {
      const relayed = await fetch(() => isSent = true);
      if (relayed.error !== null) this.#add(key, { relayed, trailers: new Headers(call.trailers), thrown: null });
      return relayed;
    } catch (thrown) {
      const mayHaveBegun = isSent && !(thrown instanceof UntakenError);
      if (mayHaveBegun && !call.signal.aborted) this.#add(key, { relayed: null, trailers: new Headers(), thrown });
      throw thrown;
    }
  }

  #add(key: string, failure: Pick<Kept, "relayed" | "trailers" | "thrown">): void {
    const characters = [...failure.trailers].reduce(
      (sum, [name, value]) => sum + name.length + value.length,
      key.length,
    );
    this.#forget(key);
    this.#kept.set(key, { ...failure, characters, untilMs: performance.now() + KEPT_MS });
    this.#characters += characters;
    this.#trim();
  }

  #trim(): void {
    const nowMs = performance.now();
    for (const [key, { untilMs }] of this.#kept) {
      if (untilMs > nowMs && this.#kept.size <= MAX_KEPT && this.#characters <= MAX_CHARACTERS) return;
      this.#forget(key);
    }
  }

  #forget(key: string): void {
    this.#characters -= this.#kept.get(key)?.characters ?? 0;
    this.#kept.delete(key);
  }
}
