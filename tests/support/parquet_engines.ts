/**
 * Reads Parquet files by both engines, and compares what comes.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { parquetFile } from "../../src/files.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import { verified } from "../../src/ipc/header.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { writeAll } from "./datasets.ts";
import { assertSameRows } from "./same_rows.ts";

function hasNested({ schema }: Dataset): boolean {
  return verified(schema, new HeaderReader()).layout!.fields.some(({ children }) => children.length > 0);
}

async function textOf(dataset: Dataset): Promise<string> {
  const sink = new MemorySink();
  await writeAll(dataset, new NdjsonWriter(dataset.schema, sink));
  return new TextDecoder().decode(sink.bytes());
}

/**
 * Compares the rows, batches and types of a file.
 *
 * @param path Its path
 * @param batchRows Rows of a batch
 * @returns `null` if both engines give the same, or why DuckDB refuses the file
 * @throws If they differ
 */
export async function compareEngines(path: string, batchRows?: number): Promise<string | null> {
  const duckdb = await parquetFile(path, { engine: "duckdb", batchRows }).catch((error) => {
    if (!(error instanceof DipcError) || error.code !== "unsupported") throw error;
    return error.message.replace(`cannot read "${path}" by DuckDB: `, "");
  });
  if (typeof duckdb === "string") return duckdb;
  try {
    const wasm = await parquetFile(path, { engine: "wasm", batchRows });
    try {
      assertEquals([wasm.engine?.name, duckdb.engine?.name], ["wasm", "duckdb"]);
      if (hasNested(wasm)) {
        assertEquals(await textOf(duckdb), await textOf(wasm), path);
        assertEquals([duckdb.rows, duckdb.batches, duckdb.schema.bytes], [wasm.rows, wasm.batches, wasm.schema.bytes]);
      } else {
        await assertSameRows(duckdb, wasm, path);
      }
      return null;
    } finally {
      await wasm.close();
    }
  } finally {
    await duckdb.close();
  }
}

/**
 * Compares files.
 *
 * @param paths Their paths
 * @param refused What DuckDB says of those that it refuses, by name
 * @returns What is not so
 */
export async function compareAllEngines(
  paths: readonly string[],
  refused: Readonly<Record<string, RegExp>>,
): Promise<string[]> {
  const found: string[] = [];
  const met = new Set<string>();
  const left = [...paths];
  const compare = async (): Promise<void> => {
    for (let path; (path = left.shift()) !== undefined;) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const refusal = await compareEngines(path);
      if (refusal === null) continue;
      met.add(name);
      if (!refused[name]?.test(refusal)) found.push(`${name}: ${refusal}`);
    }
  };
  await Promise.all([compare(), compare()]);
  console.log(`${paths.length - met.size} files are the same by DuckDB, ${met.size} are refused`);
  return [...found, ...Object.keys(refused).filter((name) => !met.has(name)).map((name) => `${name}: not refused`)];
}
