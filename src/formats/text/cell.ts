/**
 * What all cells have in common.
 *
 * @module
 */
import type { Data } from "apache-arrow";
import { type TextOutput, Token } from "./output.ts";

/** Writes the value of one row of a column of a batch. */
export type Cell = (out: TextOutput, row: number) => void;

/** What a cell is written for: a value of JSON, a field of CSV, or a person who reads it on a screen. */
export type TextForm = "json" | "csv" | "plain";

/** What stands for a null, by form. In a CSV of one column an empty field would be an empty line, which readers skip. */
export const NULL_TOKENS: Readonly<Record<TextForm | "csv-alone", Token>> = {
  json: new Token("null"),
  csv: new Token(""),
  "csv-alone": new Token('""'),
  plain: new Token("null"),
};

/** Writes nulls as they are written in a form, and leaves other rows to the cell. */
export function withNulls(data: Data, cell: Cell, nullToken: Token): Cell {
  if (data.nullCount === 0) return cell;
  const bitmap = data.nullBitmap;
  return (out, row) => {
    if ((bitmap[row >> 3] & (1 << (row & 7))) === 0) out.token(nullToken);
    else cell(out, row);
  };
}

const QUOTE = 0x22;

/** Puts the text of a cell into quotes; it has nothing that must be escaped. */
export function quoted(cell: Cell): Cell {
  return (out, row) => {
    out.reserve(1);
    out.putByte(QUOTE);
    cell(out, row);
    out.reserve(1);
    out.putByte(QUOTE);
  };
}

/** A cell made of texts of ASCII characters. */
export function asciiCell(text: (row: number) => string): Cell {
  return (out, row) => out.ascii(text(row));
}

/** The 64-bit integers of a column as pairs of 32-bit words, the low one first. */
export function wordsOf(data: Data): Int32Array {
  const { buffer, byteOffset, byteLength } = data.values as BigInt64Array;
  return new Int32Array(buffer, byteOffset, byteLength >> 2);
}

/** The signed 64-bit integer of two words. */
export function bigintOf(low: number, high: number): bigint {
  return BigInt(high) << 32n | BigInt(low >>> 0);
}
