/**
 * The dictionary of a column chunk: values become the numbers of its entries, as long as that saves something.
 *
 * @module
 */
import type { DataPage } from "./data_pages.ts";
import type { StoredDictionary } from "./dictionary_store.ts";
import { Physical } from "./format.ts";
import { ByteInterner, WordInterner } from "./interning.ts";
import type { LeafType } from "./leaf_types.ts";
import { type ByteRuns, readBytes } from "./leaf_values.ts";
import { bitsFor } from "./levels.ts";
import { rowSlots } from "./slots.ts";
import type { ChunkStatistics } from "./statistics.ts";

/** Numbers of an Arrow dictionary's values among those of the chunk. */
interface KnownDictionary {
  readonly dictionary: StoredDictionary;
  /** −1 for those that were not there yet. */
  readonly numbers: Int32Array;
  /** All its values. */
  readonly values: ByteRuns;
}

/** Distinct values of a chunk. */
export class ChunkDictionary {
  readonly #words: WordInterner | null;
  readonly #runs: ByteInterner | null;
  /** Bytes before each value in the page. */
  readonly #prefix: number;
  #known: KnownDictionary | null = null;
  /** Receives the number of one entry. */
  readonly #found = new Int32Array(1);

  private constructor(words: WordInterner | null, runs: ByteInterner | null, prefix: number) {
    this.#words = words;
    this.#runs = runs;
    this.#prefix = prefix;
  }

  /** An empty dictionary; null for types whose values are too short for one. */
  static for({ physical, conversion }: LeafType): ChunkDictionary | null {
    if (conversion === "none") return null;
    switch (physical) {
      case Physical.boolean:
        return null;
      case Physical.int32:
      case Physical.float:
        return new ChunkDictionary(new WordInterner(1), null, 0);
      case Physical.int64:
      case Physical.double:
        return new ChunkDictionary(new WordInterner(2), null, 0);
      case Physical.fixed:
        return new ChunkDictionary(null, new ByteInterner(false), 0);
      case Physical.bytes:
        return new ChunkDictionary(null, new ByteInterner(true), 4);
    }
  }

  /** Number of entries. */
  get size(): number {
    return this.#words?.size ?? this.#runs!.size;
  }

  /** Size of the page of entries in bytes. */
  get byteLength(): number {
    return this.#words?.byteLength ?? this.#runs!.byteLength;
  }

  /** The page of entries, in place. */
  page(): Uint8Array<ArrayBuffer> {
    return this.#words?.page() ?? this.#runs!.page();
  }

  /** Whether so many values take less than in their plain encoding, of so many bytes. */
  isSaving(values: number, plainBytes: number): boolean {
    return this.byteLength + values * bitsFor(this.size) / 8 < plainBytes;
  }

  /** Appends values of 32 or 64 bits to a page. */
  addWords(page: DataPage, words: Int32Array, count: number): void {
    page.reserveIndices(count);
    this.#words!.add(words, page.indices, page.indexCount);
    page.indexCount += count;
  }

  /** Appends values of bytes to a page. */
  addRuns(page: DataPage, runs: ByteRuns): void {
    page.reserveIndices(runs.count);
    this.#runs!.addAll(runs, page.indices, page.indexCount);
    page.indexCount += runs.count;
  }

  /**
   * Appends values of an Arrow dictionary to a page.
   *
   * @param keys Indices into the Arrow dictionary
   * @param check Called for each value that the chunk did not have yet
   * @returns bytes of the values in their plain encoding
   */
  addKeys(page: DataPage, keys: Int32Array, dictionary: StoredDictionary, check: (value: ByteRuns) => void): number {
    const { numbers, values } = this.#known = knownOf(this.#known, dictionary);
    const { bytes, starts, ends } = values;
    page.reserveIndices(keys.length);
    const { indices } = page;
    let at = page.indexCount, total = 4 * keys.length;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      let number = numbers[key];
      if (number < 0) {
        const one = { count: 1, bytes, starts: starts.subarray(key, key + 1), ends: ends.subarray(key, key + 1) };
        check(one);
        this.#runs!.addAll(one, this.#found, 0);
        number = numbers[key] = this.#found[0];
      }
      indices[at++] = number;
      total += ends[key] - starts[key];
    }
    page.indexCount = at;
    return total;
  }

  /** Puts values in place of the indices of a page. */
  spellOut(page: DataPage): void {
    const { plain, indices, indexCount } = page;
    if (this.#words !== null) {
      plain.append(this.#words.lookUp(indices, indexCount));
    } else {
      const runs = this.#runs!, entries = runs.page();
      for (let i = 0; i < indexCount; i++) {
        plain.append(entries.subarray(runs.start(indices[i]) - this.#prefix, runs.end(indices[i])));
      }
    }
    page.indexCount = 0;
  }

  /** Takes the entries into statistics, all of which are values of the chunk. */
  addTo(statistics: ChunkStatistics): void {
    const page = this.page(), runs = this.#runs;
    if (runs === null) {
      statistics.addWords(new Int32Array(page.buffer, page.byteOffset, page.byteLength / 4));
    } else {
      for (let i = 0; i < runs.size; i++) statistics.addBytes(page, runs.start(i), runs.end(i));
    }
  }
}

/** What is known of a dictionary, to which values may have been appended. */
function knownOf(before: KnownDictionary | null, dictionary: StoredDictionary): KnownDictionary {
  const { column } = dictionary, isSame = before?.dictionary === dictionary;
  if (isSame && before.numbers.length === column.length) return before;
  const numbers = new Int32Array(column.length).fill(-1);
  if (isSame) numbers.set(before.numbers);
  return { dictionary, numbers, values: readBytes(column, rowSlots(0, column.length)) };
}
