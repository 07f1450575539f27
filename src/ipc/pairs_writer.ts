/**
 * Writes custom metadata as flatbuffers: a vector of tables of a key and a value.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Fields of the vtable that the tables share: its size, the table's, the positions of key and value. */
const VTABLE: readonly number[] = [8, 12, 4, 8];
const VTABLE_BYTES = 8;
/** Size of one table in bytes, without the texts. */
const PAIR_BYTES = 12;

/** Custom metadata that is about to be written. */
export class PairsWriter {
  readonly #pairs: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  /** Size of vector, vtable, tables and texts in bytes, a multiple of 4. */
  readonly byteLength: number;

  /** @param metadata Keys and values, in order */
  constructor(metadata: ReadonlyMap<string, string>) {
    this.#pairs = [...metadata].map(([key, value]) => [encoder.encode(key), encoder.encode(value)]);
    const tables = this.#pairs.reduce(
      (sum, [key, value]) => sum + PAIR_BYTES + textSize(key) + textSize(value),
      0,
    );
    this.byteLength = 4 + 4 * this.#pairs.length + VTABLE_BYTES + tables;
  }

  /** Number of pairs. */
  get count(): number {
    return this.#pairs.length;
  }

  /**
   * Writes the vector. The vtable comes after it, because the reader of Polars does not look before what refers to a table.
   *
   * @param bytes The flatbuffer
   * @param at Position of the vector, a multiple of 4
   */
  write(bytes: Uint8Array, at: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const refer = (from: number, to: number): void => view.setUint32(from, to - from, true);
    view.setUint32(at, this.#pairs.length, true);
    const vtable = at + 4 + 4 * this.#pairs.length;
    VTABLE.forEach((field, i) => view.setUint16(vtable + 2 * i, field, true));
    let pairAt = vtable + VTABLE_BYTES;
    this.#pairs.forEach(([key, value], i) => {
      refer(at + 4 + 4 * i, pairAt);
      view.setInt32(pairAt, pairAt - vtable, true);
      const keyAt = pairAt + PAIR_BYTES;
      const valueAt = keyAt + textSize(key);
      refer(pairAt + 4, keyAt);
      refer(pairAt + 8, valueAt);
      for (const [textAt, text] of [[keyAt, key], [valueAt, value]] as const) {
        view.setUint32(textAt, text.byteLength, true);
        bytes.set(text, textAt + 4);
      }
      pairAt = valueAt + textSize(value);
    });
  }
}

/** Length word, bytes, terminating zero, padded to 4. */
function textSize(text: Uint8Array): number {
  return (4 + text.byteLength + 1 + 3) & ~3;
}
