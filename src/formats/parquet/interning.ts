/**
 * Numbers the distinct values of a column chunk, for its dictionary.
 *
 * @module
 */
import { ByteBuffer } from "./byte_buffer.ts";
import type { ByteRuns } from "./leaf_values.ts";

/** Slots of an empty table, a power of 2. */
const LEAST_SLOTS = 64;
/** Odd multipliers of this process, so that a peer cannot choose values whose hashes collide. */
const [FIRST, SECOND] = crypto.getRandomValues(new Int32Array(2)).map((number) => number | 1);

/** An array twice as long, with what it has at its beginning. */
function doubled(values: Int32Array): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(2 * values.length);
  grown.set(values);
  return grown;
}

/** Distinct numbers of 32 or 64 bits. */
export class WordInterner {
  size = 0;
  readonly #width: 1 | 2;
  #entries = new Int32Array(LEAST_SLOTS);
  /** One more than the number of an entry, 0 for none. */
  #slots = new Int32Array(LEAST_SLOTS);

  /** @param width Words of 32 bits of each value */
  constructor(width: 1 | 2) {
    this.#width = width;
  }

  get byteLength(): number {
    return 4 * this.#width * this.size;
  }

  /** Writes the number of each value to `out`, from `at` on. */
  add(values: Int32Array, out: Int32Array, at: number): void {
    if (this.#width === 1) this.#addSingle(values, out, at);
    else this.#addPairs(values, out, at);
  }

  page(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#entries.buffer, 0, this.byteLength);
  }

  /** Values by their numbers, one after another. */
  lookUp(numbers: Int32Array, count: number): Uint8Array<ArrayBuffer> {
    const width = this.#width, entries = this.#entries;
    const words = new Int32Array(width * count);
    for (let i = 0; i < count; i++) {
      const number = numbers[i];
      words[width * i] = entries[width * number];
      if (width === 2) words[2 * i + 1] = entries[2 * number + 1];
    }
    return new Uint8Array(words.buffer);
  }

  #addSingle(values: Int32Array, out: Int32Array, at: number): void {
    let slots = this.#slots, entries = this.#entries, mask = slots.length - 1;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      let hash = Math.imul(value, FIRST);
      hash = (hash ^ hash >>> 15) & mask;
      let entry = slots[hash];
      while (entry !== 0 && entries[entry - 1] !== value) {
        hash = (hash + 1) & mask;
        entry = slots[hash];
      }
      if (entry === 0) {
        entry = ++this.size;
        if (entry > entries.length) entries = this.#entries = doubled(entries);
        entries[entry - 1] = value;
        slots[hash] = entry;
        if (2 * entry > slots.length) {
          slots = this.#rehash();
          mask = slots.length - 1;
        }
      }
      out[at + i] = entry - 1;
    }
  }

  #addPairs(values: Int32Array, out: Int32Array, at: number): void {
    let slots = this.#slots, entries = this.#entries, mask = slots.length - 1;
    const count = values.length >> 1;
    // Many columns are in runs, such as sorted ones.
    let lastLow = 0, lastHigh = 0, last = -1;
    for (let i = 0; i < count; i++) {
      const low = values[2 * i], high = values[2 * i + 1];
      if (low === lastLow && high === lastHigh && last >= 0) {
        out[at + i] = last;
        continue;
      }
      let hash = Math.imul(low, FIRST) ^ Math.imul(high, SECOND);
      hash = (hash ^ hash >>> 15) & mask;
      let entry = slots[hash];
      while (entry !== 0 && (entries[2 * entry - 2] !== low || entries[2 * entry - 1] !== high)) {
        hash = (hash + 1) & mask;
        entry = slots[hash];
      }
      if (entry === 0) {
        entry = ++this.size;
        if (2 * entry > entries.length) entries = this.#entries = doubled(entries);
        entries[2 * entry - 2] = low;
        entries[2 * entry - 1] = high;
        slots[hash] = entry;
        if (2 * entry > slots.length) {
          slots = this.#rehash();
          mask = slots.length - 1;
        }
      }
      out[at + i] = last = entry - 1;
      lastLow = low;
      lastHigh = high;
    }
  }

  #rehash(): Int32Array<ArrayBuffer> {
    const slots = new Int32Array(2 * this.#slots.length);
    const mask = slots.length - 1;
    const entries = this.#entries, width = this.#width;
    for (let entry = 1; entry <= this.size; entry++) {
      let hash = Math.imul(entries[width * (entry - 1)], FIRST);
      if (width === 2) hash ^= Math.imul(entries[2 * entry - 1], SECOND);
      hash = (hash ^ hash >>> 15) & mask;
      while (slots[hash] !== 0) hash = (hash + 1) & mask;
      slots[hash] = entry;
    }
    return this.#slots = slots;
  }
}

/** Distinct runs of bytes. */
export class ByteInterner {
  size = 0;
  readonly #isPrefixed: boolean;
  readonly #entries = new ByteBuffer();
  /** Start and end of the bytes of each entry in the page. */
  #starts = new Int32Array(LEAST_SLOTS);
  #ends = new Int32Array(LEAST_SLOTS);
  /** The first four bytes of each entry, and the hash of all. */
  #heads = new Int32Array(LEAST_SLOTS);
  #hashes = new Int32Array(LEAST_SLOTS);
  /** One more than the number of an entry, 0 for none. */
  #slots = new Int32Array(LEAST_SLOTS);

  /** @param isPrefixed Whether the length comes before each value */
  constructor(isPrefixed: boolean) {
    this.#isPrefixed = isPrefixed;
  }

  get byteLength(): number {
    return this.#entries.length;
  }

  page(): Uint8Array<ArrayBuffer> {
    return this.#entries.view();
  }

  /** Start of an entry in the page, after its length. */
  start(entry: number): number {
    return this.#starts[entry];
  }

  /** End of an entry in the page. */
  end(entry: number): number {
    return this.#ends[entry];
  }

  /** Writes the number of each value to `out`, from `at` on. */
  addAll({ count, bytes, starts, ends }: ByteRuns, out: Int32Array, at: number): void {
    let slots = this.#slots, mask = slots.length - 1, entries = this.#entries.bytes;
    let hashes = this.#hashes, heads = this.#heads, known = this.#starts, knownEnds = this.#ends;
    for (let i = 0; i < count; i++) {
      const from = starts[i], to = ends[i], length = to - from;
      // Bytes behind the end read as undefined, which is 0 here.
      let head = bytes[from] | bytes[from + 1] << 8 | bytes[from + 2] << 16 | bytes[from + 3] << 24;
      if (length < 4) head &= (1 << 8 * length) - 1;
      let hash = Math.imul(head ^ Math.imul(length, SECOND), FIRST);
      hash ^= hash >>> 15;
      for (let j = from + 4; j < to; j++) {
        hash = Math.imul(hash ^ bytes[j], FIRST);
        hash ^= hash >>> 15;
      }
      let slot = hash & mask, entry = slots[slot];
      for (; entry !== 0; slot = (slot + 1) & mask, entry = slots[slot]) {
        if (hashes[entry - 1] !== hash || heads[entry - 1] !== head) continue;
        const start = known[entry - 1];
        if (knownEnds[entry - 1] - start !== length) continue;
        let same = 4;
        while (same < length && entries[start + same] === bytes[from + same]) same++;
        if (same >= length) break;
      }
      if (entry === 0) {
        entry = this.#append(bytes, from, to, head, hash) + 1;
        slots[slot] = entry;
        if (2 * entry > slots.length) this.#rehash();
        slots = this.#slots;
        mask = slots.length - 1;
        entries = this.#entries.bytes;
        hashes = this.#hashes;
        heads = this.#heads;
        known = this.#starts;
        knownEnds = this.#ends;
      }
      out[at + i] = entry - 1;
    }
  }

  #append(bytes: Uint8Array, from: number, to: number, head: number, hash: number): number {
    const entry = this.size++;
    if (entry === this.#starts.length) {
      this.#starts = doubled(this.#starts);
      this.#ends = doubled(this.#ends);
      this.#heads = doubled(this.#heads);
      this.#hashes = doubled(this.#hashes);
    }
    if (this.#isPrefixed) this.#entries.uint32(to - from);
    this.#starts[entry] = this.#entries.length;
    this.#entries.append(bytes.subarray(from, to));
    this.#ends[entry] = this.#entries.length;
    this.#heads[entry] = head;
    this.#hashes[entry] = hash;
    return entry;
  }

  #rehash(): void {
    const slots = new Int32Array(2 * this.#slots.length);
    const mask = slots.length - 1;
    for (let i = 0; i < this.size; i++) {
      let slot = this.#hashes[i] & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = i + 1;
    }
    this.#slots = slots;
  }
}
