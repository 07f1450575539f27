/**
 * The Arrow schema that a writer put into a Parquet file: what it says beyond Parquet's own types is restored, as far as it
 * agrees with them.
 *
 * @module
 */
import type { SchemaElement } from "hyparquet";
import { DipcError } from "../../errors.ts";
import { HeaderReader } from "../../ipc/header.ts";
import type { ArrowType, FieldLayout, SchemaLayout } from "../../ipc/layout.ts";
import { readPrefix } from "../../ipc/split_stream.ts";
import { withoutExtension } from "./annotations.ts";
import { isInterval, type LeafColumn } from "./node.ts";

/**
 * The schema in the value of the key `ARROW:schema`.
 *
 * @returns null if it cannot be read: it only refines what the file says anyway
 */
export function decodeOrigin(base64: string): SchemaLayout | null {
  try {
    const bytes = Uint8Array.fromBase64(base64);
    if (bytes.byteLength < 8) return null;
    const prefix = readPrefix(new DataView(bytes.buffer, 0, 8), "an Arrow schema");
    const metadata = bytes.subarray(prefix.byteLength, prefix.byteLength + prefix.metadataLength);
    return new HeaderReader({ maxMetadataBytes: bytes.byteLength }).read(metadata).layout;
  } catch (error) {
    if (error instanceof DipcError || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** What decides the type of a field besides the two schemas. */
export interface OriginContext {
  /** Leaves of the file in order. */
  readonly leaves: readonly LeafColumn[];
  /** Whether a leaf may have more distinct values in a batch than keys of a type can count. */
  needsWiderKeys(leaf: number, key: IntType): boolean;
  /** Whether all lists around a leaf may have a number of items. */
  canHaveSize(leaf: number, size: number): boolean;
}

type IntType = Extract<ArrowType, { id: "int" }>;

/**
 * The columns as their writer had them.
 *
 * @param inferred Columns as Parquet's own types say
 * @param origin Columns of the writer, or null
 */
export function restoreColumns(
  inferred: readonly FieldLayout[],
  origin: SchemaLayout | null,
  context: OriginContext,
): FieldLayout[] {
  const walk = new Restorer(context);
  const agrees = origin?.fields.length === inferred.length;
  return inferred.map((field, i) => walk.restore(field, agrees ? named(field, origin.fields[i]) : undefined));
}

/** The writer's field, if it is the same one: a schema may be older than the file. */
function named(field: FieldLayout, origin: FieldLayout): FieldLayout | undefined {
  return field.name === origin.name ? origin : undefined;
}

class Restorer {
  readonly #context: OriginContext;
  #leaf = 0;

  constructor(context: OriginContext) {
    this.#context = context;
  }

  restore(field: FieldLayout, origin: FieldLayout | undefined): FieldLayout {
    if (field.children.length === 0) return this.#restoreLeaf(field, origin);
    const nested = origin === undefined ? null : this.#restoreNested(field, origin);
    const children = field.children.map((child, i) => {
      const theirs = nested === null ? undefined : origin!.children[i];
      return this.restore(child, theirs !== undefined && field.type.id === "struct" ? named(child, theirs) : theirs);
    });
    const restored = { ...field, type: nested ?? field.type, children };
    return withOriginMetadata(restored, origin);
  }

  #restoreNested(field: FieldLayout, origin: FieldLayout): ArrowType | null {
    const type = restoreNested(field, origin);
    if (type?.id !== "fixed_size_list") return type;
    return type.listSize > 0 && this.#context.canHaveSize(this.#leaf, type.listSize) ? type : field.type;
  }

  #restoreLeaf(field: FieldLayout, origin: FieldLayout | undefined): FieldLayout {
    const index = this.#leaf++;
    const leaf = this.#context.leaves[index];
    const type = restoreType(field.type, origin === undefined ? undefined : plainType(origin.type), leaf.element);
    const restored = { ...field, type, dictionary: this.#restoreDictionary(index, type, origin) };
    return withOriginMetadata(restored, origin);
  }

  #restoreDictionary(leaf: number, type: ArrowType, origin: FieldLayout | undefined): FieldLayout["dictionary"] {
    if (origin === undefined || origin.dictionary === null) return null;
    if (!keepsDictionary(type, this.#context.leaves[leaf].element) || !isSameType(type, plainType(origin.type))) {
      return null;
    }
    const { index, ordered } = origin.dictionary;
    const isNarrow = index.bitWidth < 32;
    const wide = { id: "int", bitWidth: 32, signed: true } as const;
    return { id: 0n, index: isNarrow && this.#context.needsWiderKeys(leaf, index) ? wide : index, ordered };
  }
}

const DICTIONARY_VALUES: ReadonlySet<ArrowType["id"]> = new Set([
  ...["int", "float", "date", "time", "timestamp", "duration", "utf8", "large_utf8", "binary", "large_binary"] as const,
]);

/** Whether the decoder keeps dictionaries of a type; it ends at the others, or makes other values of them. */
function keepsDictionary(type: ArrowType, element: SchemaElement): boolean {
  const isHalf = type.id === "float" && type.bitWidth === 16;
  return DICTIONARY_VALUES.has(type.id) && !isHalf && element.type !== "INT96";
}

/** Views as the plain types that the decoder makes of them. */
function plainType(type: ArrowType): ArrowType {
  switch (type.id) {
    case "utf8_view":
      return { id: "utf8" };
    case "binary_view":
      return { id: "binary" };
    case "list_view":
      return { id: "list" };
    case "large_list_view":
      return { id: "large_list" };
    default:
      return type;
  }
}

/** The writer's nested type, if it has the same children; else null. */
function restoreNested(field: FieldLayout, origin: FieldLayout): ArrowType | null {
  if (origin.dictionary !== null || origin.children.length !== field.children.length) return null;
  const type = plainType(origin.type);
  const isList = type.id === "list" || type.id === "large_list" || type.id === "fixed_size_list";
  return field.type.id === type.id || (field.type.id === "list" && isList) ? type : null;
}

/** The type of a leaf, from Parquet's and the writer's. */
function restoreType(found: ArrowType, origin: ArrowType | undefined, element: SchemaElement): ArrowType {
  // The range of nanoseconds ends in 2262: only a writer that had them cannot have had more.
  if (element.type === "INT96" && found.id === "timestamp") {
    return origin?.id === "timestamp" && origin.unit === "ns" ? found : { ...found, unit: "us" };
  }
  if (isInterval(element)) {
    return { id: "interval", unit: origin?.id === "interval" ? origin.unit : "month_day_nano" };
  }
  if (origin === undefined) return found;
  const isPlain = element.converted_type === undefined && element.logical_type === undefined;
  return isPlain && isUnitLost(found, origin) || isWider(found, origin) ? origin : withTimezone(found, origin);
}

/** Whether a writer stored numbers without their unit, because Parquet has no such unit. */
function isUnitLost(found: ArrowType, origin: ArrowType): boolean {
  if (found.id !== "int" || !found.signed) return false;
  switch (origin.id) {
    case "timestamp":
    case "duration":
      return found.bitWidth === 64;
    case "time":
      return found.bitWidth === origin.bitWidth;
    case "date":
      return found.bitWidth === 64 && origin.unit === "ms";
    default:
      return false;
  }
}

/** Whether a writer had the same values in a type of another width. */
function isWider(found: ArrowType, origin: ArrowType): boolean {
  switch (found.id) {
    case "utf8":
    case "binary":
      return origin.id === `large_${found.id}`;
    case "date":
      return origin.id === "date";
    case "decimal":
      return origin.id === "decimal" && origin.precision === found.precision && origin.scale === found.scale;
    default:
      return false;
  }
}

/** Parquet knows whether a timestamp is in UTC, not whose clock showed it. */
function withTimezone(found: ArrowType, origin: ArrowType): ArrowType {
  if (found.id !== "timestamp" || found.timezone !== "UTC") return found;
  return origin.id === "timestamp" && origin.timezone ? { ...found, timezone: origin.timezone } : found;
}

/** The field with the writer's metadata; an extension type only if what it extends is the same. */
function withOriginMetadata(field: FieldLayout, origin: FieldLayout | undefined): FieldLayout {
  if (origin === undefined || origin.metadata.size === 0) return field;
  const isSame = isSameType(field.type, plainType(origin.type)) &&
    (field.dictionary === null) === (origin.dictionary === null);
  const kept = isSame ? origin.metadata : withoutExtension(origin.metadata);
  return { ...field, metadata: new Map([...kept, ...field.metadata]) };
}

/** Whether two types are the same, children apart. */
export function isSameType(a: ArrowType, b: ArrowType): boolean {
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
}
