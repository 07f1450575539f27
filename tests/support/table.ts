/**
 * Tables in test output and in the documents.
 *
 * @module
 */
import { ROOT } from "./paths.ts";

/** Prints rows under a heading, columns aligned. */
export function printTable(title: string, heading: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = heading.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (cells: readonly string[]): string =>
    "  " + cells.map((cell, i) => (cell ?? "").padEnd(widths[i])).join("  ").trimEnd();
  console.log(`\n${title}`);
  console.log(line(heading));
  console.log(line(widths.map((width) => "-".repeat(width))));
  for (const row of rows) console.log(line(row));
  console.log("");
}

/**
 * The rows of a table in a document, without code marks and the blanks that formatting puts between cells.
 *
 * @param document Its path in the repository
 * @param heading The table's first line
 * @throws {Error} if the document has no such table
 */
export async function documentedRows(document: string, heading: readonly string[]): Promise<string[][]> {
  const lines = (await Deno.readTextFile(`${ROOT}/${document}`)).replaceAll("`", "").split("\n");
  const cells = lines.map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const start = cells.findIndex((row) => row.join("|") === heading.join("|"));
  if (start < 0) throw new Error(`${document} has no table with the heading ${heading.join(" | ")}`);
  // Under the heading there is a line of dashes.
  const end = cells.findIndex((row, index) => index > start && row.length === 0);
  return cells.slice(start + 2, end < 0 ? undefined : end);
}
