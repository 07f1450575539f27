/**
 * Makes one dictionary of those that replace each other in a stream, for formats that hold one only.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { LocalError } from "../errors.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { DictionaryPlan } from "../ipc/layout.ts";
import { quoted } from "../ipc/quote.ts";
import { dictionaryValues, isReadable } from "./dictionary_reader.ts";
import { type EncodedDictionary, VALUE_OVERHEAD, ValueStore } from "./value_store.ts";

/** Most bytes of dictionaries that are kept, for when they are replaced. */
const MAX_KEPT_BYTES = 512 * 2 ** 20;

/** Memory of one index in a mapping, in bytes. */
const INDEX_BYTES = 4;

/** What to do with a dictionary message: write it in its place, or nothing, because its values come at the end. */
export type DictionaryAction = "write" | "keep";

/** One dictionary message of the stream. */
interface Chunk {
  readonly header: VerifiedHeader;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The dictionaries of one id. */
interface Entry {
  readonly plan: DictionaryPlan;
  /** Why its dictionaries cannot be made one; `null` if they can. */
  readonly problem: string | null;
  /** What the stream has now, as long as it is kept. */
  chunks: Chunk[];
  /** Values of the first dictionary, which is written in its place. */
  written: number;
  /** All values, once there is more than the first dictionary. */
  store: ValueStore | null;
  /** Its memory when it was looked at last, in bytes. */
  storeBytes: number;
  /** Number of values that the stream has now. */
  count: number;
  /** Index in the store of each of them; `null` if it is the same. */
  mapping: Int32Array | null;
}

/** The dictionaries of one stream. */
export class DictionaryUnifier {
  readonly #entries = new Map<bigint, Entry>();
  #mappings: ReadonlyMap<bigint, Int32Array> = new Map();
  #keptBytes = 0;
  #storeBytes = 0;

  /** @param schema Header of the schema message */
  constructor({ layout }: VerifiedHeader) {
    const inner = new Set(
      [...layout.dictionaries.values()].flatMap(({ plan }) =>
        plan.fields.slice(1).flatMap(({ dictionary }) => dictionary === null ? [] : [dictionary.id])
      ),
    );
    for (const plan of layout.dictionaries.values()) {
      const problem = layout.endianness === "big"
        ? "the data is big-endian"
        : inner.has(plan.id)
        ? "the dictionary is inside another one"
        : isReadable(plan.plan)
        ? null
        : "its values are not of a simple type";
      this.#entries.set(plan.id, {
        plan,
        problem,
        chunks: [],
        written: -1,
        store: null,
        storeBytes: 0,
        count: 0,
        mapping: null,
      });
    }
  }

  /** The new index of each index, by the id of the dictionary; another map once one has changed. */
  get mappings(): ReadonlyMap<bigint, Int32Array> {
    return this.#mappings;
  }

  /** Whether dictionaries of an id can be made one. */
  canUnify(id: bigint): boolean {
    return this.#entries.get(id)?.problem === null;
  }

  /** Number of values of an id so far, or 0 if its dictionary has not changed. */
  countOf(id: bigint): number {
    return this.#entries.get(id)?.store?.count ?? 0;
  }

  /**
   * Takes the next dictionary message of the stream. The codec of its body must be loaded already.
   *
   * @param header Header of the message
   * @param bytes Its body, which is copied
   * @throws {DipcError} `unsupported` if it replaces a dictionary and both cannot become one; `invalid_data`, `limit_exceeded`
   */
  take(header: VerifiedHeader, bytes: Uint8Array<ArrayBuffer>): DictionaryAction {
    const entry = this.#entries.get(header.dictionaryId)!;
    if (entry.written < 0) {
      entry.written = entry.count = header.rows;
      if (entry.problem === null) this.#keep(entry, { header, bytes });
      return "write";
    }
    if (header.isDelta) {
      if (entry.chunks.length === 0 && entry.store === null) return "write";
      this.#extend(entry, { header, bytes });
      return "keep";
    }
    const [only, ...more] = entry.chunks;
    if (only !== undefined && more.length === 0 && isSame(only, { header, bytes })) return "keep";
    this.#replace(entry, { header, bytes });
    return "keep";
  }

  /** The dictionaries that have other values than those written in their place. @throws {DipcError} `unsupported` */
  *changed(): Generator<{ readonly id: bigint; readonly dictionary: EncodedDictionary }, undefined> {
    for (const [id, { store, written }] of this.#entries) {
      if (store !== null && store.count > written) yield { id, dictionary: store.encode() };
    }
  }

  /** Appends values to those that the stream has. */
  #extend(entry: Entry, delta: Chunk): void {
    const store = this.#storeOf(entry);
    if (entry.mapping === null && entry.count === store.count) {
      // The indices of the stream are those of the store, also of values that occur twice.
      this.#append(entry, store, delta);
      entry.count = store.count;
    } else {
      const { count } = entry;
      this.#checkSize(entry, store.byteLength + INDEX_BYTES * (count + delta.header.rows));
      const mapping = grown(entry.mapping ?? Int32Array.from({ length: count }, (_, i) => i), delta.header.rows);
      this.#index(entry, store, delta, mapping, count);
      this.#map(entry, mapping);
    }
    this.#keep(entry, delta);
  }

  #replace(entry: Entry, next: Chunk): void {
    if (entry.problem !== null) throw notUnified(entry, entry.problem);
    const store = this.#storeOf(entry);
    this.#checkSize(entry, store.byteLength + INDEX_BYTES * next.header.rows);
    const mapping = new Int32Array(next.header.rows);
    this.#index(entry, store, next, mapping, 0);
    const isRising = mapping.every((index, i) => i === 0 || index > mapping[i - 1]);
    if (entry.plan.field.dictionary!.ordered && !isRising) {
      throw notUnified(entry, "the order of its values matters, and differs");
    }
    this.#drop(entry);
    this.#keep(entry, next);
    this.#map(entry, mapping.every((index, i) => index === i) ? null : mapping, mapping.length);
  }

  /** The store, which begins with what the stream has. */
  #storeOf(entry: Entry): ValueStore {
    if (entry.store !== null) return entry.store;
    if (entry.chunks.length === 0) {
      throw notUnified(entry, `dictionaries of more than ${MAX_KEPT_BYTES} bytes are not kept`);
    }
    const { id, plan } = entry.plan;
    const store = new ValueStore(id, plan);
    for (const chunk of entry.chunks) this.#append(entry, store, chunk);
    return entry.store = store;
  }

  /** Appends the values of a message to a store. */
  #append(entry: Entry, store: ValueStore, { header, bytes }: Chunk): void {
    this.#checkSize(entry, store.byteLength + VALUE_OVERHEAD * header.rows);
    for (const value of dictionaryValues(header, bytes)) {
      store.append(value);
      this.#checkSize(entry, store.byteLength);
    }
  }

  /** Writes the indices that the values of a message have in a store into a mapping, from `at` on. */
  #index(entry: Entry, store: ValueStore, { header, bytes }: Chunk, mapping: Int32Array, at: number): void {
    for (const value of dictionaryValues(header, bytes)) {
      mapping[at++] = store.indexOf(value);
      this.#checkSize(entry, store.byteLength + INDEX_BYTES * mapping.length);
    }
  }

  #map(entry: Entry, mapping: Int32Array | null, count = mapping!.length): void {
    entry.count = count;
    entry.mapping = mapping;
    const mappings = new Map(this.#mappings);
    if (entry.mapping === null) mappings.delete(entry.plan.id);
    else mappings.set(entry.plan.id, entry.mapping);
    this.#mappings = mappings;
  }

  #keep(entry: Entry, { header, bytes }: Chunk): void {
    if (this.#keptBytes + bytes.byteLength > MAX_KEPT_BYTES) return this.#drop(entry);
    this.#keptBytes += bytes.byteLength;
    entry.chunks.push({ header, bytes: bytes.slice() });
  }

  #drop(entry: Entry): void {
    for (const { bytes } of entry.chunks) this.#keptBytes -= bytes.byteLength;
    entry.chunks = [];
  }

  /**
   * Checks a size as it grows: a short message can declare more values than fit into memory, as views that refer to the
   * same bytes, or as values without bytes.
   *
   * @param bytes Memory of the store and of the mapping of the entry
   * @throws {DipcError} `unsupported` if all entries together take too much
   */
  #checkSize(entry: Entry, bytes: number): void {
    this.#storeBytes += bytes - entry.storeBytes;
    entry.storeBytes = bytes;
    if (this.#storeBytes > MAX_KEPT_BYTES) {
      throw notUnified(entry, `all values together take more than ${MAX_KEPT_BYTES} bytes`);
    }
  }
}

/** The array with room for more, which may share the memory of the one before: what was there stays. */
function grown(array: Int32Array, more: number): Int32Array {
  const length = array.length + more;
  const room = array.buffer.byteLength / 4;
  if (length <= room) return new Int32Array(array.buffer, 0, length);
  const larger = new Int32Array(Math.max(length, 2 * room));
  larger.set(array);
  return larger.subarray(0, length);
}

function isSame(one: Chunk, other: Chunk): boolean {
  return equalBytes(one.header.bytes, other.header.bytes) && equalBytes(one.bytes, other.bytes);
}

function notUnified({ plan }: Entry, why: string): LocalError {
  return new LocalError(
    "unsupported",
    `cannot write an Arrow file: the dictionary of column ${
      quoted(plan.field.path)
    } is replaced in the middle of the data, ` +
      `and ${why}; write an Arrow stream instead (--format arrows, or a file name that ends with .arrows)`,
  );
}
