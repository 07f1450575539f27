/**
 * How the columns that DuckDB reads from a Parquet file become those that are served: without a change of a value, or not at all.
 *
 * @module
 */
import type { ArrowType, FieldLayout } from "../../ipc/layout.ts";

/**
 * Whether DuckDB's own conversion gives the column as it is served. Names, time zones and nullability are those of the served schema.
 *
 * @param found What DuckDB makes of it
 * @param field What it is served as
 */
export function isConverted(found: FieldLayout, field: FieldLayout): boolean {
  if (found.dictionary !== null || field.dictionary !== null) return false;
  if (found.children.length !== field.children.length || !isSameLayout(found.type, field.type)) return false;
  return found.children.every((child, i) => isConverted(child, field.children[i]));
}

function isSameLayout(found: ArrowType, type: ArrowType): boolean {
  if (found.id !== type.id) return false;
  if (found.id === "timestamp" && type.id === "timestamp") {
    return found.unit === type.unit && (found.timezone === null) === (type.timezone === null);
  }
  if (found.id === "map") return true;
  return CONVERTED.has(found.id) && JSON.stringify(Object.entries(found)) === JSON.stringify(Object.entries(type));
}

/** Types whose values DuckDB does not change. */
const CONVERTED: ReadonlySet<ArrowType["id"]> = new Set([
  ...["bool", "int", "float", "decimal", "date", "time", "timestamp", "utf8", "binary", "list", "struct"] as const,
]);
