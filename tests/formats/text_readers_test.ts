/** CSV and NDJSON of every type, read by pyarrow, pandas and DuckDB with their defaults; docs/text-formats.md says what they find. */
import { assertEquals } from "@std/assert";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { CsvWriter } from "../../src/formats/csv_writer.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { writeAll } from "../support/datasets.ts";
import { testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { needsPackages, needsPython, runPython } from "../support/python.ts";

/** A type, its first cell, and what pyarrow, pandas and DuckDB take the column for. */
type Row = string[];

/** The rows of the tables in the document, by the text of the first line of each. */
function documented(title: string): Row[] {
  const lines = Deno.readTextFileSync(`${ROOT}/docs/text-formats.md`).split("\n");
  const start = lines.findIndex((line) => line.startsWith("| type") && line.includes(title));
  const rows = lines.slice(start + 2);
  return rows.slice(0, rows.findIndex((line) => !line.startsWith("|"))).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim().replace(/^`|`$/g, ""))
  );
}

testNeeding(
  [needsPython, needsPackages("pandas", "duckdb")],
  "pyarrow, pandas and DuckDB read every type from CSV and NDJSON as the document says",
  async () => {
    using folder = new TemporaryFolder();
    await runPython("text_readers.py", ["write", folder.path]);
    for (const name of [...Deno.readDirSync(folder.path)].map(({ name }) => name.replace(/\.arrows$/, ""))) {
      const dataset = await openPath(folder.file(`${name}.arrows`));
      await writeAll(dataset, new CsvWriter(dataset.schema, AtomicFile.create(folder.file(`${name}.csv`))));
      await writeAll(dataset, new NdjsonWriter(dataset.schema, AtomicFile.create(folder.file(`${name}.ndjson`))));
      await dataset.close();
    }
    const found = await runPython("text_readers.py", ["read", folder.path]) as {
      wrong: string[];
      types: { csv: Row[]; ndjson: Row[] };
    };
    assertEquals(found.wrong, []);
    assertEquals(documented("| CSV"), found.types.csv);
    assertEquals(documented("| NDJSON"), found.types.ndjson);
  },
);
