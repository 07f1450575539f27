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
  cell(data: Data, makeCell: (data: Data) => Cell): Cell {
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

/** The cell of a dictionary that came in several parts. */
function chunkedCell(dictionary: Vector, makeCell: (data: Data) => Cell): Cell {
  const chunks = dictionary.data.map((data) => ({ length: data.length, data, cell: null as Cell | null }));
  return (out, index) => {
    let row = index;
    for (const chunk of chunks) {
      if (row < chunk.length) return (chunk.cell ??= makeCell(chunk.data))(out, row);
      row -= chunk.length;
    }
    throw new DipcError(
      "invalid_data",
      `cannot write a value as text: index ${index} is outside its dictionary; the data is damaged`,
    );
  };
}
