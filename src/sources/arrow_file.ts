/**
 * Arrow IPC files (and Feather V2, which is the same) as datasets, without decoding columns.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { FieldLayout, SchemaLayout } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import {
  FILE_HEAD_BYTES,
  FILE_MAGIC,
  FILE_TAIL_BYTES,
  type FileBlock,
  footerLength,
  readFooter,
} from "../ipc/split_file.ts";
import { type ReaderLimits, readerLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { BlockReader } from "./block_reader.ts";
import type { Dataset, MessageStream } from "./dataset.ts";
import { FileHandle, type FileStamp } from "./file_handle.ts";
import { GuardedMap } from "./file_guard.ts";
import { FileMap } from "./file_map.ts";
import type { SourceOptions } from "./options.ts";

/** Options of {@linkcode arrowFile}. */
export interface ArrowFileOptions extends SourceOptions {
  /**
   * Map the file into memory instead of reading it, which saves a copy.
   *
   * `"guarded"` holds a lease on the file (see fcntl(2)) while a stream runs: a process that opens the file for writing
   * waits, up to about 0.1 s, until the map is dropped, and the stream continues by reading. If no lease can be taken (the
   * file is open for writing, it belongs to another user, the file system has no leases), the file is read. The program
   * itself must not write to the file with synchronous calls meanwhile: it would wait for itself.
   *
   * `true` maps without a lease: when a mapped file is truncated, the system kills this process (SIGBUS), which nothing
   * can prevent.
   *
   * @default {false}
   */
  map?: boolean | "guarded";
}

/** Up to this many batches, their rows are counted when the file is opened. */
const COUNT_ROWS_BATCHES = 4096;
/** Metadata version V5, for a file without messages that does not say. */
const NEWEST_VERSION = 4;

/**
 * An Arrow file as a dataset that can be served many times. Batches are forwarded as they lie in the file.
 *
 * Each message is read into a recycled block, so that memory does not grow with the file. A file that is truncated or
 * written to meanwhile fails the streams that run with `io`.
 *
 * @example Usage
 * ```ts ignore
 * const trips = await arrowFile("trips.arrow");
 * await using server = await serve({ datasets: { trips } });
 * ```
 *
 * @param path Path of the file
 * @param options Pool, limits, and whether to map
 * @throws {DipcError} `not_found`, `permission_denied`, `io`, `invalid_data`, `limit_exceeded`
 */
// deno-lint-ignore require-await -- all sources return promises, and failures are rejections
export async function arrowFile(path: string, options: ArrowFileOptions = {}): Promise<Dataset> {
  const file = FileHandle.open(path);
  try {
    return new ArrowFileDataset(file, options.pool ?? hostPool(), readerLimits(options.limits), options.map ?? false);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** What another isolate of this process needs to open the file of a dataset. */
export interface ArrowFileShare {
  /** Descriptor of the file, open for as long as the dataset is. */
  readonly fd: number;
  /** Path, for messages. */
  readonly path: string;
  /** Status that the file had when it was opened first. */
  readonly stamp: FileStamp;
  readonly limits: ReaderLimits;
  readonly map: boolean | "guarded";
}

/**
 * How another isolate opens the file of a dataset; `null` if the dataset is not an Arrow file.
 *
 * @param dataset Any dataset
 * @throws {DipcError} `closed`
 */
export function arrowFileShare(dataset: Dataset): ArrowFileShare | null {
  return dataset instanceof ArrowFileDataset ? dataset._share() : null;
}

/**
 * Opens the file of a dataset of another isolate once more, even if its path names another file by now.
 *
 * @param share Of {@linkcode arrowFileShare}
 * @throws {DipcError} `io` if the file has changed since it was opened first, `invalid_data`
 */
export function openSharedArrowFile(share: ArrowFileShare): Dataset {
  const file = FileHandle.reopen(share.fd, share.path, share.stamp);
  try {
    file.checkUnchanged();
    return new ArrowFileDataset(file, hostPool(), share.limits, share.map);
  } catch (error) {
    file.close();
    throw error;
  }
}

class ArrowFileDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly footerMetadata: ReadonlyMap<string, string>;
  readonly rows: number | undefined;
  readonly batches: number;
  readonly bodyBytes: number;
  readonly largestBodyBytes: number;
  readonly readOnce = false;
  readonly #file: FileHandle;
  readonly #map: MapSource | null;
  readonly #blocks: FileBlock[];
  readonly #dictionaries: number;
  readonly #pool: Pool;
  readonly #limits: ReaderLimits;
  readonly #mapping: boolean | "guarded";

  constructor(file: FileHandle, pool: Pool, limits: ReaderLimits, map: boolean | "guarded") {
    this.#mapping = map;
    this.#file = file;
    this.#pool = pool;
    this.#limits = limits;
    const name = `"${file.path}"`;
    checkHead(file, name);
    const footerBytes = footerLength(file.readBytes(file.size - FILE_TAIL_BYTES, FILE_TAIL_BYTES), file.size, name);
    const footer = readFooter(
      file.readBytes(file.size - FILE_TAIL_BYTES - footerBytes, footerBytes),
      file.size,
      name,
    );
    this.footerMetadata = footer.metadata;
    const headers = new HeaderReader(limits);
    const messages = new BlockReader(file, headers, pool, limits);
    const [first = null] = [...footer.dictionaries, ...footer.batches];
    const version = footer.version ?? (first === null ? NEWEST_VERSION : messages.version(first));
    const schemaMessage = footer.schemaMessage(version);
    if (schemaMessage.byteLength > limits.maxMetadataBytes) {
      throw new LocalError(
        "limit_exceeded",
        `cannot read ${name}: its schema has ${schemaMessage.byteLength} bytes, the limit is ` +
          `${limits.maxMetadataBytes} (maxMetadataBytes)`,
      );
    }
    const schema = headers.read(schemaMessage);
    this.schema = schema;
    const dictionaries = orderDictionaries(footer.dictionaries, messages, schema.layout, name);
    this.#dictionaries = dictionaries.length;
    this.#blocks = [...dictionaries, ...footer.batches];
    this.batches = footer.batches.length;
    this.bodyBytes = this.#blocks.reduce((sum, block) => sum + block.bodyLength, 0);
    this.largestBodyBytes = this.#blocks.reduce((most, block) => Math.max(most, block.bodyLength), 0);
    if (this.batches <= COUNT_ROWS_BATCHES) {
      let rows = 0;
      for (const block of footer.batches) rows += messages.header(block, "batch").rows;
      this.rows = rows;
    }
    if (map === "guarded") this.#map = new GuardedMap(file);
    else this.#map = map ? new WholeMap(file) : null;
  }

  open(options: { signal?: AbortSignal } = {}): MessageStream {
    this.#file.checkUnchanged();
    const headers = new HeaderReader(this.#limits);
    headers.read(this.schema.bytes);
    const messages = new BlockReader(this.#file, headers, this.#pool, this.#limits);
    return new FileRun(messages, this.#map, this.#blocks, this.#dictionaries, options.signal);
  }

  close(): void {
    this.#map?.close();
    this.#file.close();
  }

  /** @ignore */
  _share(): ArrowFileShare {
    const { fd, path, stamp } = this.#file;
    return { fd, path, stamp, limits: this.#limits, map: this.#mapping };
  }
}

/** A map that runs use while there is one. */
interface MapSource {
  readonly map: FileMap | null;
  enter(): void;
  leave(): void;
  close(): void;
}

/** A map without a guard, kept from the start to the end. */
class WholeMap implements MapSource {
  readonly map: FileMap;
  constructor(file: FileHandle) {
    this.map = new FileMap(file);
  }
  enter(): void {}
  leave(): void {}
  close(): void {
    this.map.close();
  }
}

/** One run through a file. */
class FileRun implements MessageStream {
  readonly #messages: BlockReader;
  readonly #map: MapSource | null;
  readonly #blocks: FileBlock[];
  readonly #dictionaries: number;
  readonly #signal: AbortSignal | undefined;
  #index = 0;
  #isClosed = false;

  constructor(
    messages: BlockReader,
    map: MapSource | null,
    blocks: FileBlock[],
    dictionaries: number,
    signal: AbortSignal | undefined,
  ) {
    this.#messages = messages;
    this.#map = map;
    this.#blocks = blocks;
    this.#dictionaries = dictionaries;
    this.#signal = signal;
    map?.enter();
  }

  next(): IpcMessage | null {
    if (this.#isClosed || this.#signal?.aborted) {
      throw new LocalError("closed", "cannot read the file: the run through it was closed", {
        cause: this.#signal?.reason,
      });
    }
    const index = this.#index;
    if (index === this.#blocks.length) return null;
    // Advances first: after an error the run is over.
    this.#index = this.#blocks.length;
    const kind = index < this.#dictionaries ? "dictionary" : "batch";
    const map = this.#map === null ? null : this.#map.map;
    const message = map === null
      ? this.#messages.read(this.#blocks[index], kind)
      : this.#messages.readMapped(this.#blocks[index], kind, map);
    this.#index = index + 1;
    return message;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#map?.leave();
  }
}

function checkHead(file: FileHandle, name: string): void {
  if (file.size === 0) throw new LocalError("invalid_data", `cannot read ${name}: it is empty, expected an Arrow file`);
  const head = file.readBytes(0, Math.min(file.size, FILE_HEAD_BYTES));
  if (!FILE_MAGIC.every((byte, i) => head[i] === byte)) {
    throw new LocalError(
      "invalid_data",
      `cannot read ${name}: it does not start with "ARROW1", so it is not an Arrow file`,
    );
  }
  if (file.size < FILE_HEAD_BYTES + FILE_TAIL_BYTES) {
    throw new LocalError(
      "invalid_data",
      `cannot read ${name}: it has ${file.size} bytes, too few for an Arrow file, so it was cut short`,
    );
  }
}

/**
 * Dictionaries in the order in which they can be read from a stream, in which each must be complete before another one
 * refers to it: the footer's order, but those inside others first.
 */
function orderDictionaries(
  blocks: FileBlock[],
  messages: BlockReader,
  layout: SchemaLayout,
  name: string,
): FileBlock[] {
  const seen = new Set<bigint>();
  const ids = blocks.map((block) => {
    const { dictionaryId, isDelta } = messages.header(block, "dictionary");
    if (!isDelta && seen.has(dictionaryId)) {
      throw new LocalError(
        "invalid_data",
        `cannot read ${name}: it replaces dictionary ${dictionaryId}, which only an Arrow stream may do`,
      );
    }
    seen.add(dictionaryId);
    return dictionaryId;
  });
  const inner = new Map(
    ids.map((id) => [id, new Set(dictionariesIn(layout.dictionaries.get(id)?.field.children ?? []))]),
  );
  const inOrder = ids.every((id, i) =>
    inner.get(id)!.size === 0 || !ids.slice(i + 1).some((later) => inner.get(id)!.has(later))
  );
  if (inOrder) return blocks;
  return ids.map((id, i) => ({ block: blocks[i], depth: dictionaryDepth(id, layout, new Set()) }))
    .sort((a, b) => a.depth - b.depth).map(({ block }) => block);
}

/** How deep the dictionaries inside this one are nested. */
function dictionaryDepth(id: bigint, layout: SchemaLayout, above: Set<bigint>): number {
  const field = layout.dictionaries.get(id)?.field;
  // A dictionary that contains itself has no right order; the verifier or the reader reports it.
  if (field === undefined || above.has(id)) return 0;
  above.add(id);
  let depth = 0;
  for (const inner of dictionariesIn(field.children)) {
    depth = Math.max(depth, 1 + dictionaryDepth(inner, layout, above));
  }
  above.delete(id);
  return depth;
}

function* dictionariesIn(fields: readonly FieldLayout[]): Generator<bigint> {
  for (const field of fields) {
    if (field.dictionary !== null) yield field.dictionary.id;
    else yield* dictionariesIn(field.children);
  }
}
