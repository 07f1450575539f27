/**
 * Takes rows of a batch apart into the slots and values of their column chunks.
 *
 * @module
 */
import { NodeKind } from "../../ipc/buffers.ts";
import type { FieldLayout } from "../../ipc/layout.ts";
import { type ArrowColumn, columnError, integersOf } from "./arrow_columns.ts";
import type { ColumnNode, LeafNode } from "./column_nodes.ts";
import type { DictionaryStore, StoredDictionary } from "./dictionary_store.ts";
import { Physical } from "./format.ts";
import { readBits, readBytes, readFixed, readWords, type Selection, selectionOf } from "./leaf_values.ts";
import {
  checkedIndex,
  dictionarySlots,
  elementSlots,
  NOT_NULLABLE,
  presentSlots,
  rowSlots,
  runSlots,
  type Slots,
} from "./slots.ts";

/**
 * Encodes some rows of a column.
 *
 * @throws {DipcError} `invalid_data`, `limit_exceeded`
 */
export function encodeRows(
  node: ColumnNode,
  column: ArrowColumn,
  from: number,
  to: number,
  dictionaries: DictionaryStore,
): void {
  encodeSlots(node, column, rowSlots(from, to), dictionaries);
}

function encodeSlots(node: ColumnNode, column: ArrowColumn, before: Slots, dictionaries: DictionaryStore): void {
  let slots = before;
  for (; column.field.type.id === "run_end_encoded" && column.dictionaryId === null; column = column.children[1]) {
    slots = runSlots(slots, column);
  }
  if (column.dictionaryId !== null) return encodeDictionary(node as LeafNode, column, slots, dictionaries);
  if (column.field.type.id === "null") return encodeNulls(node as LeafNode, slots);
  slots = presentSlots(slots, column.validity, node.isOptional, column.field);
  switch (node.kind) {
    case "leaf":
      return encodeLeaf(node, column, slots);
    case "group":
      return node.children.forEach((child, i) => encodeSlots(child, column.children[i], slots, dictionaries));
    case "list": {
      const elements = elementSlots(slots, column, node.level);
      return encodeSlots(node.child, column.children[0], elements, dictionaries);
    }
  }
}

function encodeLeaf({ type, encoder }: LeafNode, column: ArrowColumn, slots: Slots): void {
  const selection = selectionOf(slots);
  switch (type.physical) {
    case Physical.boolean:
      return encoder.appendBits(slots, readBits(column, selection));
    case Physical.int32:
    case Physical.float:
      return encoder.appendWords(slots, readWords(column, type, selection), 1);
    case Physical.int64:
    case Physical.double:
      return encoder.appendWords(slots, readWords(column, type, selection), 2);
    case Physical.fixed:
      return encoder.appendFixed(slots, readFixed(column, type, selection));
    case Physical.bytes:
      return encoder.appendBytes(slots, readBytes(column, selection));
  }
}

/** Every slot that could have a value is a null. */
function encodeNulls({ encoder, isOptional, field }: LeafNode, slots: Slots): void {
  encoder.appendNulls(withoutValues(slots, isOptional, field));
}

function withoutValues(slots: Slots, isOptional: boolean, field: FieldLayout): Slots {
  const { count, indices, definitions, defined } = slots;
  const levels = new Uint8Array(count).fill(defined);
  for (let i = 0; i < count; i++) {
    if (definitions !== null && indices![i] < 0) levels[i] = definitions[i];
    else if (!isOptional) throw columnError("invalid_data", field, NOT_NULLABLE);
  }
  return { ...slots, indices: new Int32Array(count).fill(-1), definitions: levels, defined: defined + 1 };
}

function encodeDictionary(node: LeafNode, column: ArrowColumn, before: Slots, dictionaries: DictionaryStore): void {
  const { field } = column;
  const dictionary = dictionaries.get(column.dictionaryId!);
  if (dictionary === null) {
    const slots = presentSlots(before, column.validity, node.isOptional, field);
    if (selectionOf(slots).count === 0) return node.encoder.appendNulls(slots);
    const what = `dictionary ${column.dictionaryId} was not sent before the batch that uses it`;
    throw columnError("invalid_data", field, what);
  }
  const values = dictionary.column;
  if (node.type.physical === Physical.bytes && values.validity === null) {
    const slots = presentSlots(before, column.validity, node.isOptional, field);
    return node.encoder.appendIndexed(slots, keysOf(column, selectionOf(slots), dictionary), dictionary);
  }
  // A null may be one of the indices, or one of the values.
  const used = presentSlots(before, column.validity, node.isOptional, field);
  const slots = dictionarySlots({ ...used, defined: before.defined }, column, values.length);
  if (values.kind === NodeKind.none) return encodeNulls(node, slots);
  encodeLeaf(node, values, presentSlots(slots, values.validity, node.isOptional, field));
}

/** Indices into a dictionary. @throws {DipcError} `invalid_data` */
function keysOf(column: ArrowColumn, { count, first, indices }: Selection, dictionary: StoredDictionary): Int32Array {
  const size = dictionary.column.length;
  const stored = indices === null ? integersOf(column, first, first + count) : integersOf(column, 0, column.length);
  const keys = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const key = indices === null ? stored[i] : stored[indices[i]];
    keys[i] = key >= 0 && key < size ? key : checkedIndex(key, size, column.field);
  }
  return keys;
}
