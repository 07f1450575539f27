/**
 * Parquet written by DuckDB: only of schemas of which it makes the same file as the writer of this package, as far as readers see.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import { typeText } from "../../ipc/describe.ts";
import { loadCodec } from "../../ipc/compression.ts";
import { HeaderReader, verified } from "../../ipc/header.ts";
import type { ArrowType, FieldLayout, SchemaLayout } from "../../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import { quoted } from "../../ipc/quote.ts";
import type { ByteSink } from "../sink.ts";
import type { MessageWriter } from "../writer.ts";
import { type ArrowColumn, columnError, ColumnReader } from "./arrow_columns.ts";
import { ARROW_SCHEMA, arrowHint } from "./arrow_hint.ts";
import { checkText } from "./text_check.ts";

/** Rows of a row group, as the writer of this package has them. */
const ROW_GROUP_ROWS = 262_144;

/**
 * Starts a file.
 *
 * @param schema Header of the schema message
 * @param sink Receives the bytes; finished or aborted with the writer
 * @throws {DipcError} `unsupported`, naming the column, if DuckDB would write something else; `library_not_found`
 */
export async function parquetByDuckDb(schema: MessageHeader, sink: ByteSink): Promise<MessageWriter> {
  const layout = HeaderReader.continuing(schema).layout!;
  checkSchema(layout);
  const { CopyWriter } = await import("../../duckdb/copy_writer.ts");
  const keyValues = new Map([...layout.metadata, [ARROW_SCHEMA, arrowHint(layout, () => false)]]);
  const pairs = [...keyValues].map(([key, value]) => `${identifier(key)}: ${literal(value)}`).join(", ");
  const options = `format parquet, compression zstd, row_group_size ${ROW_GROUP_ROWS}, kv_metadata {${pairs}}`;
  return new CheckedWriter(HeaderReader.continuing(schema), new CopyWriter(schema, sink, options));
}

/** Most bytes of one batch after decompression. */
const MOST_BYTES = 4 * 2 ** 30;

/** Most bytes of the text of a column in one batch. */
const MOST_TEXT = 2 ** 31 - 1;

/** Checks texts, which DuckDB writes as they are. */
class CheckedWriter implements MessageWriter {
  readonly #headers: HeaderReader;
  readonly #writer: MessageWriter;

  constructor(headers: HeaderReader, writer: MessageWriter) {
    this.#headers = headers;
    this.#writer = writer;
  }

  async write(message: IpcMessage): Promise<void> {
    try {
      const header = verified(message.header, this.#headers);
      if (header.compression !== "none") await loadCodec(header.compression);
      const columns = new ColumnReader(header, message.body?.bytes() ?? new Uint8Array(0), MOST_BYTES);
      for (const field of header.layout.fields) checkColumn(field, columns.read(field));
    } catch (error) {
      message.body?.release();
      throw error;
    }
    await this.#writer.write(message);
  }

  finish(): void | Promise<void> {
    return this.#writer.finish();
  }

  abort(): void | Promise<void> {
    return this.#writer.abort();
  }
}

function checkColumn(field: FieldLayout, { length, offsets, validity, values }: ArrowColumn): void {
  if (offsets === null || !field.type.id.endsWith("utf8")) return;
  if (values.byteLength > MOST_TEXT) {
    throw columnError("limit_exceeded", field, "it has more than 2 GiB of text in a batch");
  }
  const starts = new Int32Array(length), ends = new Int32Array(length);
  let count = 0;
  for (let row = 0; row < length; row++) {
    if (validity !== null && (validity[row >> 3] >> (row & 7) & 1) === 0) continue;
    starts[count] = Number(offsets[row]);
    ends[count++] = Number(offsets[row + 1]);
  }
  checkText(field, { count, bytes: values, starts, ends });
}

function identifier(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Types of which DuckDB writes what the writer of this package does. */
const SAME: ReadonlySet<ArrowType["id"]> = new Set([
  ...["bool", "int", "utf8", "large_utf8", "binary", "large_binary"] as const,
]);

function isSame({ type, dictionary, children }: FieldLayout): boolean {
  if (dictionary !== null || children.length > 0) return false;
  switch (type.id) {
    case "float":
      return type.bitWidth !== 16;
    case "date":
      return type.unit === "day";
    case "time":
      return type.unit === "us";
    case "timestamp":
      return type.unit === "us";
    case "decimal":
      return type.bitWidth === 128;
    default:
      return SAME.has(type.id);
  }
}

function checkSchema(layout: SchemaLayout): void {
  const names = new Set<string>();
  for (const field of layout.fields) {
    const { name, nullable, metadata } = field;
    if (!isSame(field)) {
      throw refused(`it would not write column ${quoted(name)}, of type ${typeText(field)}, as it is`);
    }
    if (!nullable) throw refused(`it would not write that column ${quoted(name)} has no nulls`);
    if (metadata.has("ARROW:extension:name") || metadata.has("PARQUET:field_id")) {
      throw refused(`it would not write what the metadata of column ${quoted(name)} say`);
    }
    const lower = name.toLowerCase();
    if (names.has(lower)) {
      throw refused(`it would rename column ${quoted(name)}, because it distinguishes no case`);
    }
    names.add(lower);
  }
  if (layout.fields.length === 0) throw refused("the stream has no columns");
}

function refused(what: string): LocalError {
  return new LocalError("unsupported", `cannot write Parquet by DuckDB: ${what}; choose the engine "auto"`);
}
