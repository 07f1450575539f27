/**
 * The rows of one execution as they are read: counted, timed, and taken by one reader or by several.
 *
 * @module
 */
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import { PeerError } from "../../tell_peer.ts";
import type { EngineRows } from "../engine.ts";
import { engineError } from "./failure.ts";
import type { SqlLimits } from "./limits.ts";

/** Time that an engine may work on one statement. */
export class Budget {
  readonly #abort: AbortController;
  readonly #timeoutMs: number;
  #leftMs: number;
  #isSpending = false;
  #beganMs: number | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param timeoutMs The time in milliseconds
   * @param abort Ends the execution when it is over
   */
  constructor(timeoutMs: number, abort: AbortController) {
    this.#timeoutMs = this.#leftMs = timeoutMs;
    this.#abort = abort;
  }

  /** Waits for the engine. */
  async spend<T>(ask: () => T | Promise<T>): Promise<T> {
    this.#isSpending = true;
    this.#begin();
    try {
      return await ask();
    } finally {
      this.#isSpending = false;
      this.#pause();
    }
  }

  /** Waits for the client while the engine is waited for: that is not the engine's time. */
  async save<T>(ask: () => Promise<T>): Promise<T> {
    this.#pause();
    try {
      return await ask();
    } finally {
      // The engine may have ended meanwhile.
      if (this.#isSpending) this.#begin();
    }
  }

  #begin(): void {
    this.#beganMs = performance.now();
    this.#timer = setTimeout(() => {
      this.#abort.abort(
        new PeerError(
          "timeout",
          `cannot complete the statement: it took longer than ${this.#timeoutMs} ms; request less`,
        ),
      );
    }, Math.max(0, this.#leftMs));
  }

  #pause(): void {
    if (this.#beganMs === null) return;
    clearTimeout(this.#timer);
    this.#leftMs -= performance.now() - this.#beganMs;
    this.#beganMs = null;
  }
}

/** What a run needs. */
export interface RunParts {
  readonly rows: EngineRows;
  readonly budget: Budget;
  /** Ends the execution. */
  readonly abort: AbortController;
  readonly limits: SqlLimits;
  /** Called once, when nothing of it is used any more: releases the statement and its connection. */
  readonly release: () => Promise<void>;
}

/** One execution. Its messages are taken one after another, by whoever asks first. */
export class Run {
  readonly schema: MessageHeader;
  readonly #parts: RunParts;
  /** Messages that were read already. */
  readonly #ready: IpcMessage[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #rows = 0;
  #readyBytes = 0;
  #hasEnded = false;
  #failure: unknown = null;
  #closing: Promise<void> | null = null;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.schema = parts.rows.schema;
  }

  /** Whether no more messages come from the engine. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Bytes of bodies that were read already, and not taken. */
  get readyBytes(): number {
    return this.#readyBytes;
  }

  /** Whether it was ended before its end. */
  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Reads ahead.
   *
   * @param bytes How much
   * @returns all messages if there are no more, which are the caller's then; else `null`
   * @throws {DipcError} what the engine throws, `limit_exceeded`, `timeout`
   */
  async readAhead(bytes: number): Promise<IpcMessage[] | null> {
    for (let message; (message = await this.#read()) !== null;) {
      this.#ready.push(message);
      this.#readyBytes += message.body?.byteLength ?? 0;
      if (this.#readyBytes > bytes) return null;
    }
    return this.#takeReady();
  }

  /** Whether it has dictionaries, so that one reader needs all of what is read. */
  get hasDictionaries(): boolean {
    return this.#ready.some(({ header }) => header.kind === "dictionary");
  }

  /** The next message, `null` at the end. @throws {DipcError} as {@linkcode readAhead} */
  take(): IpcMessage | null | Promise<IpcMessage | null> {
    const taken = this.#turn.then(() => this.#nextReady() ?? this.#read());
    this.#turn = taken.catch(() => {});
    return taken;
  }

  #nextReady(): IpcMessage | undefined {
    const message = this.#ready.shift();
    this.#readyBytes -= message?.body?.byteLength ?? 0;
    return message;
  }

  #takeReady(): IpcMessage[] {
    this.#readyBytes = 0;
    return this.#ready.splice(0);
  }

  async #read(): Promise<IpcMessage | null> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#hasEnded) return null;
    const { rows, budget, abort, limits: { maxRows } } = this.#parts;
    try {
      const message = await budget.spend(() => rows.next());
      if (this.#failure !== null) {
        message?.body?.release();
        throw this.#failure;
      }
      if (message === null) {
        this.#hasEnded = true;
        await this.#end();
        return null;
      }
      if (message.header.kind === "batch") this.#rows += message.header.rows;
      if (this.#rows <= maxRows) return message;
      message.body?.release();
      throw new PeerError(
        "limit_exceeded",
        `cannot complete the statement: its result has more than ${maxRows} rows, which is the most that this server gives; ` +
          "request fewer (LIMIT)",
      );
    } catch (error) {
      await this.fail(this.#failure ?? engineError(error, abort.signal));
      throw this.#failure;
    }
  }

  /** Ends it; whoever reads on gets the error. Idempotent. */
  async fail(error: unknown): Promise<void> {
    if (this.#hasEnded && this.#ready.length === 0) return await this.#end();
    this.#failure ??= error;
    this.#hasEnded = true;
    for (const { body } of this.#takeReady()) body?.release();
    this.#parts.abort.abort(error);
    await this.#end();
  }

  #end(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.resolve(this.#parts.rows.close()).catch(() => {});
    await this.#parts.release().catch(() => {});
  }
}
