/**
 * What Parquet says about columns beyond Arrow's own types, as Arrow's extension types: UUID, JSON, variant, geometry.
 *
 * @module
 */
import type { FileMetaData, LogicalType, SchemaElement } from "hyparquet";
import type { FieldLayout } from "../../ipc/layout.ts";
import type { LeafColumn, ParquetNode } from "./node.ts";

const NAME = "ARROW:extension:name", METADATA = "ARROW:extension:metadata";

/** Metadata of a field without its extension type. */
export function withoutExtension(metadata: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...metadata].filter(([key]) => key !== NAME && key !== METADATA));
}

/** An extension type. */
interface Extension {
  readonly name: string;
  readonly metadata: string;
}

/**
 * Adds the extension types to the columns; one that the writer's Arrow schema names stays.
 *
 * @param columns Columns in Arrow's types, with as many leaves as the file
 * @param root Root of the file's schema
 * @param leaves Leaves of the file
 * @param metadata Metadata of the file, for coordinate systems
 */
export function annotate(
  columns: readonly FieldLayout[],
  root: ParquetNode,
  leaves: readonly LeafColumn[],
  metadata: FileMetaData["key_value_metadata"],
): FieldLayout[] {
  const geo = geoColumns(metadata);
  const ofLeaves = leaves.map(({ element, names }) =>
    leafExtension(element, metadata) ?? (names.length === 1 ? geoParquet(element, geo[names[0]]) : null)
  );
  const variants = variantRanges(root);
  let next = 0;
  const visit = (field: FieldLayout): FieldLayout => {
    const first = next;
    if (field.children.length === 0) return withExtension(field, ofLeaves[next++]);
    const children = field.children.map(visit);
    const isVariant = field.type.id === "struct" && variants.get(first) === next - first;
    return withExtension({ ...field, children }, isVariant ? { name: "arrow.parquet.variant", metadata: "" } : null);
  };
  return columns.map(visit);
}

function withExtension(field: FieldLayout, extension: Extension | null): FieldLayout {
  if (extension === null || field.metadata.has(NAME)) return field;
  const metadata = new Map([...field.metadata, [NAME, extension.name], [METADATA, extension.metadata]]);
  return { ...field, metadata };
}

/** First leaf and number of leaves of each group that holds variants. */
function variantRanges(root: ParquetNode): Map<number, number> {
  const ranges = new Map<number, number>();
  let next = 0;
  const visit = ({ element, children }: ParquetNode): void => {
    const first = next;
    if (element.type !== undefined) next++;
    children.forEach(visit);
    if (element.logical_type?.type === "VARIANT") ranges.set(first, next - first);
  };
  root.children.forEach(visit);
  return ranges;
}

function leafExtension(element: SchemaElement, metadata: FileMetaData["key_value_metadata"]): Extension | null {
  const { logical_type: logical, converted_type: converted } = element;
  if (logical?.type === "UUID") return { name: "arrow.uuid", metadata: "" };
  if (logical?.type === "JSON" || converted === "JSON") return { name: "arrow.json", metadata: "" };
  if (logical?.type === "GEOMETRY" || logical?.type === "GEOGRAPHY") return geometry(logical, metadata);
  return null;
}

function geometry(
  logical: Extract<LogicalType, { crs?: string }>,
  metadata: FileMetaData["key_value_metadata"],
): Extension {
  const edges = logical.type === "GEOGRAPHY" ? { edges: (logical.algorithm ?? "SPHERICAL").toLowerCase() } : {};
  return wkb({ ...coordinates(logical.crs ?? "", metadata), ...edges });
}

function wkb(parameters: object): Extension {
  return { name: "geoarrow.wkb", metadata: JSON.stringify(parameters) };
}

const DEFAULT_CRS = { crs: "OGC:CRS84", crs_type: "authority_code" };

/** GeoArrow's name of a coordinate system, from Parquet's. */
function coordinates(crs: string, metadata: FileMetaData["key_value_metadata"]): object {
  if (crs === "") return DEFAULT_CRS;
  if (crs.startsWith("srid:")) return { crs: crs.slice(5), crs_type: "srid" };
  if (crs.startsWith("projjson:")) {
    const value = metadata?.find(({ key }) => key === crs.slice(9))?.value;
    if (value !== undefined) return { crs: parsed(value), crs_type: "projjson" };
  }
  return { crs: parsed(crs) };
}

/** The value of JSON text; other text as it is. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What the key `geo` of GeoParquet says about one column. */
interface GeoColumn {
  readonly encoding?: unknown;
  readonly edges?: unknown;
  readonly crs?: unknown;
}

function geoColumns(metadata: FileMetaData["key_value_metadata"]): Readonly<Record<string, GeoColumn | undefined>> {
  const geo = parsed(metadata?.find(({ key }) => key === "geo")?.value ?? "") as { columns?: unknown } | null;
  const columns = typeof geo === "object" && geo !== null ? geo.columns : undefined;
  return typeof columns === "object" && columns !== null ? Object.assign(Object.create(null), columns) : {};
}

function geoParquet(element: SchemaElement, column: GeoColumn | undefined): Extension | null {
  const isPlain = element.type === "BYTE_ARRAY" && element.logical_type === undefined &&
    element.converted_type === undefined;
  if (!isPlain || typeof column !== "object" || column?.encoding !== "WKB") return null;
  const edges = column.edges === "spherical" ? { edges: "spherical" } : {};
  // Absent means the default, null that there is none.
  const crs = column.crs === undefined
    ? DEFAULT_CRS
    : column.crs === null
    ? {}
    : { crs: column.crs, crs_type: "projjson" };
  return wkb({ ...crs, ...edges });
}
