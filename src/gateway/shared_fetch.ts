/**
 * One fetch that several clients read: each at its own pace, as far as the messages between the fastest and the slowest may be kept.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { FlightItem } from "../flight/flight_stream.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { CountedBody } from "./counted_body.ts";
import { type FetchParts, type OpenFetch, openFetch } from "./open_fetch.ts";

/** Bytes that a message is counted as, besides its content. */
const MESSAGE_BYTES = 256;

/** What keeps the messages of all fetches within a size. */
export interface FetchBudget {
  /** Bytes kept. */
  bytes: number;
  /** Makes room, if that is possible. @returns whether there is some */
  makeRoom(): boolean;
  /** The fetch has no reader any more. */
  onIdle(fetch: SharedFetch): void;
}

/** A message that is kept, with a body that each reader gets a share of. */
interface Kept {
  readonly item: FlightItem;
  readonly body: CountedBody | null;
  readonly bytes: number;
}

/** One fetch. */
export class SharedFetch {
  readonly #budget: FetchBudget;
  readonly #stop = new AbortController();
  readonly #opening: Promise<OpenFetch>;
  readonly #readers = new Set<FetchReader>();
  /** Messages from number `#dropped` on. */
  readonly #kept: Kept[] = [];
  #dropped = 0;
  #isPulling = false;
  /** Resolves when a message has come, or a reader has gone on; `null` while nobody waits for that. */
  #change: PromiseWithResolvers<void> | null = null;
  /** When all of it had come, of `performance.now()`; `null` before. */
  #endedMs: number | null = null;
  #failure: { readonly error: unknown } | null = null;
  /** The engine's headers, once they have come. */
  headers: Headers | null = null;
  /** The engine's trailers, once they have come. */
  trailers: Headers | null = null;

  constructor(parts: FetchParts, budget: FetchBudget) {
    this.#budget = budget;
    this.#opening = openFetch(parts, this.#stop.signal, {
      onHeaders: (headers) => this.headers = headers,
      onEnd: (trailers) => this.trailers = trailers,
    });
    this.#opening.catch((error) => this.#failure = { error });
  }

  /**
   * How long a further client may still join, in milliseconds: as long as there is more to come, and for a while after. What it gets
   * would otherwise be as old as the chain of its readers is long.
   *
   * @param keepMs How long a whole result may be joined, in milliseconds
   * @returns 0 if that would not bring everything
   */
  joinableMs(keepMs: number): number {
    if (this.#dropped > 0 || this.#failure !== null || this.#stop.signal.aborted) return 0;
    return this.#endedMs === null ? Infinity : Math.max(0, this.#endedMs + keepMs - performance.now());
  }

  /**
   * Reads it from its beginning.
   *
   * @param signal Leaves
   * @throws {DipcError} As `openFetch` does
   */
  async join(signal?: AbortSignal): Promise<FetchReader> {
    const reader = new FetchReader(this, signal);
    this.#readers.add(reader);
    try {
      reader.schema = (await Promise.race([this.#opening, reader.left])).schema;
      return reader;
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  /** Drops what every reader has read. */
  trim(): void {
    let least = Infinity;
    for (const { at } of this.#readers) least = Math.min(least, at);
    while (this.#kept.length > 0 && this.#dropped < least) this.#drop();
  }

  /** Ends it, and drops everything. Idempotent. */
  close(): void {
    this.#stop.abort(new LocalError("closed", "cannot complete the fetch: no client is left that reads it"));
    while (this.#kept.length > 0) this.#drop();
    this.#opening.then(({ stream }) => stream.close(), () => {});
  }

  /** @ignore Whether message number `at` is there. */
  _has(at: number): boolean {
    return at - this.#dropped < this.#kept.length;
  }

  /** @ignore The message that a reader reads next, or `null` after the last one. */
  async _read(reader: FetchReader): Promise<FlightItem | null> {
    for (;;) {
      if (!this.#readers.has(reader)) throw reader.reason;
      const kept = this.#kept[reader.at - this.#dropped];
      if (kept !== undefined) return shareOf(kept);
      if (this.#endedMs !== null) return null;
      if (this.#failure !== null) throw this.#failure.error;
      if (!this.#isPulling && this.#mayPull()) void this.#pull();
      this.#change ??= Promise.withResolvers();
      await this.#change.promise;
    }
  }

  /** @ignore A reader has gone on, or has left. */
  _moved(reader: FetchReader, hasLeft: boolean): void {
    // Who has left while its last message was on the way has been seen off already.
    if (hasLeft ? !this.#readers.delete(reader) : !this.#readers.has(reader)) return;
    this.#changed();
    if (this.#readers.size > 0) return;
    if (this.#endedMs === null) this.close();
    this.#budget.onIdle(this);
  }

  /** One message more is always admitted if nothing is kept that only a slower reader needs. */
  #mayPull(): boolean {
    if (this.#budget.makeRoom()) return true;
    this.trim();
    return this.#kept.length === 0;
  }

  /** Never rejects. */
  async #pull(): Promise<void> {
    this.#isPulling = true;
    try {
      const item = await (await this.#opening).stream.nextItem();
      if (item === null) this.#endedMs = performance.now();
      else this.#keep(item);
    } catch (error) {
      this.#failure ??= { error };
    }
    this.#isPulling = false;
    this.#changed();
  }

  #changed(): void {
    const change = this.#change;
    this.#change = null;
    change?.resolve();
  }

  #keep(item: FlightItem): void {
    const { message, appMetadata } = item;
    const body = message?.body ?? null;
    const bytes = MESSAGE_BYTES + (message?.header.bytes.byteLength ?? 0) + (body?.byteLength ?? 0) +
      (appMetadata?.byteLength ?? 0);
    this.#kept.push({ item, bytes, body: body === null ? null : new CountedBody(body) });
    this.#budget.bytes += bytes;
    // It came after the last reader had left.
    if (this.#stop.signal.aborted) this.#drop();
  }

  #drop(): void {
    const { body, bytes } = this.#kept.shift()!;
    this.#dropped++;
    body?.release();
    this.#budget.bytes -= bytes;
  }
}

function shareOf({ item: { message, appMetadata }, body }: Kept): FlightItem {
  return { message: message === null ? null : { ...message, body: body?.share() ?? null }, appMetadata };
}

/** One client of a fetch. */
export class FetchReader {
  readonly #fetch: SharedFetch;
  readonly #signal: AbortSignal | undefined;
  readonly #left = Promise.withResolvers<never>();
  /** Number of the message that is read next. */
  at = 0;
  /** The schema, or `null` if the stream has ended without one. */
  schema: MessageHeader | null = null;

  /** @ignore Use {@linkcode SharedFetch.join}. */
  constructor(fetch: SharedFetch, signal: AbortSignal | undefined) {
    this.#fetch = fetch;
    this.#signal = signal;
    this.#left.promise.catch(() => {});
    if (signal?.aborted) this.#onAbort();
    signal?.addEventListener("abort", this.#onAbort);
  }

  /** Rejects once the signal has ended it. */
  get left(): Promise<never> {
    return this.#left.promise;
  }

  /** Why it is over, if it is. */
  get reason(): unknown {
    return this.#signal?.aborted
      ? this.#signal.reason
      : new LocalError("closed", "cannot read the fetch: it was closed");
  }

  /** Whether the next item is at hand. */
  get isAhead(): boolean {
    return this.#fetch._has(this.at);
  }

  /** The next item after the schema, or `null` at the end. */
  async nextItem(): Promise<FlightItem | null> {
    const item = await this.#fetch._read(this);
    if (item === null) return null;
    this.at++;
    this.#fetch._moved(this, false);
    return item;
  }

  /** The next message; items with application metadata alone are skipped. */
  async next(): Promise<IpcMessage | null> {
    for (let item; (item = await this.nextItem()) !== null;) {
      if (item.message !== null && item.message.header.kind !== "schema") return item.message;
    }
    return null;
  }

  /** Leaves. Idempotent. */
  close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#fetch._moved(this, true);
    return Promise.resolve();
  }

  #onAbort = (): void => {
    this.#left.reject(this.#signal!.reason);
    void this.close();
  };
}
