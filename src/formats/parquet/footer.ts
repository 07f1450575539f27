/**
 * The end of a Parquet file: its metadata, read again before the file counts as written.
 *
 * @module
 */
import type * as HyParquet from "hyparquet";
import type * as HyParquetMetadata from "hyparquet/src/metadata.js";
import { concatBytes } from "../../bytes.ts";
import { DipcError, LocalError } from "../../errors.ts";
import { textOf } from "../../text.ts";
import { type FileMetadata, Physical, Repetition, type SchemaElement, writeFile } from "./format.ts";
import { ThriftWriter } from "./thrift.ts";

/** What a file begins and ends with. */
export const MAGIC: Uint8Array<ArrayBuffer> = new TextEncoder().encode("PAR1");

/** The metadata with what follows it. */
export function encodeFooter(metadata: FileMetadata): Uint8Array<ArrayBuffer> {
  const out = new ThriftWriter();
  writeFile(out, metadata);
  const bytes = out.finish();
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.byteLength, true);
  return concatBytes([bytes, length, MAGIC]);
}

let footerReader: Promise<typeof HyParquetMetadata> | null = null;

/**
 * The part of hyparquet that reads footers, loaded on first use.
 *
 * @throws {DipcError} `unsupported` if it cannot be loaded
 */
export function loadFooterReader(): Promise<typeof HyParquetMetadata> {
  return footerReader ??= import("hyparquet/src/metadata.js").catch((cause) => {
    footerReader = null;
    const name = "npm:hyparquet@1.33.0";
    throw new LocalError(
      "unsupported",
      `cannot load ${name}, which reads the footer of a Parquet file back: ${textOf(cause)}; unless it is cached ` +
        `(deno cache ${name}), it needs network access`,
      { cause },
    );
  });
}

/**
 * Reads a footer with a reader by others and compares it with what was written.
 *
 * @param footer The end of the file
 * @param metadata What it must say
 * @throws {DipcError} `internal` if it says something else
 */
export async function checkFooter(footer: Uint8Array<ArrayBuffer>, metadata: FileMetadata): Promise<void> {
  const { parquetMetadata } = await loadFooterReader();
  let found: HyParquet.FileMetaData;
  try {
    found = parquetMetadata(footer, { geoparquet: false });
  } catch (cause) {
    throw new DipcError("internal", "cannot finish the Parquet file: its footer cannot be read back", { cause });
  }
  const difference = differenceOf(found, metadata);
  if (difference === null) return;
  throw new DipcError("internal", `cannot finish the Parquet file: its footer was read back with ${difference}`);
}

const PHYSICAL = new Map<string, Physical>([
  ...[["BOOLEAN", Physical.boolean], ["INT32", Physical.int32], ["INT64", Physical.int64]] as const,
  ...[["FLOAT", Physical.float], ["DOUBLE", Physical.double], ["BYTE_ARRAY", Physical.bytes]] as const,
  ["FIXED_LEN_BYTE_ARRAY", Physical.fixed],
]);
const REPETITION = new Map<string, Repetition>([
  ...[["REQUIRED", Repetition.required], ["OPTIONAL", Repetition.optional]] as const,
  ["REPEATED", Repetition.repeated],
]);

/** What is not as it was written; null if everything is. */
function differenceOf(found: HyParquet.FileMetaData, { schema, groups, keyValues }: FileMetadata): string | null {
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  if (Number(found.num_rows) !== rows) return `${found.num_rows} rows, expected ${rows}`;
  const other = schema.findIndex((element, i) => !isSameElement(found.schema[i], element));
  if (other >= 0 || found.schema.length !== schema.length) return `another column ${schema[other]?.name}`;
  const keys = found.key_value_metadata?.length ?? 0;
  if (keys !== keyValues.size) return `${keys} keys, expected ${keyValues.size}`;
  if (found.row_groups.length !== groups.length) {
    return `${found.row_groups.length} row groups, expected ${groups.length}`;
  }
  for (let i = 0; i < groups.length; i++) {
    const { num_rows, columns } = found.row_groups[i], { rows, chunks } = groups[i];
    const isSame = Number(num_rows) === rows && columns.length === chunks.length && chunks.every((chunk, j) => {
      const { meta_data } = columns[j];
      return meta_data !== undefined && PHYSICAL.get(meta_data.type) === chunk.physical &&
        meta_data.path_in_schema.length === chunk.path.length &&
        Number(meta_data.num_values) === chunk.values &&
        Number(meta_data.data_page_offset) === chunk.dataOffset &&
        Number(meta_data.total_compressed_size) === chunk.compressedBytes &&
        Number(meta_data.total_uncompressed_size) === chunk.uncompressedBytes;
    });
    if (!isSame) return `another row group ${i}`;
  }
  return null;
}

function isSameElement(found: HyParquet.SchemaElement | undefined, element: SchemaElement): boolean {
  if (found === undefined) return false;
  const physical = found.type === undefined ? null : PHYSICAL.get(found.type);
  const repetition = found.repetition_type === undefined ? null : REPETITION.get(found.repetition_type);
  const logical = element.logical?.id.toUpperCase();
  return found.name === new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(element.name)) &&
    physical === element.physical && repetition === element.repetition &&
    found.type_length === element.length && found.num_children === element.children &&
    found.logical_type?.type === logical;
}
