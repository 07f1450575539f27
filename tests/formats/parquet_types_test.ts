/** Every Arrow type in Parquet: what pyarrow, DuckDB and Polars read of it, as the documentation says. */
import { assertEquals, assertGreater } from "@std/assert";
import { Data, type DataType, IntervalDayTime, IntervalYearMonth, Table, Vector } from "apache-arrow";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import { readTable, writeAll } from "../support/datasets.ts";
import { testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { needsPackages, runPython } from "../support/python.ts";
import { documentedRows } from "../support/table.ts";

const needsReaders = needsPackages("pyarrow", "duckdb", "polars");

async function convert(from: string, to: string): Promise<void> {
  const dataset = await openPath(from);
  try {
    await writeAll(dataset, await ParquetWriter.create(dataset.schema, AtomicFile.create(to)));
  } finally {
    await dataset.close();
  }
}

testNeeding([needsReaders], "pyarrow, DuckDB and Polars read every Arrow type, or it is refused", async () => {
  using folder = new TemporaryFolder();
  const made = await runPython("parquet_out.py", ["write", folder.path]) as {
    name: string;
    type: string;
    refused: boolean;
  }[];
  const written: string[] = [];
  for (const { name, refused } of made) {
    const from = folder.file(`${name}.arrows`), to = folder.file(`${name}.parquet`);
    if (refused) {
      const dataset = await openPath(from);
      const create = async () => await ParquetWriter.create(dataset.schema, AtomicFile.create(to));
      await assertDipcError(
        "unsupported",
        /^cannot write column "c(\.item)?" to Parquet: .*; write an Arrow file/,
        create,
      );
      await dataset.close();
    } else {
      await convert(from, to);
      written.push(name);
    }
  }
  const results = await runPython("parquet_out.py", ["check", folder.path], written) as Record<string, string>[];
  console.log(`${results.length} types written, ${made.length - written.length} refused`);
  assertEquals(results.flatMap(({ wrong }) => wrong), []);
  assertGreater(results.length, 80);
  const documented = await documentedRows("docs/parquet.md", ["Arrow", "Parquet", "pyarrow reads", "DuckDB reads"]);
  const found = new Map(results.map((result) => [made.find(({ name }) => name === result.name)!.type, result]));
  for (const [arrow, , pyarrow, duckdb] of documented) {
    const result = found.get(arrow);
    if (result === undefined) continue;
    assertEquals([arrow, pyarrow], [arrow, result.pyarrow === arrow ? "same" : result.pyarrow]);
    assertEquals([arrow, duckdb], [arrow, result.duckdb.replaceAll('"', "")]);
  }
  assertGreater(documented.filter(([arrow]) => found.has(arrow)).length, 60);
});

/** Three rows of intervals in two columns: months, and days with milliseconds. The middle row is null. */
function intervals(months: number, days: number, milliseconds: number): Table {
  const bitmap = Uint8Array.of(5);
  const column = (type: DataType, values: Int32Array) =>
    new Vector([new Data(type, 0, 3, 1, [undefined, values, bitmap] as never)]);
  return new Table({
    m: column(new IntervalYearMonth(), Int32Array.of(months, 0, 25)),
    d: column(new IntervalDayTime(), Int32Array.of(days, milliseconds, 0, 0, 1, 2)),
  } as Record<string, Vector>);
}

testNeeding([needsReaders], "intervals are read by DuckDB and by dipc; Parquet's have no sign", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("intervals.parquet");
  const dataset = await fromTable(intervals(14, 3, 4005));
  await writeAll(dataset, await ParquetWriter.create(dataset.schema, AtomicFile.create(path)));
  const read = await openPath(path);
  const table = await readTable(read);
  await read.close();
  assertEquals([...table.getChild("m")!].map((months) => months && [...months]), [[1, 2], null, [2, 1]]);
  assertEquals([...table.getChild("d")!].map((parts) => parts && [...parts]), [[3, 4005], null, [1, 2]]);
  await dataset.close();
  assertEquals(await runPython("parquet_out.py", ["intervals", path]), {
    types: ["INTERVAL", "INTERVAL"],
    rows: [["1 year 2 months", "3 days 00:00:04.005"], [null, null], ["2 years 1 month", "1 day 00:00:00.002"]],
    pyarrow: ["fixed_size_binary[12]", "fixed_size_binary[12]"],
  });
  for (const negative of [intervals(-1, 1, 1), intervals(1, -1, 1), intervals(1, 1, -1)]) {
    const other = await fromTable(negative);
    await assertDipcError("unsupported", "no sign", async () => {
      await writeAll(other, await ParquetWriter.create(other.schema, AtomicFile.create(folder.file("x.parquet"))));
    });
    await other.close();
  }
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["intervals.parquet"]);
});
