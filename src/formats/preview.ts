/**
 * The first rows of a stream as a table for people to read.
 *
 * @module
 */
import type { RecordBatch } from "apache-arrow";
import { describeSchema } from "../ipc/describe.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { printable } from "../text.ts";
import { isTooLongForText } from "./engine_limits.ts";
import type { Cell } from "./text/cell.ts";
import { CellFactory } from "./text/cells.ts";
import { TextOutput } from "./text/output.ts";

/** Options of {@linkcode Preview}. */
export interface PreviewOptions {
  /** Rows to show. Default 10. */
  rows?: number;
  /** Maximum width of a column, in characters. Default 32. */
  cellWidth?: number;
}

/** Longest part of a cell that is laid out; more could not be shown. */
const MAX_CELL_CHARACTERS = 500;
/** Longest part of a cell that is made into a text: characters have up to four bytes. */
const MAX_CELL_BYTES = 4 * MAX_CELL_CHARACTERS;
/** Separates columns. */
const GAP = "  ";

interface Column {
  readonly name: string;
  readonly type: string;
  readonly isRightAligned: boolean;
  readonly cells: string[];
}

/** Collects the first rows and lays them out as aligned text: names, types, then the rows. */
export class Preview {
  readonly #rows: number;
  readonly #cellWidth: number;
  readonly #columns: readonly Column[];
  readonly #factory = new CellFactory("plain");
  readonly #out = new TextOutput(MAX_CELL_BYTES);
  #count = 0;

  /**
   * @param schema Header of the schema message
   * @param options Rows to show and widths of columns
   */
  constructor(schema: MessageHeader, options: PreviewOptions = {}) {
    this.#rows = options.rows ?? 10;
    this.#cellWidth = Math.max(4, options.cellWidth ?? 32);
    this.#columns = describeSchema(schema).map(({ name, type }) => ({
      name: printable(name, "escape"),
      type: printable(type, "escape"),
      isRightAligned: /^(u?int|half|float|double|decimal)/.test(type),
      cells: [],
    }));
  }

  /** Whether all the rows to show are collected. */
  get full(): boolean {
    return this.#count >= this.#rows;
  }

  /** Number of rows collected so far. */
  get rows(): number {
    return this.#count;
  }

  /** Copies the rows that are still missing; the batch may be disposed afterwards. */
  add(batch: RecordBatch): void {
    const rows = Math.min(batch.numRows, this.#rows - this.#count);
    if (rows <= 0) return;
    this.#columns.forEach(({ cells }, i) => {
      const cell = this.#factory.cell(batch.data.children[i]);
      for (let row = 0; row < rows; row++) {
        cells.push(printable(shownText(this.#out, cell, row).slice(0, MAX_CELL_CHARACTERS), "escape"));
      }
    });
    this.#count += rows;
  }

  /**
   * Lays out the table.
   *
   * @param columns Width of a line in characters; columns that do not fit are counted in the last line
   * @returns lines, each ended by a line feed
   */
  render(columns = 120): string {
    const shown: { column: Column; width: number }[] = [];
    let used = 0;
    for (const column of this.#columns) {
      const widest = Math.max(...[column.name, column.type, ...column.cells].map(displayWidth));
      const width = Math.min(this.#cellWidth, widest);
      const needed = width + (shown.length > 0 ? GAP.length : 0);
      // The first column is always shown, however narrow the terminal is.
      if (shown.length > 0 && used + needed > columns) break;
      used += needed;
      shown.push({ column, width });
    }
    const line = (get: (column: Column) => string): string =>
      shown.map(({ column, width }) => fit(get(column), width, column.isRightAligned)).join(GAP).trimEnd() + "\n";
    let text = line(({ name }) => name) + line(({ type }) => type);
    text += shown.map(({ width }) => "─".repeat(width)).join(GAP) + "\n";
    for (let row = 0; row < this.#count; row++) text += line(({ cells }) => cells[row]);
    const hidden = this.#columns.slice(shown.length);
    if (hidden.length > 0) {
      const names = fit(hidden.map(({ name }) => name).join(", "), Math.max(20, columns - 20), false).trimEnd();
      text += `… and ${hidden.length} more column${hidden.length > 1 ? "s" : ""}: ${names}\n`;
    }
    return text;
  }
}

/**
 * The beginning of the text of a cell, also of one that is too long for a text: it would be cut anyway. A list that is not
 * longer than its message may mean a text of gigabytes, of which no more is made than can be shown.
 */
function shownText(out: TextOutput, cell: Cell, row: number): string {
  try {
    try {
      cell(out, row);
    } catch (error) {
      if (!isTooLongForText(error)) throw error;
      if (out.at < MAX_CELL_BYTES) return "… (too long for a text)";
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(out.written().subarray(0, MAX_CELL_BYTES));
  } finally {
    out.clear();
  }
}

/** Cuts or pads a text to a width. */
function fit(text: string, width: number, isRightAligned: boolean): string {
  const full = displayWidth(text);
  if (full <= width) return isRightAligned ? " ".repeat(width - full) + text : text + " ".repeat(width - full);
  let cut = "", used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const more = segmentWidth(segment);
    if (used + more > width - 1) break;
    cut += segment;
    used += more;
  }
  return cut + "…" + " ".repeat(width - 1 - used);
}

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
/** Scripts and symbols that are two cells wide on a terminal. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

function displayWidth(text: string): number {
  // deno-lint-ignore no-control-regex -- all of ASCII
  if (/^[\x00-\x7f]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += segmentWidth(segment);
  return width;
}

function segmentWidth(segment: string): number {
  return WIDE.test(segment) ? 2 : 1;
}
