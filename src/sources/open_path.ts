/**
 * Opens a file whose format is detected from its first bytes.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { arrowFile } from "./arrow_file.ts";
import { arrowStream } from "./arrow_stream.ts";
import type { Dataset } from "./dataset.ts";
import { FollowedFile } from "./followed_file.ts";
import { withName } from "./named.ts";
import { openError, statFile } from "./paths.ts";
import type { SourceOptions } from "./options.ts";
import type { LoadNative } from "./parquet/engine.ts";

/** Options of {@linkcode openPath}. */
export interface OpenPathOptions extends SourceOptions {
  /** Rows of each batch made from a Parquet file; Arrow files and streams are forwarded with the batches they have. */
  batchRows?: number;
  /** What decodes a Parquet file; see `ParquetFileOptions.engine`. Default `"auto"`. */
  engine?: "auto" | "wasm" | "duckdb";
  /** Map Arrow files into memory instead of reading them; see `ArrowFileOptions.map`. */
  map?: boolean | "guarded";
  /**
   * Whether each run reads the file that is at the path by then: one that was renamed over it, or the same one after it was
   * written to, once it is whole. `false` reads the file that is there now, and fails once it is written to. Default true.
   */
  follow?: boolean;
}

/** A kind of file that is recognised. */
export type FileFormat = "arrow-file" | "arrow-stream" | "parquet";

/**
 * Opens an Arrow file (Feather V2 is the same), an Arrow stream or a Parquet file, whatever its name. `"-"` is an Arrow
 * stream on standard input; pipes are read as streams, too. What comes as a stream can be served only once.
 *
 * @example Usage
 * ```ts ignore
 * const trips = await openPath("trips.parquet", { batchRows: 100_000 });
 * ```
 *
 * @param path Path, or `"-"`
 * @param options Pool, limits, batch size, mapping, engine
 * @param native DuckDB, if it may read Parquet files
 * @throws {DipcError} `not_found`, `permission_denied`, `invalid_argument` for a directory, `invalid_data` for an empty or
 * damaged file or one of no known format, `unsupported` for a known other format
 */
export async function openPath(
  path: string,
  options: OpenPathOptions = {},
  native?: LoadNative,
): Promise<Dataset> {
  if (typeof path !== "string") {
    throw new LocalError("invalid_argument", `cannot open ${typeof path}: it is not a path; give a string`);
  }
  if (path === "-") return await arrowStream(Deno.stdin, { ...options, name: "standard input" });
  if (!statFile(path).isFile) {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path);
    } catch (cause) {
      throw openError(path, cause);
    }
    return await arrowStream(file, { ...options, name: `"${path}"` });
  }
  const open = (path: string, options: OpenPathOptions): Promise<Dataset> => openFile(path, options, native);
  return options.follow === false ? await open(path, options) : await FollowedFile.open(path, options, open);
}

async function openFile(path: string, options: OpenPathOptions, native?: LoadNative): Promise<Dataset> {
  try {
    return await openFormat(path, options, native);
  } catch (error) {
    throw withName(`"${path}"`, error);
  }
}

/**
 * The format of a regular file.
 *
 * @throws {DipcError} `not_found`, `permission_denied`, `invalid_data`, `unsupported`
 */
export function formatOfFile(path: string): FileFormat {
  return detectFormat(readHead(path), path);
}

async function openFormat(path: string, options: OpenPathOptions, native?: LoadNative): Promise<Dataset> {
  switch (formatOfFile(path)) {
    case "arrow-file":
      return await arrowFile(path, options);
    case "arrow-stream":
      return await arrowStream(path, options);
    case "parquet": {
      // A heavy dependency: loaded only when it is needed.
      const { parquetFile } = await import("./parquet.ts");
      return await parquetFile(path, options, native);
    }
  }
}

/** Bytes that distinguish all formats. */
const HEAD_BYTES = 16;

function readHead(path: string): Uint8Array {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
  } catch (cause) {
    throw openError(path, cause);
  }
  using _ = file;
  const head = new Uint8Array(HEAD_BYTES);
  let length = 0;
  while (length < HEAD_BYTES) {
    const got = file.readSync(head.subarray(length));
    if (got === null) break;
    length += got;
  }
  return head.subarray(0, length);
}

/** First bytes of common formats that are not supported, and what to do about each. */
const OTHERS: readonly [prefix: string, what: string][] = [
  ["FEA1", "Feather V1, which is not supported; rewrite it as Feather V2 (an Arrow file)"],
  ["PARE", "an encrypted Parquet file, which is not supported"],
  ["\x1f\x8b", "compressed with gzip; unpack it first"],
  ["\x28\xb5\x2f\xfd", "compressed with Zstandard; unpack it first"],
  ["PK\x03\x04", "a ZIP archive; unpack it first"],
  ["ORC", "an ORC file, which is not supported"],
  ["Obj\x01", "an Avro file, which is not supported"],
];

/**
 * Detects the format of a file from its first bytes.
 *
 * @param head The first 16 bytes, or all if there are fewer
 * @param path Path of the file, for messages
 * @throws {DipcError} `invalid_data` if the file is empty or of no known format, `unsupported` for a known other one
 */
function detectFormat(head: Uint8Array, path: string): FileFormat {
  if (head.byteLength === 0) {
    throw new LocalError(
      "invalid_data",
      `cannot open "${path}": it is empty, expected an Arrow file, an Arrow stream or a Parquet file`,
    );
  }
  const text = String.fromCharCode(...head);
  if (text.startsWith("ARROW1")) return "arrow-file";
  if (text.startsWith("PAR1")) return "parquet";
  for (const [prefix, what] of OTHERS) {
    if (text.startsWith(prefix)) throw new LocalError("unsupported", `cannot open "${path}": it is ${what}`);
  }
  if (looksLikeStream(head)) return "arrow-stream";
  throw new LocalError(
    "invalid_data",
    `cannot open "${path}": it is of no known format; give an Arrow, Feather or Parquet ` +
      "file (CSV, JSON and text are not supported)",
  );
}

/** The continuation marker, or a length of metadata as written by older writers, followed by the start of a flatbuffer. */
function looksLikeStream(head: Uint8Array): boolean {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.byteLength >= 4 && view.getInt32(0, true) === -1) return true;
  if (head.byteLength < 8) return false;
  const length = view.getInt32(0, true), root = view.getUint32(4, true);
  return length >= 16 && length % 4 === 0 && length < 2 ** 28 && root >= 4 && root % 2 === 0 && root < length;
}
