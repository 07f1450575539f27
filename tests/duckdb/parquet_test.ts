/**
 * DuckDB as the engine of Parquet files: batches, choice, damage, cancellation and memory. That both engines give the same rows of
 * every type is tested with the types, in tests/sources/parquet_types_test.ts.
 */
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { openPath, parquetFile } from "../../mod.ts";
import { openDuckDb } from "../../duckdb.ts";
import { ROWS_SOURCE_HASH } from "../../src/duckdb/rows_machine_code.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { ContinuedRun } from "../../src/sources/parquet/continued_run.ts";
import { sourceHash } from "../../tools/machine_code.ts";
import { assertDipcError } from "../support/assert.ts";
import { descriptorsOf } from "../support/datasets.ts";
import { compareEngines } from "../support/parquet_engines.ts";
import { dipc, serve } from "../support/processes.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";

Deno.test("the machine code that reads rows is that of the C beside it", async () => {
  assertEquals(await sourceHash("duckdb/rows.c"), ROWS_SOURCE_HASH, "run tools/machine_code.ts");
});

/** Writes what a query gives to a file. */
async function writeFile(path: string, sql: string, options = ""): Promise<void> {
  await using database = await openDuckDb();
  await using connection = await database.connect();
  await connection.execute(`copy (${sql}) to '${path}' (format parquet${options})`);
}

/** Columns of every kind that machine code reads, a third of them null; texts on both sides of what fits into DuckDB's own. */
const FLAT = [
  ...["n", "n::int8 as i8", "n::uint16 as u16", "n::float as f", "n % 2 = 0 as flag", "n::decimal(4, 1) as d2"],
  ...["n::decimal(9, 2) as d4", "n::decimal(18, 3) as d8", "n::decimal(38, 3) * -77777777777777 as d16"],
  ...["date '2020-01-01' + n::int32 as day", "make_timestamp(n * 1000003) as us", "make_timestamp_ns(n * 7) as ns"],
  ...[
    "repeat('é', (n % 9)::int32) as short",
    "repeat('long ', (n % 9)::int32) as long",
    "encode(repeat('b', (n % 15)::int32)) as b",
  ],
  ...["md5(n::varchar)::uuid as id", "to_timestamp(n) as tz", "time '01:02:03' + to_microseconds(n) as t"],
];

function withNulls(column: string, i: number): string {
  const [expression, name] = [column.replace(/ as \w+$/, ""), / as (\w+)$/.exec(column)?.[1] ?? column];
  return i % 3 === 2
    ? `${expression} as ${name}`
    : `case when hash(n, ${i}) % 3 = 0 then null else ${expression} end as ${name}`;
}

peerTest(["duckdb"], "DuckDB and parquet-wasm give the same batches of Parquet, whatever their size", async () => {
  using folder = new TemporaryFolder();
  const flat = folder.file("flat.parquet"), nested = folder.file("nested.parquet");
  const numbers = "from (select (range % 100)::int64 as n, range as row from range(9000))";
  await writeFile(flat, `select ${FLAT.map(withNulls).join(", ")} ${numbers}`, ", row_group_size 4000");
  const lists =
    "case when row % 5 = 0 then null else range(row % 4) end as list, {a: n, b: [n::varchar, null]} as struct";
  await writeFile(nested, `select ${lists}, map([n], ['x']) as map, row ${numbers}`, ", row_group_size 4000");
  for (const path of [flat, nested]) {
    for (const batchRows of [undefined, 4096, 1000, 3333]) assertEquals(await compareEngines(path, batchRows), null);
  }
  // Nothing that DuckDB has left in place of a null is given away.
  const dataset = await parquetFile(flat, { engine: "duckdb" });
  const run = await dataset.open();
  const { header, body } = (await run.next())!;
  const { buffers } = header as unknown as { buffers: Float64Array };
  const bytes = body!.bytes();
  const values = new BigInt64Array(bytes.slice(buffers[2], buffers[2] + buffers[3]).buffer);
  const bits = bytes.slice(buffers[0], buffers[0] + buffers[1]);
  let nulls = 0;
  values.forEach((value, row) => {
    if ((bits[row >> 3] >> (row & 7) & 1) === 1) return;
    nulls++;
    assertEquals(value, 0n, `row ${row}`);
  });
  assert(nulls > 1000);
  body!.release();
  await run.close();
  await dataset.close();
  assertEquals([descriptorsOf(flat), descriptorsOf(nested)], [0, 0]);
});

peerTest(["duckdb"], "the engine of a Parquet file is chosen by the file, and says why", async () => {
  using folder = new TemporaryFolder();
  const [small, large, foreign] = ["small", "large", "foreign"].map((name) => folder.file(`${name}.parquet`));
  await writeFile(small, "select range as n from range(10)");
  await writeFile(large, "select range as n, hash(range) as h from range(700000)");
  await writeFile(foreign, "select interval 3 days as span, hash(range) as h from range(700000)");
  const engineOf = async (path: string, engine?: "auto" | "wasm" | "duckdb") => {
    const dataset = await openPath(path, { engine });
    const { name, reason } = dataset.engine!;
    await dataset.close();
    return `${name}: ${reason}`;
  };
  assertEquals(await engineOf(small), "wasm: the file is small");
  assertEquals(await engineOf(large), "duckdb: it gives the same, faster");
  assertEquals(await engineOf(large, "wasm"), "wasm: it was chosen");
  assertEquals(await engineOf(small, "duckdb"), "duckdb: it was chosen");
  assertStringIncludes(await engineOf(foreign), 'it would not give column "span" as month_day_nano_interval');
  const wrong = () => openPath(small, { engine: "polars" as "auto" });
  await assertDipcError("invalid_argument", "engine", wrong);
  const refused = () => openPath(foreign, { engine: "duckdb" });
  await assertDipcError("unsupported", `cannot read "${foreign}" by DuckDB: it would not give column "span"`, refused);
  assertEquals([small, large, foreign].map((path) => descriptorsOf(path)), [0, 0, 0]);
});

peerTest(["duckdb"], "the command has --engine, and says what has decoded a file", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet"), json = folder.file("a.ndjson");
  await writeFile(path, "select range as n from range(3)");
  const got = await dipc(["get", path, "--engine", "duckdb", "-o", json, "--json"]);
  const { rows, engine, engineReason, routeReason } = JSON.parse(got.stdout);
  assertEquals([rows, engine, engineReason, routeReason], [3, "duckdb", "it was chosen", "read from a file by DuckDB"]);
  assertEquals(await Deno.readTextFile(json), '{"n":0}\n{"n":1}\n{"n":2}\n');
  assertEquals((await dipc(["schema", path, "--engine", "duckdb"])).code, 0);
  const wrong = await dipc(["get", path, "--engine", "polars"]);
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.stderr, "--engine");
  const useless = await dipc(["get", "ucx://127.0.0.1:9/x", "--engine", "duckdb"]);
  assertEquals(useless.code, 2);
  await using server = await serve([path, "--engine", "duckdb"]);
  const [dataset] = server.info.datasets as unknown as { engine: string; engineReason: string }[];
  assertEquals([dataset.engine, dataset.engineReason], ["duckdb", "it was chosen"]);
});

/** Runs through a dataset. @returns rows before the error, and the error */
async function readUntilError(run: ReturnType<Dataset["open"]>): Promise<{ rows: number; error: Error | null }> {
  const stream = await run;
  let rows = 0;
  try {
    for (let message; (message = await stream.next()) !== null; message.body?.release()) rows += message.header.rows;
    return { rows, error: null };
  } catch (error) {
    return { rows, error: error as Error };
  } finally {
    await stream.close();
  }
}

peerTest(
  ["duckdb"],
  "a damaged file is an error of DuckDB, and if it was not chosen, that of parquet-wasm",
  async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("a.parquet");
    await writeFile(path, "select hash(range) as h from range(51200)", ", row_group_size 10240");
    const bytes = await Deno.readFile(path);
    // The head of the fourth of five row groups.
    bytes.fill(0x5a, bytes.byteLength * 0.58, bytes.byteLength * 0.62);
    const damaged = folder.file("damaged.parquet");
    await Deno.writeFile(damaged, bytes);
    const wasm = await parquetFile(damaged, { engine: "wasm" }),
      duckdb = await parquetFile(damaged, { engine: "duckdb" });
    const byDuckDb = await readUntilError(duckdb.open());
    assertStringIncludes(byDuckDb.error!.message, `cannot read "${damaged}" by DuckDB: `);
    assertEquals((byDuckDb.error as { code?: string }).code, "invalid_data");
    assert(!byDuckDb.error!.message.includes("/proc/"), byDuckDb.error!.message);
    const byWasm = await readUntilError(wasm.open());
    const run = new ContinuedRun(await duckdb.open(), () => wasm.open() as Awaited<ReturnType<Dataset["open"]>>);
    assertEquals(await readUntilError(Promise.resolve(run)), byWasm);
    assertStringIncludes(byWasm.error!.message, "it is damaged in its row group");
    assertEquals(byWasm.rows, 30_720);
    await wasm.close();
    await duckdb.close();
    // What only one engine can read is read.
    const whole = await parquetFile(path, { engine: "wasm" });
    const broken = await parquetFile(damaged, { engine: "duckdb" });
    const other = new ContinuedRun(await broken.open(), () => whole.open() as Awaited<ReturnType<Dataset["open"]>>);
    assertEquals(await readUntilError(Promise.resolve(other)), { rows: 51_200, error: null });
    await whole.close();
    await broken.close();
  },
);

peerTest(["duckdb"], "a file that changes while DuckDB reads it is an error", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  await writeFile(path, "select hash(range) as h from range(200000)", ", row_group_size 10000");
  const dataset = await parquetFile(path, { engine: "duckdb", batchRows: 2000 });
  const run = await dataset.open();
  (await run.next())!.body!.release();
  await Deno.truncate(path, 1000);
  await assertDipcError("io", path, async () => {
    for (let message; (message = await run.next()) !== null; message.body!.release());
  });
  await run.close();
  await dataset.close();
});

peerTest(
  ["duckdb"],
  "runs of DuckDB end early, by a signal, and with their dataset, and memory does not grow",
  async () => {
    using folder = new TemporaryFolder();
    const path = folder.file("a.parquet");
    await writeFile(path, "select range as n, range % 7 as m, 'text ' || (range % 100) as t from range(12000000)");
    const dataset = await parquetFile(path, { engine: "duckdb" });
    const [left, aborted, closed] = [await dataset.open(), new AbortController(), await dataset.open()];
    const byAborted = await dataset.open({ signal: aborted.signal });
    for (const run of [left, byAborted, closed]) (await run.next())!.body!.release();
    await left.close();
    aborted.abort();
    await assertDipcError("closed", path, async () => await byAborted.next());
    await byAborted.close();
    // 360 MB of rows.
    const run = await dataset.open();
    let rows = 0, before = 0, most = 0;
    for (let message; (message = await run.next()) !== null; message.body!.release()) {
      rows += message.header.rows;
      const { rss } = Deno.memoryUsage();
      if (before === 0 && rows > 1_000_000) before = rss;
      most = Math.max(most, rss);
    }
    assertEquals(rows, 12_000_000);
    console.log(`${Math.round((most - before) / 2 ** 20)} MiB more than after a million rows`);
    assertLess(most - before, 200 * 2 ** 20);
    await run.close();
    await dataset.close();
    await assertDipcError("closed", path, async () => await closed.next());
    assertEquals(descriptorsOf(path), 0);
  },
);
