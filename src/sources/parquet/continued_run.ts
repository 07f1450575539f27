/**
 * A run that a native engine begins, and that parquet-wasm goes on with if it fails: what only one of them can read is read, and what
 * is damaged is reported as parquet-wasm reports it.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { IpcMessage } from "../../ipc/message.ts";
import type { MessageStream } from "../dataset.ts";

/** Errors that are not about the file. */
const FINAL: ReadonlySet<string> = new Set(["cancelled", "closed"]);

/** The run. Neither engine sends dictionaries in it. */
export class ContinuedRun implements MessageStream {
  #run: MessageStream;
  #openOther: (() => MessageStream) | null;
  /** Rows that were handed out. */
  #rows = 0;
  #isClosed = false;

  /**
   * @param run The run of the native engine
   * @param openOther Starts one of parquet-wasm, which has the same batches
   */
  constructor(run: MessageStream, openOther: () => MessageStream) {
    this.#run = run;
    this.#openOther = openOther;
  }

  async next(): Promise<IpcMessage | null> {
    try {
      const message = await this.#run.next();
      if (message !== null) this.#rows += message.header.rows;
      return message;
    } catch (error) {
      const open = this.#openOther;
      if (open === null || this.#isClosed || (error instanceof DipcError && FINAL.has(error.code))) throw error;
      this.#openOther = null;
      await this.#run.close();
      this.#run = open();
      await this.#skip(error);
      return await this.next();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#run.close();
  }

  /** Drops the batches that were handed out. @throws the error if they are not the same ones */
  async #skip(error: unknown): Promise<void> {
    let rows = 0;
    while (rows < this.#rows) {
      const message = await this.#run.next();
      message?.body?.release();
      if (message === null) break;
      rows += message.header.rows;
    }
    if (rows !== this.#rows) throw error;
  }
}
