/**
 * A schema as text for people and as JSON for programs.
 *
 * @module
 */
import type { FieldDescription, SchemaDescription } from "../ipc/describe.ts";
import { printable } from "../text.ts";
import { countOf } from "./numbers.ts";

/** Longest metadata value shown in text, in characters. */
const MAX_VALUE = 60;

/** Beginning of what servers of Flight SQL say of each column for JDBC, such as its precision; for programs alone. */
const SQL_PREFIX = "ARROW:FLIGHT:SQL:";

/** One field of the JSON form. */
export interface FieldJson {
  /** Name of the field. */
  readonly name: string;
  /** Type in pyarrow's notation. */
  readonly type: string;
  /** Whether values may be null. */
  readonly nullable: boolean;
  /** True if values are sent as indices into a dictionary. */
  readonly dictionary?: true;
  /** Custom metadata, if there is any. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Fields inside a nested type. */
  readonly children?: readonly FieldJson[];
}

/** The JSON form of a schema. */
export interface SchemaJson {
  /** Columns in order. */
  readonly fields: readonly FieldJson[];
  /** Custom metadata of the schema. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Byte order of the data. */
  readonly endianness: "little" | "big";
  /** Custom metadata of the footer of an Arrow file, if there is any. */
  readonly footerMetadata?: Readonly<Record<string, string>>;
}

function fieldJson(field: FieldDescription): FieldJson {
  return {
    name: field.name,
    type: field.type,
    nullable: field.nullable,
    ...(field.dictionary ? { dictionary: true as const } : {}),
    ...(Object.keys(field.metadata).length > 0 ? { metadata: field.metadata } : {}),
    ...(field.children.length > 0 ? { children: field.children.map(fieldJson) } : {}),
  };
}

/** The schema for `--json`, and the custom metadata of the footer of a file that has some. */
export function schemaJson(schema: SchemaDescription, footer: ReadonlyMap<string, string> = new Map()): SchemaJson {
  const { fields, metadata, endianness } = schema;
  const footerMetadata = footer.size === 0 ? {} : { footerMetadata: Object.fromEntries(footer) };
  return { fields: fields.map(fieldJson), metadata, endianness, ...footerMetadata };
}

function metadataLines(metadata: Readonly<Record<string, string>>, indent: string): string[] {
  return Object.entries(metadata).filter(([key]) => !key.startsWith(SQL_PREFIX)).map(([key, value]) => {
    const shown = value.length > MAX_VALUE ? `${value.slice(0, MAX_VALUE)}… (${value.length} characters)` : value;
    return `${indent}${printable(key)}: ${printable(shown)}`;
  });
}

/** The schema as lines: one per column, with its metadata below it; then the custom metadata of schema and footer. */
export function schemaText(schema: SchemaDescription, footer: ReadonlyMap<string, string> = new Map()): string {
  const { fields } = schema;
  const names = fields.map(({ name }) => printable(name));
  const width = names.reduce((most, name) => Math.min(32, Math.max(most, name.length)), 0);
  const lines = [`${countOf(fields.length, "column")}${schema.endianness === "big" ? ", big-endian" : ""}`];
  fields.forEach((field, i) => {
    lines.push(`  ${names[i].padEnd(width)}  ${printable(field.type)}${field.nullable ? "" : " not null"}`);
    for (const line of metadataLines(field.metadata, "      ")) lines.push(line);
  });
  const metadata = metadataLines(schema.metadata, "  ");
  if (metadata.length > 0) lines.push("metadata");
  const footerLines = footer.size === 0 ? [] : ["footer metadata", ...metadataLines(Object.fromEntries(footer), "  ")];
  return `${[...lines, ...metadata, ...footerLines].join("\n")}\n`;
}
