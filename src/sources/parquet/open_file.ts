/**
 * A Parquet file as the decoder sees it: with a footer that says what its columns are to become.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import { concatBytes } from "../../bytes.ts";
import { DipcError, LocalError } from "../../errors.ts";
import { HeaderReader } from "../../ipc/header.ts";
import type { FieldLayout, SchemaLayout } from "../../ipc/layout.ts";
import { textOf } from "../../text.ts";
import { FileBlob } from "../file_blob.ts";
import type { FileHandle } from "../file_handle.ts";
import { loadParquetWasm } from "../parquet_wasm.ts";
import { encodeFooter } from "./decoder_footer.ts";
import { doubtOf, fixedLists, fullLists } from "./fixed_lists.ts";
import { duckDbObstacle } from "./duckdb_obstacle.ts";
import { type ParquetFooter, readFooter } from "./footer.ts";
import type { BatchChoice, ParquetInfo } from "./messages.ts";
import { type GroupIndex, indexPages } from "./page_index.ts";
import { exceedsKeys, type GroupPlan, planRun } from "./run_plan.ts";
import { planSchema, type SchemaPlan, servedSchema } from "./schema_plan.ts";
import { splitStream } from "./split.ts";

/** Bytes of batches that are requested ahead, and most batches. */
const AHEAD_BYTES = 256 * 2 ** 20, MAX_AHEAD = 4;

/** What the decoder has opened, and where its reads fail. */
export interface DecoderFile {
  readonly blob: FileBlob;
  readonly file: ParquetWasm.ParquetFile;
}

/** One row group in the decoder. */
export interface IndexedGroup extends DecoderFile, Pick<GroupIndex, "largestPage" | "largePageRows"> {}

/** A file that is ready to be decoded. */
export class OpenParquet {
  /** The file. */
  readonly handle: FileHandle;
  /** All its row groups in the decoder. */
  readonly whole: DecoderFile;
  /** How each row group is decoded. */
  readonly plans: readonly GroupPlan[];
  /** What its reader has to know. */
  readonly info: ParquetInfo;
  /** What may be wrong besides the file if the decoder crashes, as it follows the message. */
  readonly doubt: string;
  readonly #parquet: typeof ParquetWasm;
  readonly #footer: ParquetFooter;
  readonly #hint: string | undefined;

  private constructor(
    parts: {
      handle: FileHandle;
      whole: DecoderFile;
      plans: readonly GroupPlan[];
      info: ParquetInfo;
      doubt: string;
      parquet: typeof ParquetWasm;
      footer: ParquetFooter;
      hint: string | undefined;
    },
  ) {
    this.handle = parts.handle;
    this.whole = parts.whole;
    this.plans = parts.plans;
    this.info = parts.info;
    this.doubt = parts.doubt;
    this.#parquet = parts.parquet;
    this.#footer = parts.footer;
    this.#hint = parts.hint;
  }

  /** Opens a file. @throws {DipcError} `invalid_data`, `unsupported`, `io`, `limit_exceeded`, `permission_denied` */
  static async open(handle: FileHandle, choice: BatchChoice): Promise<OpenParquet> {
    const footer = readFooter(handle);
    const parquet = await loadParquetWasm();
    const { whole, plan, decoded, schema } = await openPlanned(parquet, handle, footer);
    const keptDictionaries = dictionaryLeaves(plan.columns);
    const plans = planRun(handle, footer, { ...choice, keptDictionaries });
    const largest = plans.reduce((most, { batchBytes }) => Math.max(most, batchBytes), 1);
    const info: ParquetInfo = {
      schema,
      decoded,
      groups: plans.map(({ rows, batchRows }) => ({ rows, batchRows })),
      fixedLists: fixedLists(plan.columns, footer.groups, footer.leaves),
      obstacle: duckDbObstacle(footer),
      followsPages: plans.some(({ pieceRows }) => pieceRows === 0),
      ahead: Math.min(MAX_AHEAD, Math.max(1, Math.floor(AHEAD_BYTES / largest))),
    };
    const doubt = doubtOf(plan.columns);
    return new OpenParquet({ handle, whole, plans, info, doubt, parquet, footer, hint: plan.hint });
  }

  /** Bytes of the decoder's memory. */
  get memoryBytes(): number {
    return (this.#parquet.wasmMemory() as WebAssembly.Memory).buffer.byteLength;
  }

  /** One row group by itself, with an index of its pages. The caller frees it. */
  async indexed(group: number): Promise<IndexedGroup> {
    const { start, leaves, groups } = this.#footer;
    const { bytes, places, ...pages } = indexPages(this.handle, groups[group], leaves, start);
    const view = { groups: [groups[group]], pageIndexes: places, arrowSchema: this.#hint };
    const tail = concatBytes([bytes, encodeFooter(this.#footer, view)]);
    const opened = await openInDecoder(this.#parquet, new FileBlob(this.handle, { start, bytes: tail }));
    return { ...opened, ...pages };
  }
}

interface PlannedFile {
  readonly whole: DecoderFile;
  readonly plan: SchemaPlan;
  /** Metadata of the schema messages of the decoder and of the server. */
  readonly decoded: Uint8Array<ArrayBuffer>;
  readonly schema: Uint8Array<ArrayBuffer>;
}

/** Opens a file twice if the decoder needs an Arrow schema, which follows from what it finds without one. */
async function openPlanned(
  parquet: typeof ParquetWasm,
  handle: FileHandle,
  footer: ParquetFooter,
): Promise<PlannedFile> {
  const open = (arrowSchema?: string): Promise<DecoderFile> =>
    openInDecoder(
      parquet,
      new FileBlob(handle, { start: footer.start, bytes: encodeFooter(footer, { arrowSchema }) }),
    );
  const first = await open();
  const found = schemaOf(first.file, handle.path);
  const needsWiderKeys = (leaf: number, { bitWidth, signed }: { bitWidth: number; signed: boolean }): boolean =>
    exceedsKeys(handle, footer.groups, leaf, 2 ** (signed ? bitWidth - 1 : bitWidth));
  const canHaveSize = (leaf: number, size: number): boolean =>
    fullLists(footer.groups, leaf, footer.leaves[leaf], size) !== null;
  // The writer's schema is left out if the decoder does not follow it.
  for (const usesOrigin of [true, false]) {
    const plan = planSchema(footer, found.layout.fields, { needsWiderKeys, canHaveSize, usesOrigin });
    const whole = plan.hint === undefined ? first : await open(plan.hint).catch(() => null);
    if (whole === null) continue;
    const decoded = whole === first ? found : schemaOf(whole.file, handle.path);
    const schema = servedSchema(plan, decoded.layout.fields);
    if (schema !== null) {
      if (whole !== first) first.file.free();
      return { whole, plan, decoded: decoded.metadata, schema };
    }
    if (whole !== first) whole.file.free();
  }
  throw new LocalError(
    "unsupported",
    `cannot read "${handle.path}": the decoder does not read its columns as their types say`,
  );
}

async function openInDecoder(parquet: typeof ParquetWasm, blob: FileBlob): Promise<DecoderFile> {
  try {
    return { blob, file: await parquet.ParquetFile.fromFile(blob) };
  } catch (cause) {
    const failure = blob.takeFailure();
    if (failure !== null) throw failure;
    // A crash is not about the schema.
    if (cause instanceof WebAssembly.RuntimeError || cause instanceof DipcError) throw cause;
    throw new LocalError(
      "unsupported",
      `cannot read "${blob.path}": its schema is not supported: ${textOf(cause)}; write it with other types`,
      { cause },
    );
  }
}

interface DecoderSchema {
  readonly metadata: Uint8Array<ArrayBuffer>;
  readonly layout: SchemaLayout;
}

function schemaOf(file: ParquetWasm.ParquetFile, path: string): DecoderSchema {
  const bytes = file.schema().intoIPCStream() as Uint8Array<ArrayBuffer>;
  const [{ metadata }] = splitStream(bytes, path);
  // The limits of the reader apply to what is served.
  const reader = new HeaderReader({ maxMetadataBytes: metadata.byteLength });
  return { metadata: metadata.slice(), layout: reader.read(metadata).layout! };
}

/** Indices of the leaves that stay encoded as dictionaries. */
function dictionaryLeaves(columns: readonly FieldLayout[]): Set<number> {
  const kept = new Set<number>();
  let next = 0;
  const visit = ({ dictionary, children }: FieldLayout): void => {
    if (children.length > 0) return children.forEach(visit);
    if (dictionary !== null) kept.add(next);
    next++;
  };
  columns.forEach(visit);
  return kept;
}
