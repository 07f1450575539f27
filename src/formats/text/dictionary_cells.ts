/**
 * Cells of dictionary-encoded columns: each value of a dictionary is formatted once.
 *
 * @module
 */
import type { Data, Vector } from "apache-arrow";
import { DipcError } from "../../errors.ts";
import type { Cell } from "./cell.ts";
import { type TextOutput, Token } from "./output.ts";

/** Most bytes of formatted values that are kept of one dictionary; others are formatted each time. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

/** A chunk of at least so many values counts as sparse until one in so many of them was written. */
const LARGE_CHUNK = 1024, SPARSE = 16;

/** Makes the cell of a column; `isSparse` says that few of its values are written, so that looking at all of them first costs more. */
export type MakeCell = (data: Data, isSparse?: boolean) => Cell;

/** The values of one dictionary in one form, from batch to batch. */
interface Values {
  readonly tokens: (Token | undefined)[];
  readonly write: Cell;
  keptBytes: number;
}

/** Writes columns by the values of their dictionaries; made once for a stream and a form. */
export class DictionaryCells {
  readonly #known = new WeakMap<Vector, Values>();

  /**
   * Makes the cell of a column.
   *
   * @param data A column of indices
   * @param makeCell Makes the cell of the dictionary's values, with their nulls
   */
  cell(data: Data, makeCell: MakeCell): Cell {
    const dictionary = data.dictionary as Vector;
    let values = this.#known.get(dictionary);
    if (values === undefined) {
      this.#known.set(dictionary, values = { tokens: [], write: chunkedCell(dictionary, makeCell), keptBytes: 0 });
    }
    const known = values;
    const indices = data.values instanceof Int32Array ? data.values : new Int32Array(data.values);
    return (out, row) => {
      const token = known.tokens[indices[row]];
      if (token !== undefined) out.token(token);
      else writeAndKeep(out, known, indices[row]);
    };
  }
}

function writeAndKeep(out: TextOutput, values: Values, index: number): void {
  const from = out.at;
  values.write(out, index);
  const length = out.at - from;
  if (values.keptBytes + length > MAX_KEPT_BYTES) return;
  values.keptBytes += length;
  values.tokens[index] = new Token(out.bytes.subarray(from, out.at));
}

/** The values of one part of a dictionary. A dictionary may grow with each batch, and then few values of it are written. */
class Chunk {
  readonly length: number;
  readonly #data: Data;
  readonly #makeCell: MakeCell;
  #cell: Cell | null = null;
  /** Values that may still be written before the cell is made for all. */
  #sparse: number;

  constructor(data: Data, makeCell: MakeCell) {
    this.length = data.length;
    this.#data = data;
    this.#makeCell = makeCell;
    this.#sparse = data.length < LARGE_CHUNK ? 0 : Math.floor(data.length / SPARSE);
  }

  /** The cell for the next value. */
  next(): Cell {
    if (this.#sparse > 0) {
      if (--this.#sparse > 0) return this.#cell ??= this.#makeCell(this.#data, true);
      this.#cell = null;
    }
    return this.#cell ??= this.#makeCell(this.#data);
  }
}

/** The cell of a dictionary that came in several parts. */
function chunkedCell(dictionary: Vector, makeCell: MakeCell): Cell {
  const chunks = dictionary.data.map((data) => new Chunk(data, makeCell));
  return (out, index) => {
    let row = index;
    for (const chunk of chunks) {
      if (row < chunk.length) return chunk.next()(out, row);
      row -= chunk.length;
    }
    throw new DipcError(
      "invalid_data",
      `cannot write a value as text: index ${index} is outside its dictionary; the data is damaged`,
    );
  };
}
