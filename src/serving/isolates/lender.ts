/**
 * Reads datasets for an isolate, and lends it the bodies of their messages.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { Body } from "../../memory/block.ts";
import type { Entry } from "../entry.ts";
import { LentRun } from "./lent_run.ts";
import type { LentMessage, ToIsolate } from "./messages.ts";
import { toPortable } from "./portable_error.ts";
import { postedHeader } from "./dataset_sources.ts";
import type { IpcMessage } from "../../ipc/message.ts";

/** Bodies whose isolate was lost while UCX may have been sending from them. */
const lost = new Set<Body>();

/** The main isolate's end of the runs and bodies that one isolate has. */
export class Lender {
  readonly #post: (message: ToIsolate) => void;
  readonly #stop: AbortSignal;
  readonly #runs = new Map<number, LentRun>();
  /** Bodies that the isolate may be sending from, by number. */
  readonly #bodies = new Map<number, Body>();
  #lastBody = 0;
  #isClosed = false;

  /**
   * @param post Posts to the isolate
   * @param stop Aborted when the server stops
   */
  constructor(post: (message: ToIsolate) => void, stop: AbortSignal) {
    this.#post = post;
    this.#stop = stop;
  }

  /** Starts a run and answers the request for it; never rejects. */
  async open(request: number, run: number, { dataset, shared }: Entry): Promise<void> {
    try {
      const stream = await dataset.open({ signal: this.#stop });
      if (this.#isClosed) {
        await stream.close();
        return;
      }
      this.#runs.set(run, new LentRun(stream, shared !== undefined));
    } catch (error) {
      this.#post({ op: "answer", request, error: toPortable(error) });
      return;
    }
    this.#post({ op: "answer", request, error: null });
  }

  /** Lends the next messages of a run; never rejects. */
  async pull(run: number): Promise<void> {
    const lent = this.#runs.get(run);
    if (lent === undefined) return;
    const { messages, isEnd, failure } = await lent.take();
    if (this.#isClosed) {
      for (const { body } of messages) body?.release();
      return;
    }
    const error = failure === null ? null : toPortable(failure.error);
    const posted = messages.map((message) => this.#lend(message, lent.isShared));
    this.#post({ op: "messages", run, messages: posted, isEnd, error });
  }

  /** Takes bodies back. */
  release(bodies: readonly number[]): void {
    for (const number of bodies) {
      this.#bodies.get(number)?.release();
      this.#bodies.delete(number);
    }
  }

  /** Ends a run and answers the request for that; never rejects. */
  async endRun(request: number, run: number): Promise<void> {
    const lent = this.#runs.get(run);
    this.#runs.delete(run);
    let error: unknown = null;
    try {
      await lent?.close();
    } catch (cause) {
      error = cause ?? new DipcError("internal", "cannot end the run through the dataset: its error is not known");
    }
    if (!this.#isClosed) this.#post({ op: "answer", request, error: error === null ? null : toPortable(error) });
  }

  /** Keeps the bodies that are lent forever: nobody knows any more when UCX is done with them. */
  abandon(): void {
    for (const body of this.#bodies.values()) lost.add(body);
    this.#bodies.clear();
  }

  /** Ends everything, once the isolate uses nothing of it any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.release([...this.#bodies.keys()]);
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    // Their isolate is gone, so nobody is left to notify of an error.
    await Promise.allSettled(runs.map((run) => run.close()));
  }

  #lend({ header, body }: IpcMessage, isShared: boolean): LentMessage {
    const number = ++this.#lastBody;
    if (body !== null) this.#bodies.set(number, body);
    const [address, byteLength] = [body?.address ?? 0n, body?.byteLength ?? 0];
    return { ...postedHeader(header, isShared), body: number, address, byteLength };
  }
}
