/**
 * What the arrays of one schema must look like, decided once per stream, and the memory into which their structures are read.
 *
 * @module
 */
import { BUFFERS, fixedBufferCount, NodeKind } from "../ipc/buffers.ts";
import { type FieldLayout, LengthRule, type SchemaLayout, storageOf } from "../ipc/layout.ts";
import { Gather } from "./gather.ts";
import { type Scratch, scratch } from "./raw.ts";
import { C_LAYOUT } from "./structs.ts";

/** Words of an `ArrowArray`. */
const ARRAY_WORDS = C_LAYOUT.ArrowArray.size / 8;
/** Buffer pointers that are read without further memory. */
export const NEAR_BUFFERS = 4;
const RANGE_WORDS = 2;

/** One array of the tree, and where its structure is read to. */
export interface ShapeNode {
  readonly field: FieldLayout;
  readonly kind: NodeKind;
  /** Bits of one value of a fixed-width type. */
  readonly bits: number;
  /** Buffers that it must have; views have any number from this on. */
  readonly bufferCount: number;
  readonly children: readonly ShapeNode[];
  /** Values of each child that belong to one of its own; 0 if that varies. */
  readonly factor: number;
  /** The values of its dictionary. */
  readonly values: ShapeNode | null;
  /** Index of the first word of its structure in the scratch, then come its buffer pointers, then its child pointers. */
  readonly word: number;
  readonly bufferWord: number;
  readonly childWord: number;
  /** Index of two words for the first and the last one of its offsets. */
  readonly rangeWord: number;
  /** Whether it is a column, whose rows are those of the batch. */
  readonly isColumn: boolean;
  /** The addresses of these words. */
  readonly structAddress: bigint;
  readonly bufferAddress: bigint;
  readonly childAddress: bigint;
}

/** The arrays of one schema. */
export class ImportShape {
  readonly layout: SchemaLayout;
  /** Into which all structures of a batch are read. */
  readonly memory: Scratch;
  /** The columns. */
  readonly columns: readonly ShapeNode[];
  /** Index of the first word of the root's structure, and of its child pointers. */
  readonly rootWord = 0;
  readonly rootChildWord: number;
  readonly rootAddress: bigint;
  readonly rootChildAddress: bigint;
  /** One word for values that are read on the way. */
  readonly valueWord: number;
  readonly valueAddress: bigint;
  #gather: Gather | null = null;

  /** @param layout The schema */
  constructor(layout: SchemaLayout) {
    this.layout = layout;
    const words = ARRAY_WORDS + layout.fields.length + 1 +
      layout.fields.reduce((sum, field) => sum + wordsOf(field), 0);
    this.memory = scratch(8 * words);
    const { address } = this.memory;
    this.rootAddress = address;
    this.rootChildWord = ARRAY_WORDS;
    this.valueWord = ARRAY_WORDS + layout.fields.length;
    const addressAt = (word: number): bigint => address + 8n * BigInt(word);
    this.rootChildAddress = addressAt(this.rootChildWord);
    this.valueAddress = addressAt(this.valueWord);
    const planner = new Planner(this.valueWord + 1, addressAt);
    this.columns = layout.fields.map((field) => planner.plan(field, field.dictionary !== null, true));
  }

  /** Reads all structures in one call. */
  get gather(): Gather {
    return this.#gather ??= new Gather(this.memory.address, this.columns);
  }
}

/** Words that the arrays of a field need. */
function wordsOf(field: FieldLayout): number {
  const own = ARRAY_WORDS + NEAR_BUFFERS + RANGE_WORDS;
  const children = field.children.reduce((sum, child) => sum + wordsOf(child), field.children.length);
  return own + children + (field.dictionary === null ? 0 : own);
}

class Planner {
  #word: number;
  readonly #addressAt: (word: number) => bigint;

  constructor(word: number, addressAt: (word: number) => bigint) {
    this.#word = word;
    this.#addressAt = addressAt;
  }

  plan(field: FieldLayout, isEncoded: boolean, isColumn: boolean): ShapeNode {
    const type = isEncoded ? field.dictionary!.index : field.type;
    const { kind, bits, children: lengths } = storageOf(type);
    const word = this.#word;
    const bufferWord = word + ARRAY_WORDS;
    const childWord = bufferWord + NEAR_BUFFERS;
    const fields = isEncoded ? [] : field.children;
    const rangeWord = childWord + fields.length;
    this.#word = rangeWord + RANGE_WORDS;
    return {
      field,
      kind,
      bits,
      bufferCount: kind === NodeKind.view ? BUFFERS[kind].length : fixedBufferCount(kind, 5),
      factor: lengths[0]?.rule === LengthRule.covers ? lengths[0].factor : 0,
      children: fields.map((child) => this.plan(child, child.dictionary !== null, false)),
      values: isEncoded ? this.plan(field, false, false) : null,
      word,
      bufferWord,
      childWord,
      rangeWord,
      isColumn,
      structAddress: this.#addressAt(word),
      bufferAddress: this.#addressAt(bufferWord),
      childAddress: this.#addressAt(childWord),
    };
  }
}
