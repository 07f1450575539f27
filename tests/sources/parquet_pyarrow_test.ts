/** Parquet files that we write, read by pyarrow. */
import { assertEquals, assertGreater } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { writeAll } from "../support/datasets.ts";
import { goldFolder, needsGold, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { needsPython, runPython } from "../support/python.ts";

/** Cases that cannot be compared this way, and why. */
const LEFT_OUT: Record<string, string> = {
  generated_interval: "pyarrow reads Parquet's intervals as bytes",
  generated_union: "Parquet has no unions",
  generated_nested_dictionary: "Parquet has no dictionaries of nested values",
};

testNeeding(
  [needsGold, needsPython],
  "pyarrow reads the gold data from our Parquet files, value by value",
  async () => {
    using folder = new TemporaryFolder();
    const pairs: { name: string; arrow: string; parquet: string }[] = [];
    const refused: string[] = [];
    for (const { name: set } of [...Deno.readDirSync(goldFolder!)].filter((entry) => entry.isDirectory)) {
      for (const entry of Deno.readDirSync(`${goldFolder}/${set}`)) {
        if (!entry.name.endsWith(".stream")) continue;
        const name = entry.name.replace(".stream", ""), arrow = `${goldFolder}/${set}/${entry.name}`;
        if (name === "generated_interval") continue;
        const dataset = await openPath(arrow), parquet = folder.file(`${name}.parquet`);
        try {
          await writeAll(dataset, await ParquetWriter.create(dataset.schema, AtomicFile.create(parquet)));
          pairs.push({ name, arrow, parquet });
        } catch (error) {
          if (!(error instanceof DipcError) || error.code !== "unsupported") throw error;
          refused.push(name);
        }
        await dataset.close();
      }
    }
    const results = await runPython("compare_parquet.py", [], pairs) as {
      name: string;
      columns: number;
      different: string[];
    }[];
    console.log(`${results.length} files, ${results.reduce((sum, { columns }) => sum + columns, 0)} columns compared`);
    for (const [name, why] of Object.entries(LEFT_OUT)) console.log(`left out: ${name}: ${why}`);
    assertEquals(results.flatMap(({ name, different }) => different.map((text) => `${name}: ${text}`)), []);
    assertEquals(refused.sort(), ["generated_nested_dictionary", "generated_union"]);
    assertGreater(results.length, 22);
  },
);

testNeeding(
  [needsPython],
  "a Parquet file whose Arrow schema has views is read, and its schema says what is sent",
  async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("views.parquet"), copy = folder.file("views.ndjson");
    const rows = await runPython("make_views.py", [path]);
    const dataset = await openPath(path);
    const types = describeSchema(dataset.schema).map(({ name, type }) => `${name}: ${type}`);
    assertEquals(types, [
      "text: string",
      "list_of_views: list<element: string>",
      "list_view: list<element: string>",
      "large_list_view: large_list<element: string>",
      "struct_of_views: struct<x: string>",
      "n: int32",
    ]);
    await writeAll(dataset, new NdjsonWriter(dataset.schema, AtomicFile.create(copy)));
    await dataset.close();
    assertEquals(Deno.readTextFileSync(copy).trim().split("\n").map((line) => JSON.parse(line)), rows);
  },
);
