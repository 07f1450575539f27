/**
 * Puts chunks together: those of a dictionary, whose values a stream may send in several messages and a structure has in one; and
 * small batches of one schema.
 *
 * @module
 */
import { DipcError, unexpected } from "../errors.ts";
import { hasValidity, NodeKind } from "../ipc/buffers.ts";
import type { FieldLayout, NodePlan, SchemaLayout } from "../ipc/layout.ts";
import { quoted } from "../ipc/quote.ts";
import { cappedRuns, fresh, joined, joinedBits, readInteger, shifted, sum, writeInteger } from "./joined_buffers.ts";
import { type LocatedTree, placed } from "./located_tree.ts";

/**
 * The values of all chunks in one tree, copied.
 *
 * @param plan Nodes of each chunk
 * @param chunks The chunks in order, checked; none for no values
 */
export function concatenate(plan: NodePlan, chunks: readonly LocatedTree[]): LocatedTree {
  const walk = new Concatenation(plan, chunks);
  const length = walk.node(plan.roots[0], false);
  return placed(length, walk.nodes, walk.variadicCounts, walk.buffers);
}

/** The rows of small batches of one schema in one batch, copied. */
export class ConcatenatedBatch {
  readonly rows: number;
  /** Length and null count of each node. */
  readonly nodes: readonly number[];
  readonly buffers: readonly Uint8Array<ArrayBuffer>[];
  readonly variadicCounts: readonly number[];

  /**
   * @param layout Schema of the batches
   * @param batches The batches in order, checked; their dictionaries are the same
   */
  constructor({ plan }: SchemaLayout, batches: readonly LocatedTree[]) {
    const walk = new Concatenation(plan, batches);
    for (const root of plan.roots) walk.node(root, root.dictionary !== null);
    this.rows = sum(batches.map(({ numbers }) => numbers.rows));
    this.nodes = walk.nodes;
    this.buffers = walk.buffers;
    this.variadicCounts = walk.variadicCounts;
  }
}

class Concatenation {
  readonly nodes: number[] = [];
  readonly buffers: Uint8Array<ArrayBuffer>[] = [];
  readonly variadicCounts: number[] = [];
  readonly #plan: NodePlan;
  readonly #chunks: readonly LocatedTree[];
  /** Next buffer of each chunk. */
  readonly #at: number[];
  #node = 0;
  #view = 0;
  /** Bytes that may still be made for values whose chunk has no bitmap, as none of them are null. */
  #bitmapBytes: number;

  constructor(plan: NodePlan, chunks: readonly LocatedTree[]) {
    this.#plan = plan;
    this.#chunks = chunks;
    this.#at = chunks.map(() => 0);
    this.#bitmapBytes = Math.max(FREE_BITMAP_BYTES, BITMAP_BYTES_PER_BYTE * sum(chunks.map(sizeOf)));
  }

  /** Adds a node and those below it. @returns its length */
  node(field: FieldLayout, isEncoded: boolean): number {
    const index = this.#node++;
    const kind = this.#plan.kinds[index];
    const lengths = this.#chunks.map(({ numbers }) => numbers.nodes[2 * index]);
    const nulls = this.#chunks.map(({ numbers }) => numbers.nodes[2 * index + 1]);
    const total = sum(lengths);
    this.nodes.push(total, sum(nulls));
    if (hasValidity(kind)) this.#validity(field, lengths, nulls);
    const take = (): Uint8Array[] => this.#chunks.map(({ buffers }, chunk) => buffers.get(this.#at[chunk]++));
    const children = (): void => {
      if (!isEncoded) { for (const child of field.children) this.node(child, child.dictionary !== null); }
    };
    switch (kind) {
      case NodeKind.none:
        if (field.children.length > 0) this.#runs(field, lengths);
        return total;
      case NodeKind.fixed: {
        const bits = this.#plan.bits[index];
        this.buffers.push(
          bits % 8 === 0 ? joined(take(), lengths.map((n) => n * bits / 8)) : joinedBits(take(), lengths),
        );
        return total;
      }
      case NodeKind.binary32:
      case NodeKind.binary64: {
        const offsets = take(), data = take();
        const ranges = this.#offsets(offsets, lengths, kind === NodeKind.binary64 ? 8 : 4);
        const used = data.map((bytes, chunk) => bytes.subarray(...ranges[chunk]));
        this.buffers.push(joined(used, used.map(({ byteLength }) => byteLength)));
        return total;
      }
      case NodeKind.view:
        this.#views(take(), lengths);
        return total;
      case NodeKind.list32:
      case NodeKind.list64: {
        const available = this.#childLengths(this.#node);
        const ranges = this.#offsets(take(), lengths, kind === NodeKind.list64 ? 8 : 4);
        if (ranges.some(([first, end], chunk) => first !== 0 || end !== available[chunk])) throw looseLists(field);
        children();
        return total;
      }
      case NodeKind.listView32:
      case NodeKind.listView64: {
        const width = kind === NodeKind.listView32 ? 4 : 8;
        this.buffers.push(shifted(take(), lengths, width, running(this.#childLengths(this.#node))));
        this.buffers.push(joined(take(), lengths.map((n) => n * width)));
        children();
        return total;
      }
      case NodeKind.validity:
        children();
        return total;
      case NodeKind.sparseUnion:
        this.buffers.push(joined(take(), lengths));
        children();
        return total;
      case NodeKind.denseUnion:
        this.#denseUnion(field, take(), take(), lengths);
        children();
        return total;
      default:
        return unexpected(kind);
    }
  }

  #validity(field: FieldLayout, lengths: readonly number[], nulls: readonly number[]): void {
    const bitmaps = this.#chunks.map(({ buffers }, chunk) => buffers.get(this.#at[chunk]++));
    if (sum(nulls) === 0) {
      this.buffers.push(new Uint8Array(0));
      return;
    }
    this.#bitmapBytes -= sum(lengths.map((length, chunk) => nulls[chunk] > 0 ? 0 : Math.ceil(length / 8)));
    if (this.#bitmapBytes < 0) throw emptyValues(field);
    const full = bitmaps.map((bytes, chunk) =>
      nulls[chunk] > 0 ? bytes : new Uint8Array(Math.ceil(lengths[chunk] / 8)).fill(255)
    );
    this.buffers.push(joinedBits(full, lengths));
  }

  /** Values of a node in each chunk. */
  #childLengths(node: number): number[] {
    return this.#chunks.map(({ numbers }) => numbers.nodes[2 * node]);
  }

  /** Adds offsets that begin with 0. @returns the range that those of each chunk cover */
  #offsets(offsets: readonly Uint8Array[], lengths: readonly number[], width: 4 | 8): [first: number, end: number][] {
    const out = fresh(width * (sum(lengths) + 1));
    const view = new DataView(out.buffer);
    let row = 1, base = 0;
    const ranges = offsets.map((bytes, chunk): [number, number] => {
      const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const length = lengths[chunk];
      if (length === 0) return [0, 0];
      const first = readInteger(from, 0, width), end = readInteger(from, length, width);
      for (let i = 1; i <= length; i++, row++) {
        writeInteger(view, row, width, readInteger(from, i, width) - first + base);
      }
      base += end - first;
      return [first, end];
    });
    this.buffers.push(out);
    return ranges;
  }

  #views(views: readonly Uint8Array[], lengths: readonly number[]): void {
    const out = joined(views, lengths.map((n) => 16 * n));
    const view = new DataView(out.buffer);
    const data: Uint8Array<ArrayBuffer>[] = [];
    let row = 0;
    this.#chunks.forEach(({ numbers, buffers }, chunk) => {
      const first = data.length;
      for (let left = numbers.variadicCounts[this.#view]; left > 0; left--) data.push(buffers.get(this.#at[chunk]++));
      for (let i = 0; i < lengths[chunk]; i++, row++) {
        if (view.getInt32(16 * row, true) > 12) {
          view.setInt32(16 * row + 8, view.getInt32(16 * row + 8, true) + first, true);
        }
      }
    });
    this.#view++;
    this.buffers.push(out, ...data);
    this.variadicCounts.push(data.length);
  }

  #denseUnion(
    field: FieldLayout,
    ids: readonly Uint8Array[],
    offsets: readonly Uint8Array[],
    lengths: readonly number[],
  ): void {
    this.buffers.push(joined(ids, lengths));
    const out = joined(offsets, lengths.map((n) => 4 * n));
    const view = new DataView(out.buffer);
    const { type } = field;
    if (type.id !== "union") return;
    const bases = new Float64Array(128);
    let row = 0;
    this.#chunks.forEach(({ numbers }, chunk) => {
      for (let i = 0; i < lengths[chunk]; i++, row++) {
        view.setInt32(4 * row, view.getInt32(4 * row, true) + bases[ids[chunk][i]], true);
      }
      let node = this.#node;
      field.children.forEach((child, i) => {
        bases[type.typeIds[i]] += numbers.nodes[2 * node];
        node += nodesOf(child);
      });
    });
    this.buffers.push(out);
  }

  /** Run ends continue those of the preceding chunk, which are cut at its length. */
  #runs(field: FieldLayout, lengths: readonly number[]): void {
    const bits = this.#plan.bits[this.#node];
    const ends = this.#node++;
    const counts = this.#childLengths(ends);
    this.nodes.push(sum(counts), 0);
    this.buffers.push(fresh(0));
    const runs = this.#chunks.map(({ buffers }, chunk) => {
      this.#at[chunk]++;
      return buffers.get(this.#at[chunk]++);
    });
    const capped = runs.map((bytes, chunk) => cappedRuns(bytes, counts[chunk], bits / 8, lengths[chunk]));
    this.buffers.push(shifted(capped, counts, bits / 8, running(lengths)));
    const [, values] = field.children;
    this.node(values, values.dictionary !== null);
  }
}

/** Bytes of bitmaps that are made, however short the chunks are. */
const FREE_BITMAP_BYTES = 64 * 2 ** 20;
/** The same for each byte of the chunks: values have a bit or more, but are inside others, each of which has a bitmap. */
const BITMAP_BYTES_PER_BYTE = 8;

/** Size of all buffers of a chunk in bytes. */
function sizeOf({ buffers: { length, get } }: LocatedTree): number {
  let size = 0;
  for (let i = 0; i < length; i++) size += get(i).byteLength;
  return size;
}

function emptyValues(field: FieldLayout): DipcError {
  return new DipcError(
    "limit_exceeded",
    `cannot export column ${
      quoted(field.path)
    }: several messages of values without bytes have more of them than fit into ` +
      "memory; send them in one message",
  );
}

function looseLists(field: FieldLayout): DipcError {
  return new DipcError(
    "unsupported",
    `cannot export column ${quoted(field.path)}: its dictionary came in several messages of lists with unused items; ` +
      "send the dictionary in one message",
  );
}

/** Nodes of a field and those below it. */
function nodesOf(field: FieldLayout): number {
  return field.dictionary !== null ? 1 : 1 + field.children.reduce((count, child) => count + nodesOf(child), 0);
}

/** The sum of those before each number. */
function running(numbers: readonly number[]): number[] {
  let total = 0;
  return numbers.map((number) => (total += number) - number);
}
