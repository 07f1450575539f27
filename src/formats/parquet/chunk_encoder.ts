/**
 * Encodes the column chunks of one column. Pages are compressed and stay in memory until the row group is written.
 *
 * @module
 */
import type { FieldLayout } from "../../ipc/layout.ts";
import { columnError } from "./arrow_columns.ts";
import { ChunkDictionary } from "./chunk_dictionary.ts";
import { DataPage } from "./data_pages.ts";
import type { StoredDictionary } from "./dictionary_store.ts";
import { type ChunkMetadata, Codec, Encoding, PageType } from "./format.ts";
import type { LeafType } from "./leaf_types.ts";
import { type ByteRuns, readBytes } from "./leaf_values.ts";
import { compressedPage, pageHeader } from "./page_bytes.ts";
import { appendBools, appendRuns } from "./plain.ts";
import type { Slots } from "./slots.ts";
import { ChunkStatistics } from "./statistics.ts";
import { checkText } from "./text_check.ts";

/** Values from which on a dictionary must have saved something, if that of the chunk before did not. */
const SHORT_TRIAL_VALUES = 1024;
/** The same in other chunks, for each byte of a page: columns that share memory with many others get less of it. */
const TRIAL_VALUES_PER_BYTE = 1 / 128;
/** Size of a chunk that is not worth the calls of a compressor, in bytes. */
const SMALL_CHUNK = 256;
/** Longest value that is looked up in a dictionary, in bytes. */
const LONGEST_ENTRY = 65_536;
/** Most indices of a page: they take four times as much memory as a page of bytes. */
const INDICES_PER_BYTE = 1 / 4;

/** What is known of a column before its values. */
export interface ChunkOptions {
  readonly field: FieldLayout;
  readonly type: LeafType;
  /** Names from the column down, as in the file's schema. */
  readonly path: readonly string[];
  readonly maxDefinition: number;
  readonly maxRepetition: number;
  /** Size at which a page ends, and largest size of a dictionary, in bytes. */
  readonly pageBytes: number;
}

/** A chunk that is complete: its pages, and what the footer says of it once its place is known. */
export interface EncodedChunk {
  readonly pieces: readonly Uint8Array<ArrayBuffer>[];
  readonly metadata: Omit<ChunkMetadata, "offset" | "dataOffset">;
  /** Size of the page of the dictionary, which comes first, in bytes. */
  readonly dictionaryBytes: number;
}

/** Encodes one column, chunk after chunk. */
export class ChunkEncoder {
  readonly #options: ChunkOptions;
  readonly #page: DataPage;
  readonly #isText: boolean;
  readonly #longTrial: number;
  #pages: Uint8Array<ArrayBuffer>[] = [];
  /** Null for types that have none, and once it is not worth it. */
  #dictionary: ChunkDictionary | null = null;
  /** One that was left for plain values, and has pages. */
  #left: ChunkDictionary | null = null;
  #statistics!: ChunkStatistics;
  #trialValues: number;
  /** Whether pages are compressed, once there is one. */
  #isCompressed: boolean | null = null;
  #slots = 0;
  #values = 0;
  /** Size of all values in their plain encoding. */
  #plainBytes = 0;
  #indexPages = 0;
  #plainPages = 0;
  #uncompressedBytes = 0;
  #compressedBytes = 0;

  /** @param options The column */
  constructor(options: ChunkOptions) {
    this.#options = options;
    this.#page = new DataPage(options.maxDefinition, options.maxRepetition);
    const { logical } = options.type;
    this.#isText = logical?.id === "string" || logical?.id === "json";
    this.#trialValues = this.#longTrial = Math.max(SHORT_TRIAL_VALUES, options.pageBytes * TRIAL_VALUES_PER_BYTE);
    this.#begin();
  }

  /** Size of what the chunk has so far, before compression, in bytes. */
  get byteLength(): number {
    return this.#uncompressedBytes + this.#page.plain.length + this.#page.indexCount;
  }

  /** Appends slots without values. */
  appendNulls(slots: Slots): void {
    this.#added(slots, 0, 0);
  }

  /** Appends truth values, a byte each. */
  appendBits(slots: Slots, bits: Uint8Array): void {
    this.#statistics.addBooleans(bits);
    appendBools(this.#page, bits);
    this.#added(slots, bits.length, bits.length / 8);
  }

  /** Appends values of so many words of 32 bits. */
  appendWords(slots: Slots, words: Int32Array, width: 1 | 2): void {
    const count = words.length / width;
    if (this.#dictionary !== null) {
      this.#dictionary.addWords(this.#page, words, count);
    } else {
      this.#statistics.addWords(words);
      this.#page.plain.append(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
    }
    this.#added(slots, count, words.byteLength);
  }

  /** Appends values of the same length, one after another. */
  appendFixed(slots: Slots, bytes: Uint8Array): void {
    const length = this.#options.type.length!, count = bytes.byteLength / length;
    if (this.#dictionary !== null) {
      this.#dictionary.addRuns(this.#page, fixedRuns(bytes, count, length));
    } else {
      for (let i = 0; i < count; i++) this.#statistics.addBytes(bytes, i * length, (i + 1) * length);
      this.#page.plain.append(bytes);
    }
    this.#added(slots, count, bytes.byteLength);
  }

  /** Appends values of any length. @throws {DipcError} `invalid_data` for text that is not UTF-8 */
  appendBytes(slots: Slots, runs: ByteRuns): void {
    const { count, bytes, starts, ends } = runs;
    if (this.#isText) checkText(this.#options.field, runs);
    let total = 4 * count, longest = 0;
    for (let i = 0; i < count; i++) {
      total += ends[i] - starts[i];
      longest = Math.max(longest, ends[i] - starts[i]);
    }
    if (longest > LONGEST_ENTRY) this.#leaveDictionary();
    if (this.#dictionary !== null) {
      this.#dictionary.addRuns(this.#page, runs);
    } else {
      for (let i = 0; i < count && this.#statistics.needsBytes; i++) {
        this.#statistics.addBytes(bytes, starts[i], ends[i]);
      }
      appendRuns(this.#page.plain, runs, total);
    }
    this.#added(slots, count, total);
  }

  /** Appends values of a dictionary, none of which are null, by their indices. @throws {DipcError} `invalid_data` */
  appendIndexed(slots: Slots, keys: Int32Array, dictionary: StoredDictionary): void {
    if (this.#dictionary === null) return this.appendBytes(slots, runsOf(keys, dictionary));
    const check = (value: ByteRuns): void => this.#isText ? checkText(this.#options.field, value) : undefined;
    const bytes = this.#dictionary.addKeys(this.#page, keys, dictionary, check);
    this.#added(slots, keys.length, bytes);
  }

  /** Ends the chunk, and begins the next one. */
  finish(): EncodedChunk {
    if (!this.#isSaving(0)) this.#leaveDictionary();
    // Other than pages that end before, the only one of a chunk may be so small that it is left as it is.
    const size = this.#page.plain.length + this.#page.slots + (this.#dictionary?.byteLength ?? 0);
    this.#isCompressed ??= size > SMALL_CHUNK;
    if (this.#page.slots > 0) this.#endPage();
    this.#dictionary?.addTo(this.#statistics);
    const dictionary = this.#left ?? (this.#indexPages > 0 ? this.#dictionary : null);
    if (dictionary !== null) this.#trialValues = this.#longTrial;
    const pieces = this.#pages;
    let dictionaryBytes = 0;
    if (dictionary !== null) {
      const page = dictionary.page();
      const compressed = this.#compressed(page);
      const header = pageHeader(PageType.dictionary, dictionary.size, Encoding.plain, page, compressed);
      pieces.unshift(header, compressed);
      dictionaryBytes = header.byteLength + compressed.byteLength;
      this.#uncompressedBytes += header.byteLength + page.byteLength;
      this.#compressedBytes += dictionaryBytes;
    }
    const metadata = {
      physical: this.#options.type.physical,
      codec: this.#isCompressed === false ? Codec.none : Codec.zstd,
      path: this.#options.path,
      values: this.#slots,
      dictionaryPages: dictionary === null ? 0 : 1,
      indexPages: this.#indexPages,
      plainPages: this.#plainPages,
      uncompressedBytes: this.#uncompressedBytes,
      compressedBytes: this.#compressedBytes,
      statistics: this.#statistics.finish(this.#slots - this.#values),
    };
    this.#begin();
    return { pieces, metadata, dictionaryBytes };
  }

  #begin(): void {
    const { type } = this.#options;
    this.#dictionary = ChunkDictionary.for(type);
    this.#left = null;
    this.#statistics = new ChunkStatistics(type.order);
    this.#pages = [];
    this.#isCompressed = null;
    this.#slots = this.#values = this.#plainBytes = 0;
    this.#indexPages =
      this.#plainPages =
      this.#uncompressedBytes =
      this.#compressedBytes =
        0;
  }

  /** Takes levels, and ends the page or the dictionary if that is due. */
  #added(slots: Slots, values: number, bytes: number): void {
    const { pageBytes } = this.#options;
    this.#page.addLevels(slots);
    this.#slots += slots.count;
    this.#values += values;
    this.#plainBytes += bytes;
    const isLong = this.#dictionary !== null && this.#dictionary.byteLength > pageBytes;
    if (isLong || !this.#isSaving(this.#trialValues)) this.#leaveDictionary();
    const isFull = this.#page.plain.length >= pageBytes || this.#page.indexCount >= pageBytes * INDICES_PER_BYTE ||
      this.#page.slots >= pageBytes;
    if (isFull) this.#endPage();
  }

  /** Whether a dictionary takes less than the values themselves, as far as can be said after so many values. */
  #isSaving(trialValues: number): boolean {
    if (this.#dictionary === null || this.#indexPages > 0 || this.#values < trialValues) return true;
    return this.#dictionary.isSaving(this.#values, this.#plainBytes);
  }

  /** Goes on with plain values; pages that refer to the dictionary keep it. */
  #leaveDictionary(): void {
    const dictionary = this.#dictionary;
    if (dictionary === null) return;
    dictionary.addTo(this.#statistics);
    if (this.#indexPages > 0) {
      if (this.#page.slots > 0) this.#endPage();
      this.#left = dictionary;
    } else {
      dictionary.spellOut(this.#page);
      this.#trialValues = SHORT_TRIAL_VALUES;
    }
    this.#dictionary = null;
  }

  #compressed(page: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    // The memory of a page is used again.
    this.#isCompressed ??= true;
    return this.#isCompressed ? compressedPage(page) : page.slice();
  }

  #endPage(): void {
    const entries = this.#dictionary?.size ?? null;
    const slots = this.#page.slots;
    // Without values there is nothing that an index could refer to.
    const isIndexed = entries !== null && entries > 0;
    const page = this.#page.take(isIndexed ? entries : null).view();
    if (page.byteLength > MOST_PAGE_BYTES) {
      throw columnError("limit_exceeded", this.#options.field, "one row has more than 2 GiB");
    }
    const compressed = this.#compressed(page);
    const encoding = isIndexed ? Encoding.dictionary : Encoding.plain;
    const header = pageHeader(PageType.data, slots, encoding, page, compressed);
    this.#pages.push(header, compressed);
    if (isIndexed) this.#indexPages++;
    else this.#plainPages++;
    this.#uncompressedBytes += header.byteLength + page.byteLength;
    this.#compressedBytes += header.byteLength + compressed.byteLength;
  }
}

/** Most bytes of a page: its size has 32 bits. */
const MOST_PAGE_BYTES = 2 ** 31 - 1;

/** Values of one length as runs. */
function fixedRuns(bytes: Uint8Array, count: number, length: number): ByteRuns {
  const places = new Int32Array(count + 1);
  for (let i = 0; i <= count; i++) places[i] = i * length;
  return { count, bytes, starts: places.subarray(0, count), ends: places.subarray(1) };
}

/** Values of an Arrow dictionary as runs. */
function runsOf(keys: Int32Array, { column }: StoredDictionary): ByteRuns {
  return readBytes(column, { count: keys.length, first: 0, indices: keys });
}
