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
import { type EncodedDictionary, ValueStore } from "./value_store.ts";

/** Most bytes of dictionaries that are kept, for when they are replaced. */
const MAX_KEPT_BYTES = 512 * 2 ** 20;

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
    const values = dictionaryValues(delta.header, delta.bytes);
    if (entry.mapping === null && entry.count === store.count) {
      // The indices of the stream are those of the store, also of values that occur twice.
      for (const value of values) store.append(value);
      entry.count = store.count;
    } else {
      const mapping = grown(entry.mapping ?? Int32Array.from({ length: entry.count }, (_, i) => i), delta.header.rows);
      let at = entry.count;
      for (const value of values) mapping[at++] = store.indexOf(value);
      this.#map(entry, mapping);
    }
    this.#checkSize(entry);
    this.#keep(entry, delta);
  }

  #replace(entry: Entry, next: Chunk): void {
    if (entry.problem !== null) throw notUnified(entry, entry.problem);
    const store = this.#storeOf(entry);
    const mapping = Int32Array.from(dictionaryValues(next.header, next.bytes), (value) => store.indexOf(value));
    this.#checkSize(entry);
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
    for (const { header, bytes } of entry.chunks) {
      for (const value of dictionaryValues(header, bytes)) store.append(value);
    }
    return entry.store = store;
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

  #checkSize(entry: Entry): void {
    const bytes = entry.store!.byteLength;
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
