/**
 * Encodes the column chunks of one column. Pages are compressed and stay in memory until the row group is written.
 *
 * @module
 */
import type { FieldLayout } from "../../ipc/layout.ts";
import { columnError } from "./arrow_columns.ts";
import { DataPage } from "./data_pages.ts";
import type { StoredDictionary } from "./dictionary_store.ts";
import { type ChunkMetadata, Encoding, PageType, Physical } from "./format.ts";
import { ByteInterner, type Interner, WordInterner } from "./interning.ts";
import type { LeafType } from "./leaf_types.ts";
import { type ByteRuns, readBytes } from "./leaf_values.ts";
import { bitsFor } from "./levels.ts";
import { compressedPage, pageHeader } from "./page_bytes.ts";
import { appendBools, appendRuns } from "./plain.ts";
import { rowSlots, type Slots } from "./slots.ts";
import { ChunkStatistics } from "./statistics.ts";
import { checkText } from "./text_check.ts";

/** Values from which on a dictionary must have saved something. */
const TRIAL_VALUES = 8192;
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

/** Numbers of a dictionary's values among those of the chunk. */
interface KnownDictionary {
  readonly dictionary: StoredDictionary;
  /** −1 for those that were not there yet. */
  numbers: Int32Array;
  /** All its values. */
  values: ByteRuns;
}

/** Encodes one column, chunk after chunk. */
export class ChunkEncoder {
  readonly #options: ChunkOptions;
  readonly #page: DataPage;
  readonly #isText: boolean;
  #pages: Uint8Array<ArrayBuffer>[] = [];
  /** Null once the dictionary is not worth it. */
  #words: WordInterner | null = null;
  #entries: ByteInterner | null = null;
  #statistics!: ChunkStatistics;
  #known: KnownDictionary | null = null;
  /** Where the number of one entry is found. */
  readonly #found = new Int32Array(1);
  /** The page of a dictionary that was left for plain values. */
  #left: Interner | null = null;
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
    if (this.#words !== null) {
      this.#page.reserveIndices(count);
      this.#words.add(words, this.#page.indices, this.#page.indexCount);
      this.#page.indexCount += count;
    } else {
      this.#statistics.addWords(words);
      this.#page.plain.append(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
    }
    this.#added(slots, count, words.byteLength);
  }

  /** Appends values of the same length, one after another. */
  appendFixed(slots: Slots, bytes: Uint8Array): void {
    const length = this.#options.type.length!, count = bytes.byteLength / length;
    if (this.#entries !== null) {
      this.#addEntries(this.#entries, fixedRuns(bytes, count, length));
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
    if (this.#entries !== null) {
      this.#addEntries(this.#entries, runs);
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
    const known = this.#knownOf(dictionary);
    const { numbers, values: { bytes, starts, ends } } = known;
    if (this.#entries === null) {
      const found = {
        count: keys.length,
        bytes,
        starts: new Int32Array(keys.length),
        ends: new Int32Array(keys.length),
      };
      for (let i = 0; i < keys.length; i++) {
        found.starts[i] = starts[keys[i]];
        found.ends[i] = ends[keys[i]];
      }
      return this.appendBytes(slots, found);
    }
    this.#page.reserveIndices(keys.length);
    const { indices } = this.#page;
    let at = this.#page.indexCount, total = 4 * keys.length;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      let number = numbers[key];
      if (number < 0) number = numbers[key] = this.#numberOf(known, key);
      indices[at++] = number;
      total += ends[key] - starts[key];
    }
    this.#page.indexCount = at;
    this.#added(slots, keys.length, total);
  }

  /** Ends the chunk, and begins the next one. */
  finish(): EncodedChunk {
    if (this.#page.slots > 0) this.#endPage();
    const interner = this.#left ?? (this.#indexPages > 0 ? this.#interner : null);
    if (this.#left === null) this.#takeEntries();
    const pieces = this.#pages;
    let dictionaryBytes = 0;
    if (interner !== null) {
      const page = interner.page();
      const compressed = compressedPage(page);
      const header = pageHeader(PageType.dictionary, interner.size, Encoding.plain, page, compressed);
      pieces.unshift(header, compressed);
      dictionaryBytes = header.byteLength + compressed.byteLength;
      this.#uncompressedBytes += header.byteLength + page.byteLength;
      this.#compressedBytes += dictionaryBytes;
    }
    const metadata = {
      physical: this.#options.type.physical,
      path: this.#options.path,
      values: this.#slots,
      dictionaryPages: interner === null ? 0 : 1,
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
    const width = type.conversion === "none" || type.conversion === "bits" ? 0 : wordsOf(type);
    this.#words = width === 1 || width === 2 ? new WordInterner(width) : null;
    this.#entries = width === null ? new ByteInterner(type.length === undefined) : null;
    this.#statistics = new ChunkStatistics(type.order);
    this.#pages = [];
    this.#known = this.#left = null;
    this.#slots = this.#values = this.#plainBytes = 0;
    this.#indexPages =
      this.#plainPages =
      this.#uncompressedBytes =
      this.#compressedBytes =
        0;
  }

  get #interner(): Interner | null {
    return this.#words ?? this.#entries;
  }

  /** Takes levels, and ends the page or the dictionary if that is due. */
  #added(slots: Slots, values: number, bytes: number): void {
    const { pageBytes } = this.#options;
    this.#page.addLevels(slots);
    this.#slots += slots.count;
    this.#values += values;
    this.#plainBytes += bytes;
    const interner = this.#interner;
    if (interner !== null && (interner.byteLength > pageBytes || !this.#isSaving(interner))) this.#leaveDictionary();
    const isFull = this.#page.plain.length >= pageBytes || this.#page.indexCount >= pageBytes * INDICES_PER_BYTE ||
      this.#page.slots >= pageBytes;
    if (isFull) this.#endPage();
  }

  /** Whether a dictionary takes less than the values themselves, as far as can be said. */
  #isSaving(interner: Interner): boolean {
    if (this.#indexPages > 0 || this.#values < TRIAL_VALUES) return true;
    const indexBytes = this.#values * bitsFor(interner.size) / 8;
    return interner.byteLength + indexBytes < this.#plainBytes;
  }

  /** Goes on with plain values; pages that refer to the dictionary keep it. */
  #leaveDictionary(): void {
    const interner = this.#interner;
    if (interner === null) return;
    this.#takeEntries();
    if (this.#indexPages > 0) {
      if (this.#page.slots > 0) this.#endPage();
      this.#left = interner;
    } else {
      this.#spellOut();
    }
    this.#words = this.#entries = this.#known = null;
  }

  /** Puts values in place of the indices of the page. */
  #spellOut(): void {
    const { plain, indices, indexCount } = this.#page;
    const entries = this.#entries, page = this.#interner!.page();
    const isPrefixed = this.#options.type.length === undefined;
    const width = entries === null ? 4 * wordsOf(this.#options.type)! : 0;
    for (let i = 0; i < indexCount; i++) {
      const index = indices[i];
      const from = entries === null ? index * width : entries.start(index) - (isPrefixed ? 4 : 0);
      plain.append(page.subarray(from, entries === null ? from + width : entries.end(index)));
    }
    this.#page.indexCount = 0;
  }

  /** Takes the entries of the dictionary into the statistics, all of which are values of the chunk. */
  #takeEntries(): void {
    const words = this.#words, entries = this.#entries;
    if (words !== null) {
      const { buffer, byteLength } = words.page();
      this.#statistics.addWords(new Int32Array(buffer, 0, byteLength / 4));
    } else if (entries !== null) {
      const page = entries.page();
      for (let i = 0; i < entries.size; i++) this.#statistics.addBytes(page, entries.start(i), entries.end(i));
    }
  }

  /** Appends values as numbers of entries of the dictionary. */
  #addEntries(entries: ByteInterner, runs: ByteRuns): void {
    this.#page.reserveIndices(runs.count);
    entries.addAll(runs, this.#page.indices, this.#page.indexCount);
    this.#page.indexCount += runs.count;
  }

  #endPage(): void {
    const entries = this.#interner?.size ?? null;
    const slots = this.#page.slots;
    // Without values there is nothing that an index could refer to.
    const isIndexed = entries !== null && entries > 0;
    const page = this.#page.take(isIndexed ? entries : null).view();
    if (page.byteLength > MOST_PAGE_BYTES) {
      throw columnError("limit_exceeded", this.#options.field, "one row has more than 2 GiB");
    }
    const compressed = compressedPage(page);
    const encoding = isIndexed ? Encoding.dictionary : Encoding.plain;
    const header = pageHeader(PageType.data, slots, encoding, page, compressed);
    this.#pages.push(header, compressed);
    if (isIndexed) this.#indexPages++;
    else this.#plainPages++;
    this.#uncompressedBytes += header.byteLength + page.byteLength;
    this.#compressedBytes += header.byteLength + compressed.byteLength;
  }

  #knownOf(dictionary: StoredDictionary): KnownDictionary {
    const { column } = dictionary;
    let known = this.#known;
    if (known?.dictionary !== dictionary) {
      known = this.#known = { dictionary, numbers: new Int32Array(0), values: NO_VALUES };
    }
    if (known.numbers.length < column.length || known.values.count < column.length) {
      const numbers = new Int32Array(column.length).fill(-1);
      numbers.set(known.numbers);
      known.numbers = numbers;
      known.values = readBytes(column, rowSlots(0, column.length));
    }
    return known;
  }

  /** The number of a value of a dictionary that the chunk did not have yet. */
  #numberOf({ values }: KnownDictionary, key: number): number {
    const { bytes, starts, ends } = values;
    const one = { count: 1, bytes, starts: starts.subarray(key, key + 1), ends: ends.subarray(key, key + 1) };
    if (this.#isText) checkText(this.#options.field, one);
    this.#entries!.addAll(one, this.#found, 0);
    return this.#found[0];
  }
}

/** Most bytes of a page: its size has 32 bits. */
const MOST_PAGE_BYTES = 2 ** 31 - 1;

const NO_VALUES: ByteRuns = {
  count: 0,
  bytes: new Uint8Array(0),
  starts: new Int32Array(0),
  ends: new Int32Array(0),
};

/** Values of one length as runs. */
function fixedRuns(bytes: Uint8Array, count: number, length: number): ByteRuns {
  const places = new Int32Array(count + 1);
  for (let i = 0; i <= count; i++) places[i] = i * length;
  return { count, bytes, starts: places.subarray(0, count), ends: places.subarray(1) };
}

/** Words of 32 bits of a value; null if it is made of bytes. */
function wordsOf({ physical }: LeafType): 1 | 2 | null {
  switch (physical) {
    case Physical.int32:
    case Physical.float:
      return 1;
    case Physical.int64:
    case Physical.double:
      return 2;
    default:
      return null;
  }
}
