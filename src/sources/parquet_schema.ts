/**
 * The schema that parquet-wasm's batches have, from the one that it reports for the file.
 *
 * @module
 */
import { FlatReader, invalidMetadata, MAX_DEPTH } from "../ipc/flatbuffer.ts";

/** Fields of `Message`, `Schema` and `Field` in Arrow's `Message.fbs` and `Schema.fbs`. */
const MESSAGE_HEADER = 2, SCHEMA_FIELDS = 1, FIELD_TYPE = 2, FIELD_CHILDREN = 5;

/**
 * Members of the union `Type`, as parquet-wasm reports them and as it decodes them: views become plain columns. The table of
 * each is empty, so that only the number of the type changes.
 */
const DECODED_TYPES: ReadonlyMap<number, number> = new Map([
  [23, 4], // BinaryView, Binary
  [24, 5], // Utf8View, Utf8
  [25, 12], // ListView, List
  [26, 21], // LargeListView, LargeList
]);

/**
 * Replaces in the metadata of a schema, in place, the types that are decoded as others.
 *
 * @param metadata A `Message` that parquet-wasm made
 * @throws {DipcError} `invalid_data` if it is malformed
 */
export function replaceViews(metadata: Uint8Array<ArrayBuffer>): void {
  const reader = new FlatReader(metadata);
  const schema = reader.child(reader.root(), MESSAGE_HEADER, "schema");
  if (schema === 0) throw invalidMetadata("the message has no schema");
  // Replaced at the end: what has been checked must not change before it is read.
  for (const at of findViews(reader, metadata, schema, SCHEMA_FIELDS, 1)) {
    metadata[at] = DECODED_TYPES.get(metadata[at]) ?? metadata[at];
  }
}

/** The places of the types that are decoded as others. */
function findViews(reader: FlatReader, bytes: Uint8Array, table: number, slot: number, depth: number): number[] {
  const found: number[] = [];
  if (depth > MAX_DEPTH) throw invalidMetadata(`fields are nested deeper than ${MAX_DEPTH}`);
  const fields = reader.vector(table, slot, 4, "fields");
  for (let i = 0, count = reader.length(fields); i < count; i++) {
    const field = reader.element(fields, i, "field");
    const at = reader.field(field, FIELD_TYPE, 1, "type of a field");
    if (at !== 0 && DECODED_TYPES.has(bytes[at])) found.push(at);
    found.push(...findViews(reader, bytes, field, FIELD_CHILDREN, depth + 1));
  }
  return found;
}
