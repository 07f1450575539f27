/**
 * A schema whose dictionary indices have more bits.
 *
 * @module
 */
import { FlatReader } from "./flatbuffer.ts";
import { HeaderReader, NO_HEADER_LIMITS, type VerifiedHeader } from "./header.ts";
import type { FieldLayout } from "./layout.ts";

/** Fields of `Message`, `Schema`, `Field`, `DictionaryEncoding` and `Int` in Arrow's format that lead to the bits. */
const MESSAGE_HEADER = 2, SCHEMA_FIELDS = 1, FIELD_DICTIONARY = 4, FIELD_CHILDREN = 5;
const ENCODING_ID = 0, ENCODING_INDEX = 1, INT_BITS = 0;

/** Bits of the new indices. */
const WIDE = 32;

/**
 * The schema with indices of 32 bits, signed or not as they were, into some dictionaries.
 *
 * @param schema The schema; it is copied
 * @param ids Dictionaries whose indices are widened if they have fewer bits
 * @returns `null` if its encoding does not allow that, because tables of it are shared
 */
export function widenIndices(schema: VerifiedHeader, ids: ReadonlySet<bigint>): VerifiedHeader | null {
  const bytes = schema.bytes.slice();
  const reader = new FlatReader(bytes);
  const table = reader.child(reader.root(), MESSAGE_HEADER, "schema");
  patchFields(reader, table, SCHEMA_FIELDS, ids);
  const headers = new HeaderReader(NO_HEADER_LIMITS);
  const wide = headers.read(bytes);
  const isRight = JSON.stringify(schema.layout.fields.map((field) => widened(field, ids))) ===
    JSON.stringify(headers.layout!.fields.map((field) => widened(field, new Set())));
  return isRight ? wide : null;
}

function patchFields(reader: FlatReader, table: number, slot: number, ids: ReadonlySet<bigint>): void {
  const vector = reader.vector(table, slot, 4, "fields");
  for (let i = 0, n = reader.length(vector); i < n; i++) {
    const field = reader.element(vector, i, "field");
    const encoding = reader.child(field, FIELD_DICTIONARY, "dictionary encoding");
    if (encoding !== 0 && ids.has(reader.int64(encoding, ENCODING_ID, "dictionary id"))) {
      const index = reader.child(encoding, ENCODING_INDEX, "type of indices");
      const at = index === 0 ? 0 : reader.field(index, INT_BITS, 4, "bits of indices");
      if (at !== 0 && reader.view.getInt32(at, true) < WIDE) reader.view.setInt32(at, WIDE, true);
    }
    patchFields(reader, field, FIELD_CHILDREN, ids);
  }
}

/** What the field must be afterwards, in a form that can be compared. */
function widened({ name, type, children, dictionary }: FieldLayout, ids: ReadonlySet<bigint>): unknown {
  const inner = children.map((child) => widened(child, ids));
  if (dictionary === null) return [name, type, inner];
  const { id, index: { bitWidth, signed } } = dictionary;
  return [name, type, inner, `${id}`, ids.has(id) ? Math.max(bitWidth, WIDE) : bitWidth, signed];
}
