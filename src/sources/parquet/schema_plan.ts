/**
 * From the schema that the decoder finds to the one that is served: what the writer's Arrow schema and Parquet's annotations
 * add, and what the decoder needs for it.
 *
 * @module
 */
import { frameMetadata } from "../../ipc/frame.ts";
import { HeaderReader } from "../../ipc/header.ts";
import type { ArrowType, FieldLayout } from "../../ipc/layout.ts";
import { encodeSchemaMessage } from "../../ipc/schema_writer.ts";
import { annotate } from "./annotations.ts";
import { ARROW_SCHEMA_KEY } from "./decoder_footer.ts";
import type { ParquetFooter } from "./footer.ts";
import { decodeOrigin, isSameType, type OriginContext, restoreColumns } from "./origin.ts";

/** The schema of a file. */
export interface SchemaPlan {
  /** Columns as they are served; ids of dictionaries are not those of the decoder. */
  readonly columns: readonly FieldLayout[];
  /** Custom metadata of the schema. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Arrow schema that the decoder needs: base64 of an encapsulated message. */
  readonly hint: string | undefined;
}

/** Options of {@linkcode planSchema}. */
export interface SchemaOptions extends Omit<OriginContext, "leaves"> {
  /** Whether types are taken from the writer's Arrow schema. */
  readonly usesOrigin: boolean;
}

/**
 * Plans the schema.
 *
 * @param footer The file's footer
 * @param found Columns that the decoder finds without any Arrow schema
 * @param options How the writer's Arrow schema is taken
 */
export function planSchema(
  footer: ParquetFooter,
  found: readonly FieldLayout[],
  { usesOrigin, ...decisions }: SchemaOptions,
): SchemaPlan {
  const { leaves, metadata: { key_value_metadata: pairs } } = footer;
  const written = pairs?.find(({ key }) => key === ARROW_SCHEMA_KEY)?.value;
  const origin = written === undefined ? null : decodeOrigin(written);
  const restored = restoreColumns(found, usesOrigin ? origin : null, { leaves, ...decisions });
  const ofFile = (pairs ?? []).filter(({ key }) => key !== ARROW_SCHEMA_KEY).map(({ key, value = "" }) =>
    [key, value] as const
  );
  const decoded = restored.map(asDecoded);
  return {
    columns: annotate(restored, footer.root, leaves, pairs),
    metadata: new Map([...origin?.metadata ?? [], ...ofFile]),
    hint: decoded.every((field, i) => isSameField(field, found[i])) ? undefined : encodeHint(decoded),
  };
}

/** A field as it comes out of the decoder: intervals are converted after it. */
function asDecoded(field: FieldLayout): FieldLayout {
  const type: ArrowType = field.type.id === "interval" ? INTERVAL_BYTES : field.type;
  return { ...field, type, children: field.children.map(asDecoded), metadata: new Map() };
}

const INTERVAL_BYTES: ArrowType = { id: "fixed_size_binary", byteWidth: 12 };

function isSameField(a: FieldLayout, b: FieldLayout): boolean {
  const isSameDictionary = a.dictionary === null || b.dictionary === null
    ? a.dictionary === b.dictionary
    : isSameType(a.dictionary.index, b.dictionary.index);
  return isSameDictionary && isSameType(a.type, b.type) && a.children.length === b.children.length &&
    a.children.every((child, i) => isSameField(child, b.children[i]));
}

function encodeHint(columns: readonly FieldLayout[]): string {
  let next = 0n;
  const withOwnId = (field: FieldLayout): FieldLayout => ({
    ...field,
    dictionary: field.dictionary === null ? null : { ...field.dictionary, id: next++ },
    children: field.children.map(withOwnId),
  });
  const metadata = encodeSchemaMessage(columns.map(withOwnId), new Map());
  return frameMetadata(new HeaderReader({ maxMetadataBytes: metadata.byteLength }).read(metadata)).toBase64();
}

/**
 * The served schema with the decoder's ids of dictionaries.
 *
 * @param plan The plan
 * @param decoded Columns of the decoder's batches
 * @returns metadata of the schema message, or null if the decoder's columns are others than planned
 */
export function servedSchema(plan: SchemaPlan, decoded: readonly FieldLayout[]): Uint8Array<ArrayBuffer> | null {
  const fits = plan.columns.every((column, i) => isSameField(asDecoded(column), decoded[i]));
  if (!fits) return null;
  return encodeSchemaMessage(plan.columns.map((column, i) => withIds(column, decoded[i])), plan.metadata);
}

function withIds(column: FieldLayout, decoded: FieldLayout): FieldLayout {
  const children = column.children.map((child, i) => withIds(child, decoded.children[i]));
  return { ...column, name: decoded.name, nullable: decoded.nullable, dictionary: decoded.dictionary, children };
}
