/**
 * Tables in test output.
 *
 * @module
 */

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
