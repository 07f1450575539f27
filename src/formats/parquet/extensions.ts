/**
 * Arrow's extension types that Parquet has an annotation for.
 *
 * @module
 */
import type { FieldLayout } from "../../ipc/layout.ts";
import { Converted, type LogicalType } from "./format.ts";
import type { Order } from "./statistics.ts";

/** What is said of a column besides its physical type. */
interface Annotation {
  readonly logical: LogicalType;
  readonly converted?: number;
  readonly order?: Order;
}

/** Names of the algorithms that edges on a sphere follow, by Parquet's numbers. */
const ALGORITHMS = ["spherical", "vincenty", "thomas", "andoyer", "karney"];

/**
 * The annotation of a field of one of these extension types, whose storage must be what the extension says; else null.
 *
 * @param field A field without children
 */
export function annotationOf({ type, metadata }: FieldLayout): Annotation | null {
  const isText = type.id === "utf8" || type.id === "large_utf8" || type.id === "utf8_view";
  const isBinary = type.id === "binary" || type.id === "large_binary" || type.id === "binary_view";
  switch (metadata.get("ARROW:extension:name")) {
    case "arrow.uuid":
      return type.id === "fixed_size_binary" && type.byteWidth === 16 ? { logical: { id: "uuid" } } : null;
    case "arrow.json":
      return isText ? { logical: { id: "json" }, converted: Converted.json } : null;
    case "geoarrow.wkb":
      return isBinary ? geometryOf(metadata.get("ARROW:extension:metadata") ?? "") : null;
    default:
      return null;
  }
}

/** Shapes have no order. Edges that are not straight make them shapes on a globe. */
function geometryOf(text: string): Annotation | null {
  let parameters: { crs?: unknown; edges?: unknown };
  try {
    parameters = text === "" ? {} : JSON.parse(text) ?? {};
  } catch {
    return null;
  }
  const { crs, edges } = parameters;
  const named = crs === undefined || crs === null ? null : typeof crs === "string" ? crs : JSON.stringify(crs);
  const order = "none";
  if (edges === undefined || edges === null || edges === "planar") {
    return { logical: { id: "geometry", crs: named }, order };
  }
  const algorithm = ALGORITHMS.indexOf(String(edges));
  return algorithm < 0 ? null : { logical: { id: "geography", crs: named, algorithm }, order };
}
