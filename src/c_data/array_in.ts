/**
 * Reads the structures of one `ArrowArray` against its schema, before anything that they point to is used.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../errors.ts";
import { fixedBufferCount, hasValidity, NodeKind } from "../ipc/buffers.ts";
import { quoted } from "../ipc/quote.ts";
import { countNulls, sliceRuns } from "./bits_in.ts";
import { type ImportShape, NEAR_BUFFERS, type ShapeNode } from "./import_shape.ts";
import { type ArrayNumbers, NumbersBuilder } from "./numbers.ts";
import { integerAt, invalidStruct, scratch, zeroAddress } from "./raw.ts";
import { C_LAYOUT } from "./structs.ts";

const AT = C_LAYOUT.ArrowArray;
const LENGTH = AT.length / 8, NULLS = AT.null_count / 8, OFFSET = AT.offset / 8, BUFFER_COUNT = AT.n_buffers / 8;
const CHILD_COUNT = AT.n_children / 8, BUFFERS = AT.buffers / 8, CHILDREN = AT.children / 8;
const DICTIONARY = AT.dictionary / 8, RELEASE = AT.release / 8;
const STRUCT_BYTES = BigInt(AT.size);
/** Most data buffers of a column of views. */
const MAX_VARIADIC = 1_000_000;

/** Copies memory of the space in which the buffers lie. */
export type Copy = (target: bigint, source: bigint, byteLength: bigint) => void;

/** Locations of the columns of a batch, and of the values of their dictionaries. */
export interface ImportedArrays {
  readonly batch: ArrayNumbers;
  /** Dictionaries in the order in which a stream sends them: inner ones first. */
  readonly dictionaries: readonly { readonly id: bigint; readonly values: ArrayNumbers }[];
}

/**
 * Reads an array.
 *
 * @param shape What it must look like; its memory is used
 * @param address Address of the `ArrowArray` of a struct, whose children are the columns
 * @param copy Copies memory of the space in which the buffers lie
 * @throws {DipcError} `invalid_data` if it contradicts its schema or itself; `unsupported` for a batch with null rows;
 * `limit_exceeded`
 */
export function readArrays(shape: ImportShape, address: bigint, copy: Copy = libc().memcpy): ImportedArrays {
  const { memory: { halves }, rootWord } = shape;
  const { memcpy } = libc();
  const isGathered = copy === memcpy && shape.gather.read(address);
  if (!isGathered) memcpy(shape.rootAddress, address, STRUCT_BYTES);
  const walk = new ArrayWalk(shape, copy, isGathered);
  const rows = walk.count(rootWord + LENGTH, "length", null);
  const offset = walk.count(rootWord + OFFSET, "offset", null);
  const columns = shape.columns;
  if (integerAt(halves, rootWord + CHILD_COUNT) !== columns.length) {
    throw invalidStruct(
      `the array has ${integerAt(halves, rootWord + CHILD_COUNT)} children, its schema ${columns.length}`,
    );
  }
  if (integerAt(halves, rootWord + BUFFER_COUNT) !== 1) {
    throw invalidStruct(`the array has ${integerAt(halves, rootWord + BUFFER_COUNT)} buffers, expected 1 for a struct`);
  }
  if (walk.pointer(rootWord + DICTIONARY) !== 0) throw invalidStruct("the array has a dictionary, its schema has none");
  walk.checkRoot(rows, offset);
  if (!isGathered) walk.readPointers(rootWord + CHILDREN, shape.rootChildAddress, columns.length, null);
  const plan = shape.layout.plan;
  const builder = new NumbersBuilder(plan.nodeCount, plan.bufferCounts[5]);
  for (let i = 0; i < columns.length; i++) walk.node(columns[i], shape.rootChildWord + i, offset, rows, builder);
  return { batch: builder.build(rows), dictionaries: walk.dictionaries };
}

/** All the values that an array has. */
const WHOLE = -1;

class ArrayWalk {
  readonly dictionaries: { id: bigint; values: ArrayNumbers }[] = [];
  readonly #shape: ImportShape;
  readonly #halves: Uint32Array;
  readonly #words: BigUint64Array;
  readonly #copy: Copy;
  readonly #isGathered: boolean;
  readonly #memcpy = libc().memcpy;

  /** @param isGathered Whether all structures are in the scratch already */
  constructor(shape: ImportShape, copy: Copy, isGathered: boolean) {
    this.#isGathered = isGathered;
    this.#shape = shape;
    this.#halves = shape.memory.halves;
    this.#words = shape.memory.words;
    this.#copy = copy;
  }

  /** The columns of a batch have values in every row. */
  checkRoot(rows: number, offset: number): void {
    const { rootWord } = this.#shape;
    const declared = integerAt(this.#halves, rootWord + NULLS);
    if (declared === 0) return;
    if (!(declared >= -1 && declared <= rows)) {
      throw invalidStruct(`the array has ${declared} nulls in ${rows} rows`);
    }
    if (this.#words[rootWord + BUFFERS] === 0n) throw invalidStruct("the array has no list of buffers");
    this.#memcpy(this.#shape.valueAddress, this.#words[rootWord + BUFFERS], 8n);
    const bitmap = this.pointer(this.#shape.valueWord);
    if (bitmap === 0 && declared === -1) return;
    if (declared > 0 || countNulls(this.#copy, bitmap, offset, rows) > 0) {
      throw new DipcError(
        "unsupported",
        "cannot import Arrow data: its struct has null rows, which a record batch cannot have; put the struct into a column",
      );
    }
  }

  /** A number from 0 up. */
  count(word: number, what: string, node: ShapeNode | null): number {
    const value = integerAt(this.#halves, word);
    if (value >= 0) return value;
    throw invalidStruct(`${nameOf(node)} has a negative ${what}, or one of 2^53 or more`);
  }

  /** An address. */
  pointer(word: number): number {
    const value = integerAt(this.#halves, word);
    if (value >= 0) return value;
    throw invalidStruct(`it has a pointer to ${this.#words[word]}, outside the memory of any process`);
  }

  #isNull(word: number): boolean {
    return this.#halves[2 * word] === 0 && this.#halves[2 * word + 1] === 0;
  }

  /** Reads a list of pointers into the scratch. */
  readPointers(word: number, target: bigint, count: number, node: ShapeNode | null): void {
    if (count === 0) return;
    const source = this.#words[word];
    if (source === 0n) throw invalidStruct(`${nameOf(node)} has no list of its ${count} children or buffers`);
    this.#memcpy(target, source, BigInt(8 * count));
  }

  /**
   * Reads one array and those below it.
   *
   * @param node What it must look like
   * @param word Index of the word with its address
   * @param from First of its values that is needed
   * @param count Number of those, or {@linkcode WHOLE}
   * @param to Takes the numbers
   */
  node(node: ShapeNode, word: number, from: number, count: number, to: NumbersBuilder): void {
    if (this.#isNull(word)) throw invalidStruct(`${nameOf(node)} has no structure`);
    if (!this.#isGathered) this.#memcpy(node.structAddress, this.#words[word], STRUCT_BYTES);
    const at = node.word;
    if (this.#isNull(at + RELEASE)) throw invalidStruct(`${nameOf(node)} was released or moved`);
    const length = this.count(at + LENGTH, "length", node);
    const offset = this.count(at + OFFSET, "offset", node);
    const rows = count === WHOLE ? length : count;
    if (from + rows > length) {
      throw invalidStruct(`${nameOf(node)} has ${length} values, those of its parent need ${from + rows}`);
    }
    const begin = offset + from;
    if (!Number.isSafeInteger(offset + length)) throw invalidStruct(`${nameOf(node)} ends at 2^53 or more`);
    const bufferCount = this.#buffers(node);
    const { kind } = node;
    if (integerAt(this.#halves, at + CHILD_COUNT) !== node.children.length) {
      throw invalidStruct(
        `${nameOf(node)} has ${integerAt(this.#halves, at + CHILD_COUNT)} children, expected ${node.children.length}`,
      );
    }
    if (!this.#isGathered) this.readPointers(at + CHILDREN, node.childAddress, node.children.length, node);
    if (this.#isNull(at + DICTIONARY) !== (node.values === null)) {
      throw invalidStruct(`${nameOf(node)} has ${node.values === null ? "a" : "no"} dictionary, unlike its schema`);
    }
    const nulls = this.#nulls(node, begin, rows, rows === length);
    to.node(rows, nulls);
    if (hasValidity(kind)) {
      if (nulls > 0) this.#bits(node, node.bufferWord, begin, rows, to);
      else to.buffer(0, 0);
    }
    this.#content(node, begin, rows, bufferCount, to);
    if (node.values !== null) this.#dictionary(node, node.values);
  }

  /** Checks the number of buffers, and reads their addresses. @returns how many there are */
  #buffers(node: ShapeNode): number {
    const count = integerAt(this.#halves, node.word + BUFFER_COUNT);
    const isView = node.kind === NodeKind.view;
    // Polars gives columns of nulls a bitmap.
    if (count === 1 && node.field.type.id === "null" && node.kind === NodeKind.none) return node.bufferCount;
    if (isView ? !(count >= node.bufferCount) : count !== node.bufferCount) {
      throw invalidStruct(
        `${nameOf(node)} has ${count} buffers, expected ${node.bufferCount}${isView ? " or more" : ""}`,
      );
    }
    if (isView && count > MAX_VARIADIC) {
      throw new DipcError(
        "limit_exceeded",
        `cannot import Arrow data: ${
          nameOf(node)
        } has ${count} buffers, more than ${MAX_VARIADIC}; export smaller batches`,
      );
    }
    if (!this.#isGathered) {
      this.readPointers(node.word + BUFFERS, node.bufferAddress, Math.min(count, NEAR_BUFFERS), node);
    }
    return count;
  }

  /** Nulls among the values that are needed. */
  #nulls(node: ShapeNode, begin: number, rows: number, isWhole: boolean): number {
    const declared = integerAt(this.#halves, node.word + NULLS);
    const length = integerAt(this.#halves, node.word + LENGTH);
    if (!(declared >= -1 && declared <= length)) {
      throw invalidStruct(`${nameOf(node)} has ${declared} nulls in ${length} values`);
    }
    if (!hasValidity(node.kind)) return node.field.type.id === "null" && node.kind === NodeKind.none ? rows : 0;
    if (declared === 0 || rows === 0) return 0;
    const bitmap = this.pointer(node.bufferWord);
    if (bitmap === 0) {
      if (declared > 0) throw invalidStruct(`${nameOf(node)} has ${declared} nulls and no validity bitmap`);
      return 0;
    }
    if (isWhole && declared > 0) return declared;
    return declared === length ? rows : countNulls(this.#copy, bitmap, begin, rows);
  }

  /** Adds everything but the validity bitmap. */
  #content(node: ShapeNode, begin: number, rows: number, bufferCount: number, to: NumbersBuilder): void {
    const { kind, bufferWord, children, childWord } = node;
    switch (kind) {
      case NodeKind.none:
        if (children.length > 0) this.#runs(node, begin, rows, to);
        return;
      case NodeKind.fixed:
        if (node.bits % 8 === 0) this.#data(node, bufferWord + 1, begin * node.bits / 8, rows * node.bits / 8, to);
        else this.#bits(node, bufferWord + 1, begin, rows, to);
        return;
      case NodeKind.binary32:
      case NodeKind.binary64:
        return this.#binary(node, begin, rows, to);
      case NodeKind.view:
        this.#data(node, bufferWord + 1, 16 * begin, 16 * rows, to);
        return this.#variadic(node, bufferCount, to);
      case NodeKind.list32:
      case NodeKind.list64: {
        const [first, last] = this.#offsets(node, begin, rows);
        const bits = kind === NodeKind.list32 ? 32 : 64;
        if (first !== 0) to.change({ kind: "offsets", bits, first });
        this.#addOffsets(node, begin, rows, bits, to);
        return this.node(children[0], childWord, first, last - first, to);
      }
      case NodeKind.listView32:
      case NodeKind.listView64: {
        const bytes = kind === NodeKind.listView32 ? 4 : 8;
        this.#data(node, bufferWord + 1, bytes * begin, bytes * rows, to);
        this.#data(node, bufferWord + 2, bytes * begin, bytes * rows, to);
        return this.node(children[0], childWord, 0, WHOLE, to);
      }
      case NodeKind.validity:
      case NodeKind.sparseUnion: {
        const factor = node.factor;
        if (kind === NodeKind.sparseUnion) this.#data(node, bufferWord, begin, rows, to);
        for (let i = 0; i < children.length; i++) {
          this.node(children[i], childWord + i, begin * factor, rows * factor, to);
        }
        return;
      }
      case NodeKind.denseUnion:
        this.#data(node, bufferWord, begin, rows, to);
        this.#data(node, bufferWord + 1, 4 * begin, 4 * rows, to);
        for (let i = 0; i < children.length; i++) this.node(children[i], childWord + i, 0, WHOLE, to);
        return;
      default:
        kind satisfies never;
    }
  }

  /** Adds a buffer of whole bytes. */
  #data(node: ShapeNode, word: number, skip: number, byteLength: number, to: NumbersBuilder): void {
    const at = byteLength === 0 ? 0 : this.pointer(word);
    if (byteLength > 0 && at === 0) throw invalidStruct(`${nameOf(node)} lacks a buffer of ${byteLength} bytes`);
    if (!Number.isSafeInteger(at + skip + byteLength)) throw invalidStruct(`a buffer of ${nameOf(node)} is too long`);
    to.buffer(at === 0 ? 0 : at + skip, byteLength);
  }

  /** Adds the offsets, one more than there are rows; without rows that one is 0, whatever the library has there, if anything. */
  #addOffsets(node: ShapeNode, begin: number, rows: number, bits: 32 | 64, to: NumbersBuilder): void {
    const width = bits / 8;
    if (rows > 0) this.#data(node, node.bufferWord + 1, begin * width, (rows + 1) * width, to);
    else if (this.#copy === this.#memcpy) to.buffer(Number(zeroAddress()), width);
    else to.buffer(0, 0);
  }

  #bits(node: ShapeNode, word: number, begin: number, count: number, to: NumbersBuilder): void {
    const first = begin % 8;
    if (first !== 0 && count > 0) to.change({ kind: "bits", first, count });
    this.#data(node, word, Math.floor(begin / 8), Math.ceil(count / 8), to);
  }

  /** The first and the last offset of a range. */
  #offsets(node: ShapeNode, begin: number, rows: number): [first: number, last: number] {
    if (rows === 0) return [0, 0];
    const at = this.pointer(node.bufferWord + 1);
    if (at === 0) throw invalidStruct(`${nameOf(node)} lacks its offsets`);
    const isWide = node.kind === NodeKind.binary64 || node.kind === NodeKind.list64;
    const width = isWide ? 8 : 4;
    if (!Number.isSafeInteger(at + width * (begin + rows + 1))) {
      throw invalidStruct(`a buffer of ${nameOf(node)} is too long`);
    }
    const isAtHand = this.#isGathered && node.isColumn;
    const first = isAtHand ? integerAt(this.#halves, node.rangeWord) : this.#value(at + width * begin, isWide);
    const last = isAtHand
      ? integerAt(this.#halves, node.rangeWord + 1)
      : this.#value(at + width * (begin + rows), isWide);
    if (!(first >= 0 && last >= first)) {
      throw invalidStruct(`the offsets of ${nameOf(node)} do not rise from 0 or more`);
    }
    return [first, last];
  }

  #value(at: number, isWide: boolean): number {
    const { valueAddress, valueWord } = this.#shape;
    this.#copy(valueAddress, BigInt(at), isWide ? 8n : 4n);
    return isWide ? integerAt(this.#halves, valueWord) : this.#halves[2 * valueWord] | 0;
  }

  #binary(node: ShapeNode, begin: number, rows: number, to: NumbersBuilder): void {
    const [first, last] = this.#offsets(node, begin, rows);
    const bits = node.kind === NodeKind.binary32 ? 32 : 64;
    if (first !== 0) to.change({ kind: "offsets", bits, first });
    this.#addOffsets(node, begin, rows, bits, to);
    if (last > first && first !== 0) to.lead(first);
    this.#data(node, node.bufferWord + 2, first, last - first, to);
  }

  /** The buffers with long values; their sizes are in the last buffer. */
  #variadic(node: ShapeNode, bufferCount: number, to: NumbersBuilder): void {
    const count = bufferCount - node.bufferCount;
    to.variadic(count);
    if (count === 0) return;
    const pointers = scratch(8 * bufferCount);
    this.#memcpy(pointers.address, this.#words[node.word + BUFFERS], BigInt(8 * bufferCount));
    const sizesAt = pointers.words[bufferCount - 1];
    if (sizesAt === 0n) throw invalidStruct(`${nameOf(node)} lacks the sizes of its ${count} data buffers`);
    const sizes = scratch(8 * count);
    this.#memcpy(sizes.address, sizesAt, BigInt(8 * count));
    for (let i = 0; i < count; i++) {
      const at = integerAt(pointers.halves, i + 2), size = integerAt(sizes.halves, i);
      if (!(size >= 0 && at >= 0 && (at > 0 || size === 0) && Number.isSafeInteger(at + size))) {
        throw invalidStruct(`data buffer ${i} of ${nameOf(node)} is at ${at} and has ${size} bytes`);
      }
      to.buffer(size === 0 ? 0 : at, size);
    }
  }

  /** The runs that cover a range. */
  #runs(node: ShapeNode, begin: number, rows: number, to: NumbersBuilder): void {
    const [ends, values] = node.children;
    const { childWord } = node;
    const found = this.#runEnds(ends, childWord, begin, rows, nameOf(node));
    to.node(found.count, 0);
    to.buffer(0, 0);
    const width = ends.bits / 8;
    if (begin !== 0 && rows > 0) to.change({ kind: "runEnds", bits: ends.bits, first: begin, rows });
    to.buffer(found.count === 0 ? 0 : found.at + width * found.index, width * found.count);
    this.node(values, childWord + 1, found.index, found.count, to);
  }

  #runEnds(ends: ShapeNode, word: number, begin: number, rows: number, name: string): {
    at: number;
    index: number;
    count: number;
  } {
    const probe = new NumbersBuilder(1, fixedBufferCount(NodeKind.fixed, 5));
    this.node(ends, word, 0, WHOLE, probe);
    const { nodes: [length, nulls], at: [, at] } = probe.build(0);
    if (nulls > 0) throw invalidStruct(`the run ends of ${name} have nulls`);
    if (rows === 0) return { at: 0, index: 0, count: 0 };
    const range = sliceRuns(this.#copy, at, ends.bits, length, begin, rows);
    if (range === null) {
      throw invalidStruct(`the run ends of ${name} do not rise from 1 or more to ${begin + rows} or more`);
    }
    return { at, ...range };
  }

  #dictionary(node: ShapeNode, values: ShapeNode): void {
    const { id } = node.field.dictionary!;
    const { plan } = this.#shape.layout.dictionaries.get(id)!;
    const builder = new NumbersBuilder(plan.nodeCount, plan.bufferCounts[5]);
    this.node(values, node.word + DICTIONARY, 0, WHOLE, builder);
    this.dictionaries.push({ id, values: builder.build(builder.length) });
  }
}

function nameOf(node: ShapeNode | null): string {
  return node === null ? "the array" : `column ${quoted(node.field.path)}`;
}
