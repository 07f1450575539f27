/**
 * Arrow's integration files in JSON: read by apache-arrow, served by us, and compared value by value.
 *
 * @module
 */
import { type RecordBatch, RecordBatchReader, type Schema } from "apache-arrow";

/** What a file holds. */
export interface JsonData {
  schema: Schema;
  batches: RecordBatch[];
}

/**
 * Reads an integration file; decompresses it if its name ends in .gz.
 *
 * @param path Of the file
 * @throws {Error} where apache-arrow cannot read it
 */
export async function readJsonData(path: string): Promise<JsonData> {
  const file = await Deno.open(path);
  const bytes = path.endsWith(".gz") ? file.readable.pipeThrough(new DecompressionStream("gzip")) : file.readable;
  const json = JSON.parse(await new Response(bytes).text());
  const reader = RecordBatchReader.from(json);
  // At its end the reader has no schema any more.
  const { schema } = reader.open();
  const batches = [...reader];
  // Of a file without batches the reader makes an empty one.
  return { schema, batches: json.batches.length === 0 ? [] : batches };
}

/**
 * Compares a batch that came over the wire with the one of the file.
 *
 * @param where Named in the error
 * @throws {Error} at the first difference
 */
export function compareBatches(where: string, want: RecordBatch, got: RecordBatch): void {
  if (got.numRows !== want.numRows) throw new Error(`${where}: ${want.numRows} rows became ${got.numRows}`);
  for (let column = 0; column < want.numCols; column++) {
    const [a, b] = [want.getChildAt(column)!, got.getChildAt(column)!];
    for (let row = 0; row < want.numRows; row++) {
      const [expected, found] = [valueText(a.get(row)), valueText(b.get(row))];
      if (expected === found) continue;
      throw new Error(`${where}, column ${column}, row ${row}: ${expected} became ${found}`);
    }
  }
}

/**
 * Compares names, types and nullability of all fields, and the metadata.
 *
 * @param where Named in the error
 * @throws {Error} if they differ
 */
export function compareSchemas(where: string, want: Schema, got: Schema): void {
  const text = ({ fields, metadata }: Schema): string =>
    [...fields.map((field) => `${field}${field.nullable ? "?" : ""}`), ...[...metadata].map(String)].join("; ");
  if (text(want) !== text(got)) throw new Error(`${where}: expected the schema ${text(want)}, found ${text(got)}`);
}

function valueText(value: unknown): string {
  return JSON.stringify(value, (_key, part) => {
    if (typeof part === "bigint") return `${part}n`;
    return ArrayBuffer.isView(part) ? [...part as unknown as Iterable<unknown>].map(String) : part;
  }) ?? "undefined";
}
