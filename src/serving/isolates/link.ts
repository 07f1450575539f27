/**
 * The end of an isolate that holds connections of the line to the main isolate: requests and their answers, runs through lent
 * datasets, and the bodies to give back.
 *
 * @module
 */
import type { FromIsolate, LentMessage, PostedGrant, ToIsolate } from "./messages.ts";
import { fromPortable } from "./portable_error.ts";

/** Bodies that are given back with one post, at most. */
const MAX_BODIES = 64;

/** What a request is answered with: a grant, or nothing. */
type Answer = PostedGrant | null;

/** A run that messages are posted for. */
export interface MessageTaker {
  /** Takes what the main isolate has posted: messages, whether they are the last, and what the dataset threw after them. */
  _push(messages: readonly LentMessage[], isEnd: boolean, failure: { readonly error: unknown } | null): void;
}

interface Pending {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** A line to the main isolate. */
export class Link {
  readonly #send: (message: FromIsolate) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #runs = new Map<number, MessageTaker>();
  #bodies: number[] = [];
  #isFlushPlanned = false;
  #lastRequest = 0;
  #lastRun = 0;

  /** @param send Posts to the main isolate */
  constructor(send: (message: FromIsolate) => void) {
    this.#send = send;
  }

  /** Posts a message, and before it the bodies that are to be given back. */
  post(message: FromIsolate): void {
    this.#flush();
    this.#send(message);
  }

  /**
   * Posts a request and waits for its answer.
   *
   * @param request Makes the request from its number
   * @throws what the main isolate answers
   */
  ask(request: (number: number) => FromIsolate): Promise<Answer> {
    const number = ++this.#lastRequest;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.post(request(number));
    });
  }

  /** Begins to receive messages for a run. @returns its number */
  addRun(run: MessageTaker): number {
    this.#runs.set(++this.#lastRun, run);
    return this.#lastRun;
  }

  /** Receives no more for a run; what still comes is given back. */
  removeRun(run: number): void {
    this.#runs.delete(run);
  }

  /** Gives a body back, soon. */
  giveBack(body: number): void {
    this.#bodies.push(body);
    if (this.#bodies.length >= MAX_BODIES) this.#flush();
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    setImmediate(() => {
      this.#isFlushPlanned = false;
      this.#flush();
    });
  }

  /** Takes an answer, or messages for a run. */
  receive(message: Extract<ToIsolate, { op: "admitted" | "answer" | "messages" }>): void {
    if (message.op === "messages") {
      const { run, messages, isEnd, error } = message;
      const borrowed = this.#runs.get(run);
      if (borrowed === undefined) this.#refuse(messages);
      else borrowed._push(messages, isEnd, error === null ? null : { error: fromPortable(error) });
      return;
    }
    const pending = this.#pending.get(message.request);
    this.#pending.delete(message.request);
    if (message.op === "admitted") pending?.resolve(message.grant);
    else if (message.error === null) pending?.resolve(null);
    else pending?.reject(fromPortable(message.error));
  }

  #refuse(messages: readonly LentMessage[]): void {
    for (const { body } of messages) this.giveBack(body);
  }

  #flush(): void {
    if (this.#bodies.length === 0) return;
    const bodies = this.#bodies;
    this.#bodies = [];
    this.#send({ op: "release", bodies });
  }
}
