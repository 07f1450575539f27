/**
 * Reads and verifies the schema of a stream. Table and field numbers are those of Arrow's `Schema.fbs`.
 *
 * @module
 */
import { type FlatReader, invalidMetadata, MAX_DEPTH } from "./flatbuffer.ts";
import {
  type ArrowType,
  type DictionaryLayout,
  type DictionaryPlan,
  type FieldLayout,
  NodePlan,
  type SchemaLayout,
} from "./layout.ts";
import { quoted } from "./quote.ts";
import { readInt, readType, TYPE_ENTRIES } from "./type_reader.ts";

/** Shared by the many fields without metadata, so that a large schema stays small in memory. */
const NO_METADATA: ReadonlyMap<string, string> = new Map();
const NO_CHILDREN: FieldLayout[] = [];

/**
 * Reads the `Schema` table.
 *
 * @param reader Reader of the whole message
 * @param table Position of the checked `Schema` table
 * @param version Metadata version of the message
 * @throws {DipcError} `invalid_data`; `unsupported` for a type that this version does not know
 */
export function readSchema(reader: FlatReader, table: number, version: 4 | 5): SchemaLayout {
  const endianness = reader.int16(table, 0, 0, "schema endianness");
  if (endianness !== 0 && endianness !== 1) {
    throw invalidMetadata(`schema endianness is ${endianness}, expected 0 (little) or 1 (big)`);
  }
  const vector = reader.vector(table, 1, 4, "schema fields");
  const fields: FieldLayout[] = [];
  for (let i = 0, n = reader.length(vector); i < n; i++) {
    fields.push(readField(reader, reader.element(vector, i, "field"), "", 1));
  }
  reader.context = "";
  const dictionaries = new Map<bigint, DictionaryPlan>();
  for (const field of fields) collectDictionaries(field, dictionaries);
  return {
    endianness: endianness === 0 ? "little" : "big",
    version,
    fields,
    metadata: readMetadata(reader, table, 2, "schema metadata"),
    plan: new NodePlan(fields),
    dictionaries,
  };
}

function readField(reader: FlatReader, table: number, prefix: string, depth: number): FieldLayout {
  const name = reader.string(table, 0, "field name") ?? "";
  const path = prefix === "" ? name : `${prefix}.${name}`;
  reader.context = path;
  if (depth > MAX_DEPTH) throw invalidMetadata(`fields are nested deeper than ${MAX_DEPTH}`);
  const vector = reader.vector(table, 5, 4, "children of a field");
  const childCount = reader.length(vector);
  const children: FieldLayout[] = childCount === 0 ? NO_CHILDREN : [];
  for (let i = 0; i < childCount; i++) {
    children.push(readField(reader, reader.element(vector, i, "field"), path, depth + 1));
    reader.context = path;
  }
  const type = readType(reader, table, path, childCount);
  checkChildren(type, children, path);
  return {
    name,
    path,
    nullable: reader.bool(table, 1, "field nullability"),
    type,
    children,
    dictionary: readDictionaryEncoding(reader, reader.child(table, 4, "dictionary encoding"), path),
    metadata: readMetadata(reader, table, 6, "metadata of a field"),
  };
}

function checkChildren(type: ArrowType, children: readonly FieldLayout[], path: string): void {
  const expected = type.id === "union" ? type.typeIds.length : TYPE_ENTRIES[type.id].children;
  if (expected !== null && children.length !== expected) {
    throw invalidMetadata(
      `field ${quoted(path)} of type ${type.id} has ${children.length} children, expected ${expected}`,
    );
  }
  if (type.id === "map") {
    const entries = children[0];
    if (entries.type.id !== "struct" || entries.children.length !== 2 || entries.dictionary !== null) {
      throw invalidMetadata(`entries of map field ${quoted(path)} are not a struct of 2 children`);
    }
  }
  if (type.id === "run_end_encoded") {
    const ends = children[0];
    const isGood = ends.type.id === "int" && ends.type.signed && ends.type.bitWidth > 8 && ends.dictionary === null;
    if (!isGood) throw invalidMetadata(`run ends of field ${quoted(path)} are not int16, int32 or int64`);
  }
}

function readDictionaryEncoding(reader: FlatReader, table: number, path: string): DictionaryLayout | null {
  if (table === 0) return null;
  const what = "dictionary encoding";
  const kind = reader.int16(table, 3, 0, what);
  if (kind !== 0) {
    throw invalidMetadata(`dictionary of field ${quoted(path)} is of kind ${kind}, expected 0 (dense array)`);
  }
  const index = reader.child(table, 1, what);
  return {
    id: reader.int64(table, 0, what),
    // The format's default for an absent index type.
    index: index === 0 ? { id: "int", bitWidth: 32, signed: true } : readInt(reader, index, path),
    ordered: reader.bool(table, 2, what),
  };
}

/** Custom metadata of a message, schema or field at `index` of a checked table. */
export function readMetadata(
  reader: FlatReader,
  table: number,
  index: number,
  what: string,
): ReadonlyMap<string, string> {
  const vector = reader.vector(table, index, 4, what);
  if (reader.length(vector) === 0) return NO_METADATA;
  const metadata = new Map<string, string>();
  for (let i = 0, n = reader.length(vector); i < n; i++) {
    const entry = reader.element(vector, i, what);
    metadata.set(reader.string(entry, 0, what) ?? "", reader.string(entry, 1, what) ?? "");
  }
  return metadata;
}

function collectDictionaries(field: FieldLayout, into: Map<bigint, DictionaryPlan>): void {
  if (field.dictionary !== null) {
    const { id } = field.dictionary;
    const known = into.get(id);
    if (known === undefined) {
      into.set(id, { id, field, plan: new NodePlan([field], true) });
    } else if (!sameValues(known.field, field)) {
      throw invalidMetadata(
        `fields ${quoted(known.field.path)} and ${
          quoted(field.path)
        } share dictionary ${id} but differ in their values' type`,
      );
    }
  }
  for (const child of field.children) collectDictionaries(child, into);
}

/** Whether two fields' values have the same physical and logical type, names aside. */
function sameValues(a: FieldLayout, b: FieldLayout): boolean {
  const bare = (field: FieldLayout): unknown => [
    field.type,
    field.children.map((child) => [
      bare(child),
      child.dictionary && [String(child.dictionary.id), child.dictionary.index],
    ]),
  ];
  return JSON.stringify(bare(a)) === JSON.stringify(bare(b));
}
