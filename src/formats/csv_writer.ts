/**
 * Writes CSV as RFC 4180 describes it, with a header line.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { type LineParts, TextWriter } from "./batch_writer.ts";
import type { ByteSink } from "./sink.ts";
import { putCsvText } from "./text/characters.ts";
import { Token } from "./text/output.ts";
import { nameWarnings } from "./text/unique_names.ts";

/**
 * Writes CSV: fields separated by commas, lines ended by a line feed, quotes only if readers may need them. A null is an
 * empty field, an empty text is `""`; in a file of one column a null is `""` too, because readers skip empty lines.
 */
export class CsvWriter extends TextWriter {
  override readonly warnings: readonly string[];
  protected override readonly parts: LineParts;

  /**
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @throws {DipcError} `unsupported` if there is no column, or one that apache-arrow cannot read
   */
  constructor(schema: MessageHeader, sink: ByteSink) {
    super(schema, sink, "csv");
    const { fields, out } = this;
    if (fields.length === 0) {
      throw new DipcError(
        "unsupported",
        "cannot write CSV: the data has no columns, and readers would skip the empty lines of its rows; write NDJSON or " +
          "Arrow instead",
      );
    }
    this.warnings = nameWarnings(fields, false);
    const comma = new Token(",");
    this.parts = { before: fields.map((_, i) => i === 0 ? new Token("") : comma), end: new Token("\n") };
    fields.forEach(({ name }, i) => {
      out.token(this.parts.before[i]);
      const bytes = new TextEncoder().encode(name);
      putCsvText(out, bytes, 0, bytes.byteLength);
    });
    out.token(this.parts.end);
  }
}
