/**
 * What a client gives back: addresses are collected, and go out together within a bounded time.
 *
 * @module
 */
import { encodeFreed, MAX_FREED } from "../protocol/address_list.ts";

/** Addresses are given back once there are so many, or memory of so many bytes, or at the latest after so many milliseconds. */
const FLUSH_ADDRESSES = 1024, FLUSH_BYTES = 8 * 2 ** 20, FLUSH_MS = 5;

/** Sends the content of one `free_data` message. @returns `"full"` if it must be tried again later, `"gone"` if never */
export type SendFreed = (message: Uint8Array<ArrayBuffer>) => "sent" | "full" | "gone";

/** The addresses that one client has yet to give back. */
export class FreedAddresses {
  readonly #send: SendFreed;
  #addresses: bigint[] = [];
  #bytes = 0;
  #timer: number | null = null;
  #isGone = false;

  /** @param send Sends a message */
  constructor(send: SendFreed) {
    this.#send = send;
  }

  /** Whether nothing can be given back any more. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /**
   * Gives addresses back, soon.
   *
   * @param addresses As they were received, u64
   * @param byteLength Bytes of the memory that they stand for
   */
  add(addresses: readonly bigint[], byteLength: number): void {
    if (this.#isGone) return;
    for (const address of addresses) this.#addresses.push(address);
    this.#bytes += byteLength;
    if (this.#addresses.length >= FLUSH_ADDRESSES || this.#bytes >= FLUSH_BYTES) this.flush();
    else this.#flushLater();
  }

  /** Gives back what has been collected, now. */
  flush(): void {
    this.#stopTimer();
    while (this.#addresses.length > 0 && !this.#isGone) {
      const outcome = this.#send(encodeFreed(this.#addresses.slice(0, MAX_FREED)));
      if (outcome === "full") return this.#flushLater();
      if (outcome === "gone") this.#isGone = true;
      else this.#addresses.splice(0, MAX_FREED);
    }
    this.#addresses.length = 0;
    this.#bytes = 0;
  }

  /** Gives back what has been collected, and nothing later. Idempotent. */
  end(): void {
    this.flush();
    this.#stopTimer();
    this.#isGone = true;
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #flushLater(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.flush();
    }, FLUSH_MS) as unknown as number;
    // The end of the process gives everything back.
    Deno.unrefTimer(this.#timer);
  }
}
