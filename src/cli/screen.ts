/**
 * Shows a stream on the screen: its schema, then its first rows as a table.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { Preview } from "../formats/preview.ts";
import type { MessageWriter } from "../formats/writer.ts";
import { BatchDecoder } from "../ipc/decode.ts";
import { describe } from "../ipc/describe.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { printable } from "../text.ts";
import { OutputClosed, print, SHOWN_ROWS, terminalColumns } from "./output.ts";
import { schemaText } from "./schema_text.ts";

/** Characters per line if standard output is not a terminal. */
const COLUMNS = 120;

/** Most rows shown: they are held in memory as text until all of them have arrived. */
const MAX_ROWS = 10_000;

/** Writes schema and first rows to standard output; later rows are only counted. */
export class ScreenWriter implements MessageWriter {
  readonly #schema: MessageHeader;
  readonly #preview: Preview;
  /** Null if no more rows are shown, or if they cannot be decoded. */
  #decoder: BatchDecoder | null = null;
  #isShown = false;

  /**
   * @param schema The schema message
   * @param limit Rows that were requested; `Infinity` shows the first {@linkcode SHOWN_ROWS}
   */
  constructor(schema: MessageHeader, limit = Infinity) {
    this.#schema = schema;
    const rows = limit === Infinity ? SHOWN_ROWS : Math.min(limit, MAX_ROWS);
    this.#preview = new Preview(schema, { rows });
  }

  /** Prints the schema, and why no rows are shown if they cannot be decoded. */
  async start(): Promise<void> {
    const schema = describe(this.#schema);
    await print(`${schemaText(schema)}\n`);
    try {
      this.#decoder = new BatchDecoder(this.#schema);
    } catch (error) {
      if (!(error instanceof DipcError) || error.code !== "unsupported") throw error;
      this.#isShown = true;
      await print(`No rows are shown: ${printable(error.message)}\n\n`);
    }
    // A table without columns has nothing to show.
    if (schema.fields.length === 0) this.#isShown = true;
  }

  /** Takes one message. */
  write(message: IpcMessage): void | Promise<void> {
    if (this.#decoder === null || this.#isShown) {
      message.body?.release();
      return;
    }
    return this.#add(this.#decoder, message);
  }

  async #add(decoder: BatchDecoder, message: IpcMessage): Promise<void> {
    {
      using batch = await decoder.decodeAsync(message);
      if (batch !== null) this.#preview.add(batch);
    }
    if (this.#preview.full) await this.#show();
  }

  /** Prints the table, once. */
  async #show(): Promise<void> {
    if (this.#isShown) return;
    this.#isShown = true;
    this.#decoder = null;
    await print(`${this.#preview.render(terminalColumns(COLUMNS))}\n`);
  }

  /** Prints the table if fewer rows arrived than it shows. */
  finish(): Promise<void> {
    return this.#show();
  }

  /** Prints the rows that have arrived, if any: they help to understand a failure. */
  async abort(): Promise<void> {
    if (this.#preview.rows === 0) return;
    try {
      await this.#show();
    } catch (error) {
      if (!(error instanceof OutputClosed)) throw error;
    }
  }
}
