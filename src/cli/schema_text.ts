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

/** The schema for `--json`. */
export function schemaJson(schema: SchemaDescription): SchemaJson {
  return { fields: schema.fields.map(fieldJson), metadata: schema.metadata, endianness: schema.endianness };
}

function metadataLines(metadata: Readonly<Record<string, string>>, indent: string): string[] {
  return Object.entries(metadata).map(([key, value]) => {
    const shown = value.length > MAX_VALUE ? `${value.slice(0, MAX_VALUE)}… (${value.length} characters)` : value;
    return `${indent}${printable(key)}: ${printable(shown)}`;
  });
}

/** The schema as lines: one per column, with its metadata below it. */
export function schemaText(schema: SchemaDescription): string {
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
  return `${[...lines, ...metadata].join("\n")}\n`;
}
