/**
 * The dictionaries of a stream: values without children, in memory of their own, to which others may be appended.
 *
 * @module
 */
import { equalBytes } from "../../bytes.ts";
import { DipcError } from "../../errors.ts";
import { NodeKind } from "../../ipc/buffers.ts";
import { type FieldLayout, storageOf } from "../../ipc/layout.ts";
import { type ArrowColumn, columnError, isSet } from "./arrow_columns.ts";
import { ByteBuffer } from "./byte_buffer.ts";
import { rowSlots } from "./slots.ts";
import { readBits, readBytes } from "./leaf_values.ts";

/** Most bytes of the values of a dictionary: their offsets have 32 bits. */
const MOST_BYTES = 2 ** 31 - 1;

/** The values of one dictionary. Those that it has stay as they are; more may follow. */
export class StoredDictionary {
  readonly field: FieldLayout;
  readonly #kind: NodeKind;
  readonly #values = new ByteBuffer();
  /** End of each value of bytes, after a 0. */
  readonly #offsets = new ByteBuffer();
  /** A set bit for each value that is not null, once one is. */
  #validity: ByteBuffer | null = null;
  #length = 0;
  #longest = 0;
  #column: ArrowColumn | null = null;

  /** @param column Its first values, which are copied */
  constructor(column: ArrowColumn) {
    this.field = column.field;
    this.#kind = column.offsets !== null || column.kind === NodeKind.view ? NodeKind.binary32 : column.kind;
    this.#offsets.uint32(0);
    this.append(column);
  }

  /** Bytes that it holds. */
  get byteLength(): number {
    return this.#values.length + this.#offsets.length;
  }

  /** Size of the longest value in bytes. */
  get longest(): number {
    return this.#longest;
  }

  /** Appends values, which are copied. @throws {DipcError} `limit_exceeded` */
  append(column: ArrowColumn): void {
    const { length, validity } = column;
    if (validity !== null) this.#validity ??= allSet(this.#length);
    if (this.#validity !== null) {
      appendBits(this.#validity, this.#length, length, (i) => validity === null || isSet(validity, i));
    }
    if (this.#kind === NodeKind.binary32) {
      this.#appendBytes(column);
    } else if (this.field.type.id === "bool") {
      const bits = readBits(column, rowSlots(0, length));
      appendBits(this.#values, this.#length, length, (i) => bits[i] === 1);
    } else {
      this.#values.append(column.values);
      this.#longest = storageOf(this.field.type).bits / 8;
    }
    this.#length += length;
    this.#column = null;
  }

  /** Its values. */
  get column(): ArrowColumn {
    return this.#column ??= {
      field: this.field,
      kind: this.#kind,
      length: this.#length,
      validity: this.#validity?.view() ?? null,
      values: this.#values.view(),
      offsets: this.#kind === NodeKind.binary32
        ? new Int32Array(this.#offsets.bytes.buffer, 0, this.#length + 1)
        : null,
      sizes: null,
      variadic: [],
      children: [],
      dictionaryId: null,
    };
  }

  /** Whether it has the same values as another one. */
  equals(other: StoredDictionary): boolean {
    const [a, b] = [this.column, other.column];
    if (a.length !== b.length || (a.validity === null) !== (b.validity === null)) return false;
    if (a.validity !== null && !equalBytes(a.validity, b.validity!)) return false;
    return equalBytes(this.#offsets.view(), other.#offsets.view()) && equalBytes(a.values, b.values);
  }

  #appendBytes(column: ArrowColumn): void {
    const { count, bytes, starts, ends } = readBytes(column, rowSlots(0, column.length));
    for (let i = 0; i < count; i++) {
      this.#values.append(bytes.subarray(starts[i], ends[i]));
      this.#longest = Math.max(this.#longest, ends[i] - starts[i]);
      if (this.#values.length > MOST_BYTES) {
        throw columnError("limit_exceeded", column.field, "the values of its dictionary have more than 2 GiB");
      }
      this.#offsets.uint32(this.#values.length);
    }
  }
}

function allSet(count: number): ByteBuffer {
  const bits = new ByteBuffer();
  bits.fill(0xff, Math.ceil(count / 8));
  return bits;
}

/** Appends bits after `from` of them. */
function appendBits(out: ByteBuffer, from: number, count: number, isOne: (i: number) => boolean): void {
  out.fill(0, Math.ceil((from + count) / 8) - out.length);
  for (let i = 0; i < count; i++) {
    const at = from + i, bit = 1 << (at & 7);
    if (isOne(i)) out.bytes[at >> 3] |= bit;
    else out.bytes[at >> 3] &= ~bit;
  }
}

/** The dictionaries of a stream by their ids. */
export class DictionaryStore {
  readonly #stored = new Map<bigint, StoredDictionary>();
  readonly #changed = new Set<bigint>();
  readonly #maxBytes: number;

  /** @param maxBytes Largest total size in bytes */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that all of them hold. */
  get byteLength(): number {
    return [...this.#stored.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Takes values of a dictionary, which are copied. @throws {DipcError} `limit_exceeded` */
  add(id: bigint, column: ArrowColumn, isDelta: boolean): void {
    const known = this.#stored.get(id);
    if (isDelta && known !== undefined) {
      known.append(column);
    } else {
      const stored = new StoredDictionary(column);
      // Many senders repeat their dictionaries with each batch.
      if (known?.equals(stored)) return;
      if (known !== undefined) this.#changed.add(id);
      this.#stored.set(id, stored);
    }
    const bytes = this.byteLength;
    if (bytes <= this.#maxBytes) return;
    throw new DipcError(
      "limit_exceeded",
      `cannot keep ${bytes} bytes of dictionaries for Parquet: the limit is ${this.#maxBytes}`,
    );
  }

  /** A dictionary, `null` if there has been none yet. */
  get(id: bigint): StoredDictionary | null {
    return this.#stored.get(id) ?? null;
  }

  /** Whether values of a dictionary have been replaced by others. */
  hasChanged(id: bigint): boolean {
    return this.#changed.has(id);
  }
}
