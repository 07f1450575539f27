/**
 * What DuckDB is known to read otherwise than parquet-wasm, or not at all, as far as the footer of a file tells.
 *
 * @module
 */
import { quoted } from "../../ipc/quote.ts";
import type { ParquetFooter } from "./footer.ts";
import type { LeafColumn, ParquetNode } from "./node.ts";

/** Compressions that DuckDB reads. */
const CODECS: ReadonlySet<string> = new Set(["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4_RAW"]);

/** @returns What it is, after "it", such as "does not read …"; `null` if there is nothing */
export function duckDbObstacle({ root, leaves, groups, metadata }: ParquetFooter): string | null {
  // Of years that nanoseconds do not reach it makes other ones than parquet-wasm.
  const old = leaves.find(({ type }) => type === "INT96");
  if (old !== undefined) return `would read INT96, as in column ${quoted(old.path)}, in another range of years`;
  const special = root.children.find(isSpecial);
  if (special !== undefined) return `has a type of its own for column ${quoted(special.element.name)}`;
  const isGeoParquet = metadata.key_value_metadata?.some(({ key }) => key === "geo") ?? false;
  if (isGeoParquet) return "has a type of its own for the geometries of GeoParquet";
  const loose = root.children.find(hasLooseList);
  if (loose !== undefined) {
    return `may read column ${quoted(loose.element.name)} otherwise, which repeats without being a list`;
  }
  return codingObstacle(leaves, groups);
}

function codingObstacle(leaves: readonly LeafColumn[], groups: ParquetFooter["groups"]): string | null {
  for (const { chunks } of groups) {
    for (const [i, { metadata: { codec, encodings, type } }] of chunks.entries()) {
      const column = quoted(leaves[i].path);
      if (!CODECS.has(codec)) return `does not read ${codec}, with which column ${column} is compressed`;
      if (type === "FIXED_LEN_BYTE_ARRAY" && encodings.includes("BYTE_STREAM_SPLIT")) {
        return `does not read BYTE_STREAM_SPLIT of bytes, as in column ${column}`;
      }
    }
  }
  return null;
}

/** Whether a geometry or a variant is in a column. */
function isSpecial({ element, children }: ParquetNode): boolean {
  return SPECIAL.has(element.logical_type?.type ?? "") || children.some(isSpecial);
}

const SPECIAL: ReadonlySet<string> = new Set(["GEOMETRY", "GEOGRAPHY", "VARIANT"]);

/** Whether something repeats outside of the groups LIST and MAP, as older writers have it. */
function hasLooseList({ element, children }: ParquetNode): boolean {
  if (element.repetition_type === "REPEATED") return true;
  const { converted_type: converted, logical_type: logical } = element;
  const isList = logical?.type === "LIST" || converted === "LIST";
  const isMap = logical?.type === "MAP" || converted === "MAP" || converted === "MAP_KEY_VALUE";
  if (!isList && !isMap) return children.some(hasLooseList);
  const [repeated, ...more] = children;
  const count = repeated?.children.length ?? 0;
  if (more.length > 0 || repeated.element.repetition_type !== "REPEATED" || count !== (isMap ? 2 : 1)) return true;
  return repeated.children.some(hasLooseList);
}
