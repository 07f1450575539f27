/**
 * Cells of nested values, as JSON: lists, structs, maps and unions.
 *
 * @module
 */
import type { Data, DataType } from "apache-arrow";
import type { Cell } from "./cell.ts";
import { Token } from "./output.ts";
import { numbersOf } from "./spans.ts";
import { uniqueNames } from "./unique_names.ts";

/** Makes the cell of a column as a value of JSON, with its nulls. */
export type JsonCell = (data: Data) => Cell;

const COMMA = 0x2c, OPEN_LIST = 0x5b, CLOSE_LIST = 0x5d, OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d;

/** Lists with offsets. */
export function listCell(data: Data, jsonCell: JsonCell): Cell {
  const offsets = numbersOf(data.valueOffsets);
  return items(jsonCell(data.children[0]), (row) => offsets[row], (row) => offsets[row + 1]);
}

/** Lists of one length. */
export function fixedListCell(data: Data, jsonCell: JsonCell): Cell {
  const { listSize } = data.type as unknown as { listSize: number };
  return items(jsonCell(data.children[0]), (row) => row * listSize, (row) => (row + 1) * listSize);
}

function items(cell: Cell, start: (row: number) => number, end: (row: number) => number): Cell {
  return (out, row) => {
    out.reserve(2);
    out.putByte(OPEN_LIST);
    const first = start(row), last = end(row);
    for (let i = first; i < last; i++) {
      if (i > first) out.putByte(COMMA);
      cell(out, i);
      out.reserve(2);
    }
    out.putByte(CLOSE_LIST);
  };
}

/** What comes before the value of each key, from `{"first":` on. */
export function keyTokens(names: readonly string[]): Token[] {
  return uniqueNames(names).map((name, i) => new Token(`${i === 0 ? "{" : ","}${JSON.stringify(name)}:`));
}

/** Keys of a type's fields, which are the same in every batch. */
const known = new WeakMap<DataType, Token[]>();

/** Objects with the fields' names as keys. */
export function structCell(data: Data, jsonCell: JsonCell): Cell {
  const type = data.type as DataType;
  let keys = known.get(type);
  if (keys === undefined) known.set(type, keys = keyTokens(type.children.map(({ name }) => name)));
  const tokens = keys;
  const cells = data.children.map(jsonCell);
  return (out, row) => {
    if (cells.length === 0) {
      out.reserve(1);
      out.putByte(OPEN_OBJECT);
    }
    for (let i = 0; i < cells.length; i++) {
      out.token(tokens[i]);
      cells[i](out, row);
    }
    out.reserve(1);
    out.putByte(CLOSE_OBJECT);
  };
}

const KEY = new Token('{"key":'), VALUE = new Token(',"value":');

/** Lists of objects with a key and a value each, whatever the type of the keys and however often one occurs. */
export function mapCell(data: Data, jsonCell: JsonCell): Cell {
  const offsets = numbersOf(data.valueOffsets);
  const [key, value] = data.children[0].children.map(jsonCell);
  const entry: Cell = (out, row) => {
    out.token(KEY);
    key(out, row);
    out.token(VALUE);
    value(out, row);
    out.reserve(1);
    out.putByte(CLOSE_OBJECT);
  };
  return items(entry, (row) => offsets[row], (row) => offsets[row + 1]);
}

/** Objects whose only key is the name of the field that the value belongs to. */
export function unionCell(data: Data, jsonCell: JsonCell): Cell {
  const { typeIdToChildIndex, mode, children } = data.type as unknown as {
    typeIdToChildIndex: Record<number, number>;
    mode: number;
    children: { name: string }[];
  };
  const keys = uniqueNames(children.map(({ name }) => name)).map((name) => new Token(`{${JSON.stringify(name)}:`));
  const cells = data.children.map(jsonCell);
  const typeIds = data.typeIds as unknown as Int8Array;
  const isDense = mode === 1;
  const offsets = data.valueOffsets as unknown as Int32Array;
  return (out, row) => {
    const child = typeIdToChildIndex[typeIds[row]];
    out.token(keys[child]);
    cells[child](out, isDense ? offsets[row] : row);
    out.reserve(1);
    out.putByte(CLOSE_OBJECT);
  };
}
