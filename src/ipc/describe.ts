/**
 * Describes schemas as plain objects and text, for every Arrow type.
 *
 * @module
 */
import { DipcError, unexpected } from "../errors.ts";
import { VerifiedHeader } from "./header.ts";
import type { FieldLayout } from "./layout.ts";
import type { MessageHeader } from "./message.ts";

/** One field in a form that prints well and converts to JSON. */
export interface FieldDescription {
  /** Name of the field. */
  readonly name: string;
  /** Type as pyarrow prints it, such as `"timestamp[us, tz=UTC]"` or `"list<item: int32>"`. */
  readonly type: string;
  /** Whether values may be null. */
  readonly nullable: boolean;
  /** Custom metadata, which includes the name of an extension type. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields inside a nested type. */
  readonly children: readonly FieldDescription[];
  /** Whether values are sent as indices into a dictionary. */
  readonly dictionary: boolean;
}

/** A schema in a form that prints well and converts to JSON. */
export interface SchemaDescription {
  /** Columns in order. */
  readonly fields: readonly FieldDescription[];
  /** Custom metadata of the schema. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Byte order of the data. */
  readonly endianness: "little" | "big";
}

/**
 * The columns of a schema message.
 *
 * @param header Header of a schema message
 * @throws {DipcError} `invalid_argument` if the header was not made by this library
 */
export function describeSchema(header: MessageHeader): readonly FieldDescription[] {
  return describe(header).fields;
}

/**
 * The columns, custom metadata and byte order of a schema message.
 *
 * @param header Header of a schema message
 * @throws {DipcError} `invalid_argument` if the header was not made by this library
 */
export function describe(header: MessageHeader): SchemaDescription {
  if (!(header instanceof VerifiedHeader)) {
    throw new DipcError(
      "invalid_argument",
      "cannot describe a schema: its header was not made by this library, expected one made by HeaderReader or encodeSchema",
    );
  }
  const { layout } = header;
  return {
    fields: layout.fields.map(describeField),
    metadata: plain(layout.metadata),
    endianness: layout.endianness,
  };
}

function describeField(field: FieldLayout): FieldDescription {
  return {
    name: field.name,
    type: typeText(field),
    nullable: field.nullable,
    metadata: plain(field.metadata),
    children: field.children.map(describeField),
    dictionary: field.dictionary !== null,
  };
}

/** A plain object of the entries; a key `__proto__` becomes an ordinary property. */
function plain(metadata: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries(metadata);
}

/** The type of a field as pyarrow prints it. */
export function typeText(field: FieldLayout): string {
  if (field.dictionary === null) return valueTypeText(field);
  const { index, ordered } = field.dictionary;
  const indices = `${index.signed ? "" : "u"}int${index.bitWidth}`;
  return `dictionary<values=${valueTypeText(field)}, indices=${indices}, ordered=${ordered ? 1 : 0}>`;
}

function valueTypeText(field: FieldLayout): string {
  const { type, children } = field;
  switch (type.id) {
    case "int":
      return `${type.signed ? "" : "u"}int${type.bitWidth}`;
    case "float":
      return type.bitWidth === 16 ? "halffloat" : type.bitWidth === 32 ? "float" : "double";
    case "utf8":
      return "string";
    case "large_utf8":
      return "large_string";
    case "utf8_view":
      return "string_view";
    case "decimal":
      return `decimal${type.bitWidth}(${type.precision}, ${type.scale})`;
    case "date":
      return type.unit === "day" ? "date32[day]" : "date64[ms]";
    case "time":
      return `time${type.bitWidth}[${type.unit}]`;
    case "timestamp":
      return type.timezone ? `timestamp[${type.unit}, tz=${type.timezone}]` : `timestamp[${type.unit}]`;
    case "duration":
      return `duration[${type.unit}]`;
    case "interval":
      return type.unit === "month_day_nano"
        ? "month_day_nano_interval"
        : type.unit === "day_time"
        ? "day_time_interval"
        : "month_interval";
    case "fixed_size_binary":
      return `fixed_size_binary[${type.byteWidth}]`;
    case "list":
    case "large_list":
    case "list_view":
    case "large_list_view":
      return `${type.id}<${childText(children[0])}>`;
    case "fixed_size_list":
      return `fixed_size_list<${childText(children[0])}>[${type.listSize}]`;
    case "struct":
      return `struct<${children.map(childText).join(", ")}>`;
    case "map": {
      const [key, value] = children[0].children;
      return `map<${typeText(key)}, ${typeText(value)}${type.keysSorted ? ", keys_sorted" : ""}>`;
    }
    case "union":
      return `${type.mode}_union<${children.map((child, i) => `${childText(child)}=${type.typeIds[i]}`).join(", ")}>`;
    case "run_end_encoded":
      return `run_end_encoded<${children.map(childText).join(", ")}>`;
    case "null":
    case "bool":
    case "binary":
    case "large_binary":
    case "binary_view":
      return type.id;
    default:
      return unexpected(type);
  }
}

function childText(field: FieldLayout): string {
  return `${field.name}: ${typeText(field)}${field.nullable ? "" : " not null"}`;
}
