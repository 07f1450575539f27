/**
 * The values of a dictionary that grows, in the order in which they came, and the dictionary message that holds all of them.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { NodeKind } from "../ipc/buffers.ts";
import { padTo8 } from "../ipc/frame.ts";
import type { NodePlan } from "../ipc/layout.ts";
import { encodeBatchMetadata } from "../ipc/metadata_writer.ts";
import type { ValueBytes } from "./dictionary_reader.ts";
import type { Piece } from "./sink.ts";

/** Largest offset of 32 bits. */
const MAX_OFFSET = 2 ** 31 - 1;
/** Approximate memory of one value besides its bytes, in bytes. */
export const VALUE_OVERHEAD = 96;
/** Bytes to begin with. */
const FIRST_BYTES = 1024;

/** A dictionary message: its metadata, and the pieces of its body. */
export interface EncodedDictionary {
  readonly metadata: Uint8Array<ArrayBuffer>;
  readonly pieces: readonly Piece[];
  /** Size of all pieces together in bytes, a multiple of 8. */
  readonly bodyLength: number;
}

// Each byte becomes one character, so that equal keys are equal bytes.
const latin1 = new TextDecoder("latin1");

/** The values of one dictionary. */
export class ValueStore {
  readonly #id: bigint;
  readonly #kind: NodeKind;
  /** Bits of one value of a fixed-width type. */
  readonly #bits: number;
  readonly #indices = new Map<string, number>();
  /** Indices of values that are null. */
  readonly #nulls: number[] = [];
  /** Bytes of all values, one after the other. */
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_BYTES);
  /** End of each value in the bytes. */
  readonly #ends: number[] = [];

  /**
   * @param id Id of the dictionary
   * @param plan Its only node
   */
  constructor(id: bigint, plan: NodePlan) {
    this.#id = id;
    this.#kind = plan.kinds[0];
    this.#bits = plan.bits[0];
  }

  /** Number of values. */
  get count(): number {
    return this.#ends.length;
  }

  /** Approximate memory in bytes. */
  get byteLength(): number {
    return 2 * this.#used + VALUE_OVERHEAD * this.count;
  }

  get #used(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** The index of a value, which is appended if it is new. */
  indexOf(value: ValueBytes): number {
    const known = value === null ? this.#nulls[0] : this.#indices.get(latin1.decode(value));
    return known ?? this.append(value);
  }

  /** Appends a value, even if there is an equal one. @returns its index */
  append(value: ValueBytes): number {
    const index = this.#ends.length;
    this.#appendBytes(value ?? new Uint8Array(Math.ceil(this.#bits / 8)));
    if (value === null) {
      this.#nulls.push(index);
      return index;
    }
    const key = latin1.decode(value);
    if (!this.#indices.has(key)) this.#indices.set(key, index);
    return index;
  }

  /**
   * The dictionary with all values.
   *
   * @throws {DipcError} `unsupported` if offsets of 32 bits cannot reach all of them
   */
  encode(): EncodedDictionary {
    const buffers = [this.#validity(), ...this.#data()];
    const places: number[] = [], pieces: Piece[] = [];
    let end = 0;
    for (const buffer of buffers) {
      places.push(end, buffer.byteLength);
      const padding = padTo8(buffer.byteLength) - buffer.byteLength;
      pieces.push(buffer);
      if (padding > 0) pieces.push(new Uint8Array(padding));
      end += buffer.byteLength + padding;
    }
    const metadata = encodeBatchMetadata({
      rows: this.count,
      bodyLength: end,
      nodes: [this.count, this.#nulls.length],
      buffers: places,
      variadicCounts: this.#kind === NodeKind.view ? [1] : [],
      dictionary: { id: this.#id, isDelta: false },
    });
    return { metadata, pieces, bodyLength: end };
  }

  #appendBytes(value: Uint8Array): void {
    const start = this.#used, end = start + value.byteLength;
    if (end > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes.byteLength));
      larger.set(this.#bytes.subarray(0, start));
      this.#bytes = larger;
    }
    this.#bytes.set(value, start);
    this.#ends.push(end);
  }

  #validity(): Uint8Array<ArrayBuffer> {
    if (this.#nulls.length === 0) return new Uint8Array(0);
    const bitmap = new Uint8Array(Math.ceil(this.count / 8)).fill(0xff);
    for (const index of this.#nulls) bitmap[index >> 3] &= ~(1 << (index & 7));
    return bitmap;
  }

  #data(): Uint8Array<ArrayBuffer>[] {
    const bytes = this.#bytes.subarray(0, this.#used);
    switch (this.#kind) {
      case NodeKind.binary32: {
        this.#checkReach();
        const offsets = new Int32Array(this.count + 1);
        offsets.set(this.#ends, 1);
        return [new Uint8Array(offsets.buffer), bytes];
      }
      case NodeKind.binary64: {
        const offsets = new BigInt64Array(this.count + 1);
        this.#ends.forEach((end, i) => offsets[i + 1] = BigInt(end));
        return [new Uint8Array(offsets.buffer), bytes];
      }
      case NodeKind.view:
        this.#checkReach();
        return [this.#views(bytes), bytes];
      default:
        return [this.#bits === 1 ? packBits(bytes) : bytes];
    }
  }

  /** Views of 16 bytes: length, then the value if it has 12 bytes or less, else its first 4, buffer 0 and offset. */
  #views(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const views = new Uint8Array(16 * this.count), view = new DataView(views.buffer);
    let start = 0;
    this.#ends.forEach((end, i) => {
      const length = end - start;
      view.setInt32(16 * i, length, true);
      views.set(bytes.subarray(start, length <= 12 ? end : start + 4), 16 * i + 4);
      if (length > 12) view.setInt32(16 * i + 12, start, true);
      start = end;
    });
    return views;
  }

  #checkReach(): void {
    if (this.#used <= MAX_OFFSET) return;
    throw new LocalError(
      "unsupported",
      `cannot write an Arrow file: dictionary ${this.#id} would have ${this.#used} bytes of values, of which its type can ` +
        `hold ${MAX_OFFSET}`,
    );
  }
}

/** One bit for each byte. */
function packBits(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const bits = new Uint8Array(Math.ceil(bytes.byteLength / 8));
  bytes.forEach((value, i) => bits[i >> 3] |= value << (i & 7));
  return bits;
}
