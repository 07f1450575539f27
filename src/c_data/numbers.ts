/**
 * Locations of the values of one batch: the numbers of its message, with an address for each buffer in place of an offset into a
 * body.
 *
 * @module
 */

/** How a buffer of a slice differs from the memory that it is in. */
export type Change =
  /** Bits that do not begin at a byte: `first` is the number of the first bit, of `count`. */
  | { readonly kind: "bits"; readonly first: number; readonly count: number }
  /** Offsets that do not begin with 0: `first` is subtracted from each. */
  | { readonly kind: "offsets"; readonly bits: 32 | 64; readonly first: number }
  /** Run ends of a slice: `first` is subtracted, and the last one is `rows`. */
  | { readonly kind: "runEnds"; readonly bits: number; readonly first: number; readonly rows: number };

/** A tree of arrays: the columns of a batch, or the values of one dictionary. */
export interface ArrayNumbers {
  /** Rows of the batch, or values of the dictionary. */
  readonly rows: number;
  /** Length and null count of each node. */
  readonly nodes: Float64Array;
  /** Offset in a message's body and size in bytes of each buffer. */
  readonly buffers: Float64Array;
  /** Address of each buffer. */
  readonly at: Float64Array;
  readonly variadicCounts: Float64Array;
  /** Size of the message's body in bytes. */
  readonly bodyLength: number;
  /** What the buffers of slices need before they can be used, by their index. */
  readonly changes: ReadonlyMap<number, Change> | null;
  /**
   * Of the bytes of text and binary columns that are slices: bytes before `at` that their offsets count from, by the index of the
   * buffer. The offsets in the preceding buffer are not changed then, except in a message.
   */
  readonly leads: ReadonlyMap<number, number> | null;
}

/** Buffers of a message start at multiples of this many bytes. */
const ALIGNMENT = 64;
const SLAB_NUMBERS = 8192;
const NO_NUMBERS = new Float64Array(0);

let slab = new ArrayBuffer(0);
let used = 0;

/** Room for numbers. Small typed arrays of their own cost more than all else that is done for a batch. */
function room(count: number): Float64Array<ArrayBuffer> {
  if (count > SLAB_NUMBERS / 8) return new Float64Array(count);
  if (8 * (used + count) > slab.byteLength) {
    slab = new ArrayBuffer(8 * SLAB_NUMBERS);
    used = 0;
  }
  const numbers = new Float64Array(slab, 8 * used, count);
  used += count;
  return numbers;
}

/** Collects the numbers of one tree in the order of a message. */
export class NumbersBuilder {
  readonly #nodes: Float64Array;
  #buffers: Float64Array;
  #at: Float64Array;
  #nodeCount = 0;
  #count = 0;
  #end = 0;
  readonly #variadicCounts: number[] = [];
  #changes: Map<number, Change> | null = null;
  #leads: Map<number, number> | null = null;

  /**
   * @param nodes Nodes of the tree
   * @param buffers Its buffers, without variadic ones
   */
  constructor(nodes: number, buffers: number) {
    this.#nodes = room(2 * nodes);
    this.#buffers = room(2 * buffers);
    this.#at = room(buffers);
  }

  /** Length of the first node. */
  get length(): number {
    return this.#nodes[0];
  }

  /** Adds a node. */
  node(length: number, nulls: number): void {
    this.#nodes[this.#nodeCount++] = length;
    this.#nodes[this.#nodeCount++] = nulls;
  }

  /** Adds a buffer. */
  buffer(at: number, byteLength: number): void {
    const index = this.#count++;
    this.#at[index] = at;
    this.#buffers[2 * index] = this.#end;
    this.#buffers[2 * index + 1] = byteLength;
    this.#end += Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
  }

  /** Says what the buffer that is added next needs. */
  change(change: Change): void {
    (this.#changes ??= new Map()).set(this.#count, change);
  }

  /** Says how many bytes before the buffer that is added next the offsets count from. */
  lead(bytes: number): void {
    (this.#leads ??= new Map()).set(this.#count, bytes);
  }

  /** Makes room for the variadic buffers of a view column, which are added next. */
  variadic(count: number): void {
    this.#variadicCounts.push(count);
    this.#buffers = grown(this.#buffers, 2 * count);
    this.#at = grown(this.#at, count);
  }

  /** The numbers. */
  build(rows: number): ArrayNumbers {
    return {
      rows,
      nodes: this.#nodes,
      buffers: this.#buffers,
      at: this.#at,
      variadicCounts: this.#variadicCounts.length === 0 ? NO_NUMBERS : Float64Array.from(this.#variadicCounts),
      bodyLength: this.#end,
      changes: this.#changes,
      leads: this.#leads,
    };
  }
}

function grown(numbers: Float64Array, count: number): Float64Array {
  if (count === 0) return numbers;
  const more = new Float64Array(numbers.length + count);
  more.set(numbers);
  return more;
}
