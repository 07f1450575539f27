/**
 * How the rows of a Parquet file are decoded piece by piece, so that neither the decoder nor a batch becomes too large.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import { quoted } from "../../ipc/quote.ts";
import type { FileHandle } from "../file_handle.ts";
import type { ChunkInfo, GroupInfo, ParquetFooter } from "./footer.ts";
import type { LeafColumn } from "./node.ts";
import type { GroupIndex } from "./page_index.ts";
import { readPage } from "./pages.ts";

/** Size of a batch whose rows this package chooses, in bytes. */
const BATCH_BYTES = 64 * 2 ** 20;
/** Largest batch, in bytes: the decoder and the engine hold a few copies of one. */
const MAX_BATCH_BYTES = 512 * 2 ** 20;
/** Bytes of a row group, decompressed, up to which it is decoded in one piece. */
const PIECE_BYTES = 256 * 2 ** 20;
/** Largest piece of a row group whose pages are larger than that, in bytes. */
const MAX_PIECE_BYTES = 512 * 2 ** 20;
/** Bytes of a row group, compressed, up to which it is read once for each of its pieces if its pages cannot be distinguished. */
const MAX_WHOLE_BYTES = 2 * 2 ** 30;
/** The same, decompressed, up to which it is decoded in one piece. */
const WHOLE_PIECE_BYTES = 512 * 2 ** 20;
/** Bytes of a dictionary up to which its values are taken for short. */
const SMALL_DICTIONARY_BYTES = 4096;

/** How one row group is decoded. */
export interface GroupPlan {
  /** Index of the row group. */
  readonly group: number;
  readonly rows: number;
  /** Rows of each batch; the last one may have fewer. */
  readonly batchRows: number;
  /** Rows that are decoded at a time: a multiple of `batchRows`, or all. 0 if the pages decide. */
  readonly pieceRows: number;
  /** Estimate of the size of one batch in bytes. */
  readonly batchBytes: number;
}

/** Options of {@linkcode planRun}. */
export interface RunOptions {
  /** Rows of each batch. */
  readonly batchRows: number;
  /** Whether fewer rows may be chosen for the sake of smaller batches. */
  readonly hasFreeBatches: boolean;
  /** Leaves whose dictionaries are kept, by index. */
  readonly keptDictionaries: ReadonlySet<number>;
}

/**
 * Plans all row groups that have rows.
 *
 * @throws {DipcError} `unsupported` if a row group can only be read whole, and is too large for that; `io`, `invalid_data`
 */
export function planRun(file: FileHandle, footer: ParquetFooter, options: RunOptions): GroupPlan[] {
  return footer.groups.flatMap((group, index) => group.rows === 0 ? [] : [planGroup(file, footer, index, options)]);
}

function planGroup(file: FileHandle, footer: ParquetFooter, index: number, options: RunOptions): GroupPlan {
  const group = footer.groups[index];
  const { rows } = group;
  const bytes = group.chunks.reduce((sum, chunk, leaf) => {
    const isDecoded = !options.keptDictionaries.has(leaf);
    return sum + (isDecoded ? decodedBytes(file, chunk, footer.leaves[leaf]) : chunk.uncompressedBytes + 8 * rows);
  }, 0);
  const rowBytes = bytes / rows;
  const most = options.hasFreeBatches ? BATCH_BYTES : MAX_BATCH_BYTES;
  const batchRows = Math.min(options.batchRows, Math.max(1, Math.floor(most / rowBytes)));
  const plan = { group: index, rows, batchRows, batchBytes: rowBytes * Math.min(rows, batchRows) };
  const compressed = group.chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (bytes + compressed <= PIECE_BYTES) return { ...plan, pieceRows: rows };
  const whole = firstWithoutPages(footer, group);
  if (whole === undefined) return { ...plan, pieceRows: 0 };
  if (compressed > MAX_WHOLE_BYTES) throw tooLarge(file, index, whole, compressed);
  return { ...plan, pieceRows: piece(plan, WHOLE_PIECE_BYTES) };
}

/** Some rows of a row group. */
export interface Piece {
  readonly offset: number;
  readonly rows: number;
}

/** The pieces of a row group whose pages are read as a whole, one by one: a damaged file may declare very many. */
export function piecesOf({ rows, pieceRows }: GroupPlan): Generator<Piece, void> {
  return cut(0, rows, pieceRows);
}

/**
 * The pieces of a row group of which only the pages of each are read. A large page is read again for each piece of it, so that
 * larger pages have larger pieces; no piece has rows of two.
 *
 * @param pages What is known of its pages
 */
export function* piecesOfPages(
  plan: GroupPlan,
  pages: Pick<GroupIndex, "largestPage" | "largePageRows">,
): Generator<Piece, void> {
  const bytes = Math.min(MAX_PIECE_BYTES, Math.max(PIECE_BYTES / 2, pages.largestPage / 4));
  const pieceRows = piece(plan, bytes);
  const starts = [0, ...pages.largePageRows.filter((row) => row > 0), plan.rows];
  for (let i = 1; i < starts.length; i++) yield* cut(starts[i - 1], starts[i], pieceRows);
}

function* cut(start: number, end: number, pieceRows: number): Generator<Piece, void> {
  for (let offset = start; offset < end; offset += pieceRows) {
    yield { offset, rows: Math.min(pieceRows, end - offset) };
  }
}

function piece({ rows, batchRows, batchBytes }: Omit<GroupPlan, "pieceRows">, bytes: number): number {
  return Math.min(rows, batchRows * Math.max(1, Math.floor(bytes / Math.max(1, batchBytes))));
}

/** The first leaf whose pages may begin inside a row, so that those of some rows cannot be found. */
function firstWithoutPages(footer: ParquetFooter, group: GroupInfo): LeafColumn | undefined {
  return footer.leaves.find(({ isRepeated }, i) => isRepeated && group.chunks[i].pageIndex === undefined);
}

function tooLarge(file: FileHandle, index: number, leaf: LeafColumn, bytes: number): LocalError {
  return new LocalError(
    "unsupported",
    `cannot read "${file.path}": row group ${index} has ${bytes} bytes, and is read as a whole because its column ` +
      `${
        quoted(leaf.path)
      } holds lists without an index of their pages; write row groups of up to ${MAX_WHOLE_BYTES} ` +
      "bytes, or with a page index",
  );
}

/** Estimate of the size of a chunk's values in Arrow. A dictionary's values may be repeated often. */
function decodedBytes(file: FileHandle, chunk: ChunkInfo, leaf: LeafColumn): number {
  const values = Number(chunk.metadata.num_values);
  const plain = Math.max(chunk.uncompressedBytes, values * valueBytes(leaf));
  const { dictionaryStart, dataStart } = chunk;
  if (dictionaryStart === undefined || leaf.type !== "BYTE_ARRAY") return plain;
  if (dataStart - dictionaryStart <= SMALL_DICTIONARY_BYTES) return plain;
  const page = readPage(file, dictionaryStart, chunk.start + chunk.byteLength);
  return Math.max(plain, values * page.uncompressedBytes / Math.max(1, page.values));
}

/** Bytes of one value in Arrow, without the bytes of texts. */
function valueBytes({ type, element }: LeafColumn): number {
  switch (type) {
    case "BOOLEAN":
      return 1 / 8;
    case "FIXED_LEN_BYTE_ARRAY":
      return element.type_length!;
    case "INT64":
    case "DOUBLE":
    case "INT96":
      return 8;
    default:
      return 4;
  }
}

/** Whether the dictionary of a leaf may have more values in a batch than `capacity`, in any row group. */
export function exceedsKeys(file: FileHandle, groups: readonly GroupInfo[], leaf: number, capacity: number): boolean {
  return groups.some(({ rows, chunks }) => {
    if (rows <= capacity) return false;
    const chunk = chunks[leaf];
    const stats = chunk.metadata.encoding_stats;
    const isPlain = stats === undefined ||
      stats.some(({ page_type, encoding }) =>
        page_type !== "DICTIONARY_PAGE" && encoding !== "PLAIN_DICTIONARY" && encoding !== "RLE_DICTIONARY"
      );
    if (isPlain || chunk.dictionaryStart === undefined) return true;
    return readPage(file, chunk.dictionaryStart, chunk.start + chunk.byteLength).values > capacity;
  });
}
