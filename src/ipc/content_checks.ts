/**
 * Checks the content of a batch: offsets, views, type ids, indices and run ends that lead out of their buffers.
 *
 * Metadata is verified when a message is read, and columns of apache-arrow when they are built. This is for readers of the buffers
 * themselves that trust what they are given, such as libraries in C, and so covers every type.
 *
 * @module
 */
import { DipcError, unexpected } from "../errors.ts";
import { fixedBufferCount, hasValidity, NodeKind } from "./buffers.ts";
import type { FieldLayout, NodePlan } from "./layout.ts";
import { quoted } from "./quote.ts";

/** A batch, or the values of a dictionary. */
export interface CheckedContent {
  readonly plan: NodePlan;
  readonly version: 4 | 5;
  /** Length and null count of each node. */
  readonly nodes: Float64Array;
  readonly variadicCounts: Float64Array;
  /** The bytes of a buffer; its array buffer need not be aligned. */
  readonly buffer: (index: number) => Uint8Array;
  /** Number of values of a dictionary, `null` if it has not been sent. */
  readonly dictionaryLength: (id: bigint) => number | null;
  /** Whether the plan is that of a dictionary's values. */
  readonly isDictionary: boolean;
}

/**
 * Checks a batch.
 *
 * @throws {DipcError} `invalid_data` naming the column whose content contradicts itself
 */
export function checkContent(content: CheckedContent): void {
  const walk = new ContentWalk(content);
  for (const field of content.plan.roots) walk.node(field, !content.isDictionary && field.dictionary !== null);
}

/** One node with its buffers. */
interface Node {
  readonly field: FieldLayout;
  readonly kind: NodeKind;
  readonly length: number;
  readonly bits: number;
  /** Its validity bitmap, empty if none of its values are null. */
  readonly validity: Uint8Array;
  /** Buffers after the validity bitmap. */
  readonly buffers: readonly Uint8Array[];
}

class ContentWalk {
  readonly #content: CheckedContent;
  #node = 0;
  #buffer = 0;
  #view = 0;

  constructor(content: CheckedContent) {
    this.#content = content;
  }

  /** Checks a node and those below it. @returns its length */
  node(field: FieldLayout, isEncoded: boolean): number {
    const node = this.#take(field);
    const { length } = node;
    switch (node.kind) {
      case NodeKind.fixed:
        if (isEncoded) this.#indices(node);
        return length;
      case NodeKind.binary32:
      case NodeKind.binary64:
        checkRising(node, node.buffers[1].byteLength);
        return length;
      case NodeKind.view:
        checkViews(node);
        return length;
      case NodeKind.list32:
      case NodeKind.list64:
        checkRising(node, this.#children(field)[0]);
        return length;
      case NodeKind.listView32:
      case NodeKind.listView64:
        checkRanges(node, this.#children(field)[0]);
        return length;
      case NodeKind.none:
        if (field.children.length > 0) this.#runs(node, field);
        return length;
      case NodeKind.validity:
        this.#children(field);
        return length;
      case NodeKind.sparseUnion:
      case NodeKind.denseUnion:
        checkUnion(node, this.#children(field));
        return length;
      default:
        return unexpected(node.kind);
    }
  }

  #take(field: FieldLayout): Node {
    const { plan, nodes, variadicCounts, version } = this.#content;
    const index = this.#node++;
    const kind = plan.kinds[index];
    let count = fixedBufferCount(kind, version);
    if (kind === NodeKind.view) count += variadicCounts[this.#view++];
    // Before V5 a union began with a buffer that carries nothing.
    const unused = count - fixedBufferCount(kind, 5) > 0 && kind !== NodeKind.view ? 1 : 0;
    const start = this.#buffer;
    this.#buffer += count;
    const hasBitmap = hasValidity(kind);
    return {
      field,
      kind,
      length: nodes[2 * index],
      bits: plan.bits[index],
      validity: hasBitmap && nodes[2 * index + 1] > 0 ? this.#content.buffer(start) : NO_BYTES,
      buffers: Array.from(
        { length: count - (hasBitmap ? 1 : unused) },
        (_, i) => this.#content.buffer(start + (hasBitmap ? 1 : unused) + i),
      ),
    };
  }

  #children(field: FieldLayout): number[] {
    return field.children.map((child) => this.node(child, child.dictionary !== null));
  }

  #indices(node: Node): void {
    const { id, index } = node.field.dictionary!;
    const size = this.#content.dictionaryLength(id);
    const read = reader(node.buffers[0], index.bitWidth, index.signed);
    for (let i = 0; i < node.length; i++) {
      const value = read(i);
      if ((value >= 0 && value < (size ?? 0)) || isNull(node, i)) continue;
      throw wrong(node, `row ${i} has index ${value} into a dictionary of ${size ?? "no"} values`);
    }
  }

  #runs(node: Node, field: FieldLayout): void {
    const [ends, values] = field.children;
    const own = this.#node;
    const buffer = this.#buffer + 1;
    const [count, available] = [this.node(ends, false), this.node(values, values.dictionary !== null)];
    const read = reader(this.#content.buffer(buffer), this.#content.plan.bits[own], true);
    let last = 0;
    for (let i = 0; i < count; i++) {
      const end = read(i);
      if (!(end > last)) throw wrong(node, `run ${i} ends at ${end}, not after ${last}`);
      last = end;
    }
    if (last < node.length || available < count) {
      throw wrong(node, `its ${count} runs end at ${last}, expected ${node.length} or more, with ${available} values`);
    }
  }
}

const NO_BYTES = new Uint8Array(0);

function wrong({ field }: Node, what: string): DipcError {
  return new DipcError(
    "invalid_data",
    `cannot use column ${quoted(field.path)}: ${what}; the sender or file is damaged`,
  );
}

function isNull({ validity }: Node, row: number): boolean {
  return validity.byteLength > 0 && (validity[row >> 3] & (1 << (row & 7))) === 0;
}

/** Reads an integer of a buffer; those of 64 bits as numbers, which keeps their order. */
function reader(bytes: Uint8Array, bits: number, isSigned: boolean): (index: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (bits) {
    case 8:
      return isSigned ? (i) => view.getInt8(i) : (i) => view.getUint8(i);
    case 16:
      return isSigned ? (i) => view.getInt16(2 * i, true) : (i) => view.getUint16(2 * i, true);
    case 32:
      return isSigned ? (i) => view.getInt32(4 * i, true) : (i) => view.getUint32(4 * i, true);
    default:
      return isSigned
        ? (i) => view.getInt32(8 * i + 4, true) * 4294967296 + view.getUint32(8 * i, true)
        : (i) => view.getUint32(8 * i + 4, true) * 4294967296 + view.getUint32(8 * i, true);
  }
}

/** Checks that offsets never fall and lie between 0 and `end`. */
function checkRising(node: Node, end: number): void {
  const { length, kind, buffers: [offsets] } = node;
  // Some writers omit the single offset of an empty column.
  if (length === 0) return;
  const isWide = kind === NodeKind.binary64 || kind === NodeKind.list64;
  const isGood = !isWide && offsets.byteOffset % 4 === 0
    ? rises(new Int32Array(offsets.buffer, offsets.byteOffset, length + 1), end)
    : risesSlowly(reader(offsets, isWide ? 64 : 32, true), length, end);
  if (!isGood) throw wrong(node, `its ${length + 1} offsets do not rise from 0 to ${end} at most`);
}

function rises(offsets: Int32Array, end: number): boolean {
  let last = offsets[0];
  let sign = last;
  for (let i = 1; i < offsets.length; i++) {
    const next = offsets[i];
    // If both are 0 or more the difference cannot overflow; a negative one shows by its own sign bit.
    sign |= next | ((next - last) | 0);
    last = next;
  }
  return sign >= 0 && last <= end;
}

function risesSlowly(read: (index: number) => number, length: number, end: number): boolean {
  let last = 0;
  for (let i = 0; i <= length; i++) {
    const next = read(i);
    if (next < last) return false;
    last = next;
  }
  return last <= end;
}

/** Checks that each view that is not null lies in one of the data buffers. */
function checkViews(node: Node): void {
  const [views, ...data] = node.buffers;
  const view = new DataView(views.buffer, views.byteOffset, views.byteLength);
  for (let i = 0; i < node.length; i++) {
    const size = view.getInt32(16 * i, true);
    if (size >= 0 && size <= 12) continue;
    const index = view.getInt32(16 * i + 8, true), offset = view.getInt32(16 * i + 12, true);
    const isGood = size > 0 && index >= 0 && index < data.length && offset >= 0 &&
      offset + size <= data[index].byteLength;
    if (isGood || isNull(node, i)) continue;
    throw wrong(node, `row ${i} refers to bytes ${offset} to ${offset + size} of data buffer ${index}, out of bounds`);
  }
}

/** Checks that each list lies in the child: of list views the format demands that of nulls, too. */
function checkRanges(node: Node, end: number): void {
  const bits = node.kind === NodeKind.listView32 ? 32 : 64;
  const [offsetAt, sizeAt] = node.buffers.map((bytes) => reader(bytes, bits, true));
  for (let i = 0; i < node.length; i++) {
    const offset = offsetAt(i), size = sizeAt(i);
    if (offset >= 0 && size >= 0 && offset + size <= end) continue;
    throw wrong(node, `row ${i} refers to values ${offset} to ${offset + size} of ${end}`);
  }
}

/** Checks type ids, and the offsets of a dense union, against the children. */
function checkUnion(node: Node, children: readonly number[]): void {
  const { type } = node.field;
  if (type.id !== "union") return;
  const lengths = new Float64Array(128).fill(-1);
  type.typeIds.forEach((id, index) => lengths[id] = children[index]);
  const [ids, offsets] = node.buffers;
  const offsetAt = node.kind === NodeKind.denseUnion ? reader(offsets, 32, true) : null;
  for (let i = 0; i < node.length; i++) {
    const id = ids[i];
    const length = id > 127 ? -1 : lengths[id];
    if (length < 0) throw wrong(node, `row ${i} has type id ${id}, which is not one of the union's`);
    const offset = offsetAt === null ? i : offsetAt(i);
    if (offset < 0 || offset >= length) {
      throw wrong(node, `row ${i} refers to value ${offset} of ${length} in the child of type id ${id}`);
    }
  }
}
