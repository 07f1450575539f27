/**
 * A dataset that the main isolate reads for this one: messages come by posts, several at a time.
 *
 * @module
 */
import type { SendableDataset, SendableHeader, SendableMessage, SendableStream } from "../../stream/sendable.ts";
import { AddressBody } from "./address_body.ts";
import type { Link, MessageTaker } from "./link.ts";
import type { LentMessage } from "./messages.ts";

/** Messages and bytes in the queue below which the next ones are requested. */
const LOW_MESSAGES = 64, LOW_BYTES = 4 * 2 ** 20;

/** A dataset of the main isolate. */
export class BorrowedDataset implements SendableDataset {
  readonly schema: SendableHeader;
  readonly #link: Link;
  readonly #grant: number;

  /**
   * @param schema The schema message
   * @param link To the main isolate
   * @param grant Number of the grant that it comes from
   */
  constructor(schema: SendableHeader, link: Link, grant: number) {
    this.schema = schema;
    this.#link = link;
    this.#grant = grant;
  }

  async open(): Promise<SendableStream> {
    const run = new BorrowedRun(this.#link);
    await run._open(this.#grant);
    return run;
  }
}

/** One run through it. */
class BorrowedRun implements SendableStream, MessageTaker {
  readonly #link: Link;
  readonly #run: number;
  #queue: LentMessage[] = [];
  #index = 0;
  #queuedBytes = 0;
  #isPulling = false;
  #hasEnded = false;
  #isClosed = false;
  #failure: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  /** @param link To the main isolate */
  constructor(link: Link) {
    this.#link = link;
    this.#run = link.addRun(this);
  }

  /** @ignore Has the main isolate start the run. */
  async _open(grant: number): Promise<void> {
    try {
      await this.#link.ask((request) => ({ op: "open", request, run: this.#run, grant }));
    } catch (error) {
      this.#link.removeRun(this.#run);
      throw error;
    }
    this.#pull();
  }

  next(): SendableMessage | null | Promise<SendableMessage | null> {
    const lent = this.#queue[this.#index];
    if (lent === undefined) {
      if (this.#failure !== null) throw this.#failure.error;
      if (this.#hasEnded) return null;
      this.#pull();
      return new Promise<void>((resolve) => this.#wake = resolve).then(() => this.next());
    }
    this.#index++;
    this.#queuedBytes -= lent.byteLength;
    if (this.#queue.length - this.#index < LOW_MESSAGES && this.#queuedBytes < LOW_BYTES) this.#pull();
    return this.#received(lent);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#hasEnded = true;
    this.#giveBack(this.#queue.slice(this.#index));
    this.#queue = [];
    this.#index = 0;
    this.#wake?.();
    this.#link.removeRun(this.#run);
    await this.#link.ask((request) => ({ op: "end run", request, run: this.#run }));
  }

  /** @ignore What the main isolate has posted. */
  _push(messages: readonly LentMessage[], isEnd: boolean, failure: { readonly error: unknown } | null): void {
    this.#isPulling = false;
    this.#queue = [...this.#queue.slice(this.#index), ...messages];
    this.#index = 0;
    for (const { byteLength } of messages) this.#queuedBytes += byteLength;
    this.#hasEnded ||= isEnd;
    this.#failure ??= failure;
    this.#wake?.();
    this.#wake = null;
  }

  #pull(): void {
    if (this.#isPulling || this.#hasEnded) return;
    this.#isPulling = true;
    this.#link.post({ op: "pull", run: this.#run });
  }

  #received({ kind, bytes, rows, buffers, body, address, byteLength }: LentMessage): SendableMessage {
    return {
      header: { kind, bytes, rows, buffers } as SendableHeader,
      body: new AddressBody(address, byteLength, () => this.#link.giveBack(body)),
    };
  }

  #giveBack(messages: readonly LentMessage[]): void {
    for (const { body } of messages) this.#link.giveBack(body);
  }
}
