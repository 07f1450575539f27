/**
 * Writes newline-delimited JSON: one object per row.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import { type LineParts, TextWriter } from "./batch_writer.ts";
import type { ByteSink } from "./sink.ts";
import { keyTokens } from "./text/nested_cells.ts";
import { Token } from "./text/output.ts";
import { nameWarnings } from "./text/unique_names.ts";

/** Writes one JSON object per row, with the columns' names as keys in their order. */
export class NdjsonWriter extends TextWriter {
  override readonly warnings: readonly string[];
  protected override readonly parts: LineParts;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @throws {DipcError} `unsupported` for a column that apache-arrow cannot read
   */
  constructor(schema: MessageHeader, sink: ByteSink) {
    super(schema, sink, "json");
    this.warnings = nameWarnings(this.fields, true);
    const before = keyTokens(this.fields.map(({ name }) => name));
    this.parts = { before, end: new Token(before.length === 0 ? "{}\n" : "}\n") };
  }
}
