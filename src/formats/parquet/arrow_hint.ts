/**
 * The Arrow schema that Arrow's libraries embed in a Parquet file, to give its columns their Arrow types again. It names only
 * types that pyarrow, Polars, DuckDB and dipc itself read, and that say what is in the file.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { arrowSchema } from "../../ipc/arrow_schema.ts";
import { encodeSchema } from "../../ipc/encode.ts";
import { frameMetadata } from "../../ipc/frame.ts";
import type { ArrowType, FieldLayout, SchemaLayout } from "../../ipc/layout.ts";
import { leafType } from "./leaf_types.ts";

/** Key of the embedded schema. */
export const ARROW_SCHEMA = "ARROW:schema";

/**
 * The embedded schema, as text.
 *
 * @param layout The schema of the stream
 * @param hasChanged Whether values of a dictionary were replaced by others, so that together they may be more than the indices
 *   can count
 */
export function arrowHint(layout: SchemaLayout, hasChanged: (id: bigint) => boolean): string {
  const fields = layout.fields.map((field) => hintOf(field, hasChanged));
  const header = encodeSchema(arrowSchema({ ...layout, fields, version: 5 }));
  return Buffer.from(frameMetadata(header)).toString("base64");
}

function hintOf(field: FieldLayout, hasChanged: (id: bigint) => boolean): FieldLayout {
  const { type, dictionary, children } = field;
  if (type.id === "run_end_encoded" && dictionary === null) {
    const values = hintOf(children[1], hasChanged);
    const metadata = new Map([...values.metadata, ...field.metadata]);
    return { ...values, name: field.name, nullable: field.nullable || values.nullable, metadata };
  }
  const plain = {
    ...field,
    type: typeOf(field),
    children: children.map((child) => hintOf(child, hasChanged)),
    dictionary: null,
  };
  if (dictionary === null || !KEPT.has(plain.type.id)) return plain;
  const { id, index, ordered } = dictionary;
  const isWidened = hasChanged(id) && index.bitWidth < 32;
  return {
    ...plain,
    dictionary: { id, index: isWidened ? { id: "int", bitWidth: 32, signed: true } : index, ordered },
  };
}

/** Types that readers make dictionaries of. */
const KEPT: ReadonlySet<ArrowType["id"]> = new Set(["utf8", "large_utf8", "binary", "large_binary"]);

function typeOf(field: FieldLayout): ArrowType {
  const { type } = field;
  switch (type.id) {
    case "list_view":
      return { id: "list" };
    case "large_list_view":
      return { id: "large_list" };
    case "fixed_size_list":
      // Where pyarrow expects lists of no elements it finds a null to be one that has an element.
      return type.listSize === 0 ? { id: "list" } : type;
    case "list":
    case "large_list":
    case "struct":
    case "map":
      return type;
    default:
      return leafType(field).arrow ?? type;
  }
}
