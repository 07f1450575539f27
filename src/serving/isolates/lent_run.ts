/**
 * A run through a dataset that is read for another isolate, several messages at a time.
 *
 * @module
 */
import type { IpcMessage } from "../../ipc/message.ts";
import type { MessageStream } from "../../sources/dataset.ts";

/**
 * Messages and bytes that are handed over at once, at most; one message always is. A post from one isolate to another takes up
 * to 5 ms if both are busy, in which this much can be sent.
 */
const TAKE_MESSAGES = 128, TAKE_BYTES = 8 * 2 ** 20;

/** What {@linkcode LentRun.take} has got. */
export interface TakenMessages {
  readonly messages: readonly IpcMessage[];
  /** Whether no more follow. */
  readonly isEnd: boolean;
  /** What the dataset threw after those messages, which may be anything. */
  readonly failure: { readonly error: unknown } | null;
}

/** One run. */
export class LentRun {
  readonly #stream: MessageStream;
  /** The next message, if the dataset was working on it when others were handed over. */
  #awaited: Promise<IpcMessage | null> | null = null;
  #isClosed = false;
  /** Whether clients may read its bodies in place. */
  readonly isShared: boolean;

  /**
   * @param stream The run; closed with this one
   * @param isShared Whether clients may read its bodies in place
   */
  constructor(stream: MessageStream, isShared: boolean) {
    this.#stream = stream;
    this.isShared = isShared;
  }

  /** The messages at hand, or the next one as soon as it is there. Never rejects; one call at a time. */
  async take(): Promise<TakenMessages> {
    const messages: IpcMessage[] = [];
    let bytes = 0;
    try {
      while (!this.#isClosed && messages.length < TAKE_MESSAGES && bytes < TAKE_BYTES) {
        const next = this.#awaited ?? this.#stream.next();
        let message: IpcMessage | null;
        if (next instanceof Promise) {
          this.#awaited = next;
          if (messages.length > 0) {
            next.catch(() => {}); // its error is for the next call
            break;
          }
          message = await next;
          this.#awaited = null;
        } else {
          message = next;
        }
        if (message === null) return { messages, isEnd: true, failure: null };
        if (this.#isClosed) {
          message.body?.release();
          break;
        }
        messages.push(message);
        bytes += message.body?.byteLength ?? 0;
      }
    } catch (error) {
      this.#awaited = null;
      return { messages, isEnd: true, failure: { error } };
    }
    return { messages, isEnd: this.#isClosed, failure: null };
  }

  /** Ends the run; what the dataset still produces is released when it comes. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // If a call of `take` waits for it, that releases it.
    this.#awaited?.then((message) => message?.body?.release(), () => {});
    await this.#stream.close();
  }
}
