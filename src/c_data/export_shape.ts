/**
 * How the structures of the batches of one schema lie in a cell, decided once per schema.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { BUFFERS, NodeKind } from "../ipc/buffers.ts";
import { type FieldLayout, type NodePlan, type SchemaLayout, storageOf } from "../ipc/layout.ts";
import { type Cell, CELL_WORDS, giveBackCell, handOut, takeCell } from "./cells.ts";
import { nativeCode } from "./native_code.ts";
import type { ArrayNumbers } from "./numbers.ts";
import { zeroAddress } from "./raw.ts";
import { refuseBigEndian } from "./schema_out.ts";
import { C_LAYOUT } from "./structs.ts";

const AT = C_LAYOUT.ArrowArray;
const ARRAY_WORDS = AT.size / 8;
const LENGTH = AT.length / 8, NULLS = AT.null_count / 8, BUFFER_COUNT = AT.n_buffers / 8, BUFFER_LIST = AT.buffers / 8;
const CHILD_COUNT = AT.n_children / 8, CHILD_LIST = AT.children / 8, DICTIONARY = AT.dictionary / 8;
const RELEASE = AT.release / 8, PRIVATE = AT.private_data / 8;
/** The root's structure follows the header of the cell. */
const ROOT = CELL_WORDS;

/** One structure of a cell. */
interface ExportNode {
  /** Index of its first word. */
  readonly word: number;
  /** Index of the first word of its list of buffers. */
  readonly list: number;
  readonly kind: NodeKind;
  readonly hasValidity: boolean;
  /** Buffers without variadic ones. */
  readonly bufferCount: number;
}

/** The nodes of a batch or of one dictionary, in the order of its plan. */
interface ExportTree {
  readonly nodes: readonly ExportNode[];
  /** Id of the dictionary, or `null` for the batch. */
  readonly id: bigint | null;
}

/** What the exported structures refer to. */
export interface ExportedArrays {
  readonly batch: ArrayNumbers;
  /** Locations of the values of a dictionary. */
  readonly dictionary: (id: bigint) => ArrayNumbers;
}

/** The structures of the batches of one schema. */
export class ExportShape {
  readonly layout: SchemaLayout;
  readonly #template: BigInt64Array;
  /** Words of the template that are relative to the cell. */
  readonly #relative: readonly number[];
  readonly #trees: readonly ExportTree[];
  /** The first word of every structure. */
  readonly #structs: readonly number[];
  readonly #zero: number;

  /** @param layout The schema */
  constructor(layout: SchemaLayout) {
    this.layout = layout;
    const planner = new Planner(layout);
    this.#template = planner.template();
    this.#relative = planner.relative;
    this.#trees = planner.trees;
    this.#structs = planner.structs;
    this.#zero = Number(zeroAddress());
  }

  /**
   * Exports a batch.
   *
   * @param arrays Its location
   * @param target Address of memory for an `ArrowArray`
   * @param onRelease Called once after everything was released
   * @throws {DipcError} `out_of_memory`; `unsupported` in a web worker. Nothing is exported then
   */
  export(arrays: ExportedArrays, target: bigint, onRelease: () => void): void {
    const { variadicCounts } = arrays.batch;
    const hasViews = variadicCounts.length > 0 || this.#trees.length > 1;
    const extra = hasViews ? this.#extraWords(arrays) : 0;
    const cell = takeCell(8 * (this.#template.length + extra), this);
    try {
      if (cell.shape !== this) this.#lay(cell);
      const { words } = cell;
      const { release_array } = nativeCode();
      const release = BigInt.asIntN(64, release_array);
      for (const word of this.#structs) words[word + RELEASE] = release;
      cell.put(ROOT + LENGTH, arrays.batch.rows);
      let extraWord = this.#template.length;
      for (const tree of this.#trees) {
        const numbers = tree.id === null ? arrays.batch : arrays.dictionary(tree.id);
        extraWord = this.#fill(cell, tree.nodes, numbers, extraWord);
      }
    } catch (error) {
      cell.shape = null;
      giveBackCell(cell);
      throw error;
    }
    handOut(cell, this.#structs.length, onRelease);
    libc().memcpy(target, cell.address + 8n * BigInt(ROOT), BigInt(AT.size));
    cell.words[ROOT + RELEASE] = 0n;
  }

  #extraWords({ batch, dictionary }: ExportedArrays): number {
    let words = 0;
    for (const { id, nodes } of this.#trees) {
      const { variadicCounts } = id === null ? batch : dictionary(id);
      let view = 0;
      for (const { kind, bufferCount } of nodes) {
        if (kind === NodeKind.view) words += bufferCount + 1 + 2 * variadicCounts[view++];
      }
    }
    return words;
  }

  #lay(cell: Cell): void {
    const { words } = cell;
    words.set(this.#template);
    for (const word of this.#relative) cell.put(word, cell.base + Number(this.#template[word]));
    for (const word of this.#structs) words[word + PRIVATE] = BigInt.asIntN(64, cell.address);
    cell.shape = this;
  }

  #fill(cell: Cell, nodes: readonly ExportNode[], numbers: ArrayNumbers, extraWord: number): number {
    const { at, buffers, nodes: lengths, variadicCounts } = numbers;
    const zero = this.#zero;
    let buffer = 0;
    let view = 0;
    for (let i = 0; i < nodes.length; i++) {
      const { word, list, kind, hasValidity, bufferCount } = nodes[i];
      const nulls = lengths[2 * i + 1];
      cell.put(word + LENGTH, lengths[2 * i]);
      cell.put(word + NULLS, hasValidity || bufferCount === 0 ? nulls : 0);
      const isView = kind === NodeKind.view;
      const place = isView ? extraWord : list;
      for (let k = 0; k < bufferCount; k++, buffer++) {
        if (k === 0 && hasValidity) cell.put(place, nulls === 0 ? 0 : at[buffer]);
        else cell.put(place + k, buffers[2 * buffer + 1] === 0 ? zero : at[buffer]);
      }
      if (!isView) continue;
      const count = variadicCounts[view++];
      const sizes = place + bufferCount + count + 1;
      for (let k = 0; k < count; k++, buffer++) {
        const byteLength = buffers[2 * buffer + 1];
        cell.put(place + bufferCount + k, byteLength === 0 ? zero : at[buffer]);
        cell.put(sizes + k, byteLength);
      }
      cell.put(place + bufferCount + count, cell.base + 8 * sizes);
      cell.put(word + BUFFER_COUNT, bufferCount + count + 1);
      cell.put(word + BUFFER_LIST, cell.base + 8 * place);
      extraWord = sizes + count;
    }
    return extraWord;
  }
}

/** Places structures, lists of buffers and lists of children. */
class Planner {
  readonly structs: number[] = [];
  readonly relative: number[] = [];
  readonly trees: ExportTree[] = [];
  readonly #values = new Map<number, number>();
  readonly #layout: SchemaLayout;
  #end = ROOT;

  constructor(layout: SchemaLayout) {
    this.#layout = layout;
    const root = this.#struct(1, layout.fields.length);
    const nodes: ExportNode[] = [];
    this.trees.push({ id: null, nodes });
    const places = layout.fields.map((field) => this.#node(field, field.dictionary !== null, nodes));
    this.#children(root.word, places);
  }

  template(): BigInt64Array {
    const words = new BigInt64Array(this.#end);
    for (const [word, value] of this.#values) words[word] = BigInt(value);
    return words;
  }

  #struct(bufferCount: number, childCount: number): { word: number; list: number } {
    const word = this.#end;
    const list = word + ARRAY_WORDS;
    this.structs.push(word);
    this.#end = list + bufferCount + childCount;
    this.#values.set(word + BUFFER_COUNT, bufferCount).set(word + CHILD_COUNT, childCount);
    if (bufferCount > 0) this.#refer(word + BUFFER_LIST, list);
    if (childCount > 0) this.#refer(word + CHILD_LIST, list + bufferCount);
    return { word, list };
  }

  #refer(word: number, to: number): void {
    this.#values.set(word, 8 * to);
    this.relative.push(word);
  }

  #children(word: number, places: readonly number[]): void {
    const list = this.#values.get(word + CHILD_LIST);
    places.forEach((place, i) => this.#refer(list! / 8 + i, place));
  }

  #node(field: FieldLayout, isEncoded: boolean, into: ExportNode[]): number {
    const { kind } = storageOf(isEncoded ? field.dictionary!.index : field.type);
    const specs = BUFFERS[kind].filter(({ role }) => role !== "variadic");
    const children = isEncoded ? [] : field.children;
    const { word, list } = this.#struct(specs.length, children.length);
    into.push({ word, list, kind, hasValidity: specs[0]?.role === "validity", bufferCount: specs.length });
    if (children.length > 0) {
      this.#children(word, children.map((child) => this.#node(child, child.dictionary !== null, into)));
    }
    if (isEncoded) {
      const nodes: ExportNode[] = [];
      const { id } = field.dictionary!;
      this.trees.push({ id, nodes });
      // Fields that share a dictionary may name its values differently; the batches have those of the first one.
      this.#refer(word + DICTIONARY, this.#node(this.#layout.dictionaries.get(id)!.field, false, nodes));
    }
    return word;
  }
}

const shapes = new WeakMap<SchemaLayout, ExportShape>();

/** The shape of a schema, planned once for each. @throws {DipcError} `unsupported` for big-endian data */
export function exportShape(layout: SchemaLayout): ExportShape {
  let shape = shapes.get(layout);
  if (shape === undefined) {
    refuseBigEndian(layout);
    shapes.set(layout, shape = new ExportShape(layout));
  }
  return shape;
}

/**
 * The numbers of a message whose body is in one piece.
 *
 * @param header Its numbers
 * @param address Address of its body
 */
export function numbersOfBody(
  header: {
    readonly rows: number;
    readonly nodes: Float64Array;
    readonly buffers: Float64Array;
    readonly variadicCounts: Float64Array;
    readonly bodyLength: number;
    readonly plan: NodePlan;
    readonly version: 4 | 5;
  },
  address: bigint,
): ArrayNumbers {
  const { rows, nodes, variadicCounts, bodyLength } = header;
  const buffers = header.version === 4 ? withoutUnused(header.buffers, header.plan, variadicCounts) : header.buffers;
  const base = Number(address);
  const at = new Float64Array(buffers.length / 2);
  for (let i = 0; i < at.length; i++) at[i] = base + buffers[2 * i];
  return { rows, nodes, buffers, at, variadicCounts, bodyLength, changes: null, leads: null };
}

/** Before metadata V5 a union had a buffer that carries nothing. */
function withoutUnused(buffers: Float64Array, plan: NodePlan, variadicCounts: Float64Array): Float64Array {
  const kept: number[] = [];
  let view = 0;
  for (let node = 0, at = 0; node < plan.nodeCount; node++) {
    const kind = plan.kinds[node];
    if (kind === NodeKind.sparseUnion || kind === NodeKind.denseUnion) at += 2;
    const count = BUFFERS[kind].length + (kind === NodeKind.view ? variadicCounts[view++] - 1 : 0);
    for (const end = at + 2 * count; at < end; at++) kept.push(buffers[at]);
  }
  return Float64Array.from(kept);
}
