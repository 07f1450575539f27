/** Parquet written by DuckDB: the same rows and types as by the writer of this package, or refused. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openDuckDb } from "../../duckdb.ts";
import { parquetFile } from "../../mod.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { parquetByDuckDb } from "../../src/formats/parquet/by_duckdb.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import type { ByteSink } from "../../src/formats/sink.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import type { FieldLayout } from "../../src/ipc/layout.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { encodeBatchMetadata } from "../../src/ipc/metadata_writer.ts";
import { encodeSchemaMessage } from "../../src/ipc/schema_writer.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { assertDipcError } from "../support/assert.ts";
import { writeAll } from "../support/datasets.ts";
import { SimulatedPool } from "../support/simulated_memory.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { dipc } from "../support/processes.ts";
import { assertSameRows } from "../support/same_rows.ts";

/** Rows of every type that DuckDB writes, a quarter of them null. */
async function writeRows(path: string, rows: number): Promise<void> {
  const columns = {
    ...{ flag: "n % 3 = 0", i8: "(n % 100)::int8", u64: "n::uint64 * 1844674407", f: "n::float / 3", d: "-n / 7" },
    ...{ day: "date '2020-01-01' - n::int32", t: "time '01:02:03' + to_microseconds(n)", ts: "make_timestamp(n * 77)" },
    ...{ tz: "to_timestamp(-n)", dec: "n::decimal(38, 3) * -777777777", text: "repeat('é ', (n % 9)::int32)" },
    b: "encode(repeat('b', (n % 15)::int32))",
  };
  const list = Object.entries(columns).map(([name, value], i) =>
    `if(hash(n, ${i}) % 4 = 0, null, ${value}) as "${name}"`
  );
  await using database = await openDuckDb();
  await using connection = await database.connect();
  await connection.execute(`copy (select ${list} from (select range as n from range(${rows}))) to '${path}'`);
}

async function copied(from: Dataset, path: string, isByDuckDb: boolean): Promise<Dataset> {
  const sink = AtomicFile.create(path);
  await writeAll(
    from,
    await (isByDuckDb ? parquetByDuckDb(from.schema, sink) : ParquetWriter.create(from.schema, sink)),
  );
  return await parquetFile(path, { engine: "wasm" });
}

peerTest(["duckdb"], "DuckDB writes the same Parquet as dipc, with the Arrow schema and its metadata", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet"), out = folder.file("out.parquet");
  await writeRows(path, 30_000);
  const source = await parquetFile(path, { engine: "wasm" });
  const ours = await copied(source, folder.file("ours.parquet"), false);
  const theirs = await copied(source, folder.file("theirs.parquet"), true);
  assertEquals(describeSchema(theirs.schema), describeSchema(source.schema));
  assertEquals(await assertSameRows(theirs, ours, "rows"), 30_000);
  // By the command, from a file to a file.
  const { stdout, stderr } = await dipc(["get", path, "--engine", "duckdb", "-o", out, "--json"]);
  const totals = JSON.parse(stdout || stderr);
  assertEquals([totals.rows, totals.engine, totals.outputEngine], [30_000, "duckdb", "duckdb"]);
  const written = await parquetFile(out, { engine: "wasm" });
  assertEquals(await assertSameRows(written, ours, "rows of the command"), 30_000);
  for (const each of [source, ours, theirs, written]) await each.close();
});

peerTest(["duckdb"], "what DuckDB would write otherwise is refused by the name of the column", async () => {
  const field = (name: string, more: Partial<FieldLayout>): FieldLayout => ({
    ...{ name, path: name, nullable: true, type: { id: "int", bitWidth: 64, signed: true }, children: [] },
    ...{ dictionary: null, metadata: new Map(), ...more },
  });
  const cases: [Partial<FieldLayout>, string][] = [
    [{ nullable: false }, 'it would not write that column "x" has no nulls'],
    [{ type: { id: "timestamp", unit: "ms", timezone: null } }, 'it would not write column "x", of type timestamp[ms]'],
    [{ metadata: new Map([["PARQUET:field_id", "7"]]) }, 'the metadata of column "x"'],
    [{ name: "N", path: "N" }, 'it would rename column "N"'],
  ];
  const sink: ByteSink = { write() {}, finish() {}, abort() {} };
  for (const [more, message] of cases) {
    const schema = new HeaderReader().read(encodeSchemaMessage([field("n", {}), field("x", more)], new Map()));
    await assertDipcError("unsupported", message, () => parquetByDuckDb(schema, sink));
  }
});

peerTest(["duckdb"], "an output of DuckDB that fails or is aborted ends its query", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet"), out = folder.file("out.parquet");
  await writeRows(path, 30_000);
  const source = await parquetFile(path, { engine: "wasm", batchRows: 1000 });
  const failing: ByteSink = { write: () => Promise.reject(new Error("the disk is full")), finish() {}, abort() {} };
  const writer = await parquetByDuckDb(source.schema, failing);
  let error: unknown = null;
  await writeAll(source, writer).catch((thrown) => error = thrown);
  assertStringIncludes((error as unknown as Error).message, "the disk is full");
  const aborted = await parquetByDuckDb(source.schema, AtomicFile.create(out));
  const run = await source.open();
  await aborted.write((await run.next())!);
  await aborted.abort();
  await assertDipcError("cancelled", "", async () => await aborted.write((await run.next())!));
  await run.close();
  await source.close();
  // A byte that is not UTF-8, in a column of text.
  const field = { name: "s", path: "s", nullable: true, type: { id: "utf8" }, children: [], dictionary: null } as const;
  const headers = new HeaderReader();
  const schema = headers.read(encodeSchemaMessage([{ ...field, metadata: new Map() }], new Map()));
  const body = new Uint8Array(16);
  body.set([0, 0, 0, 0, 1, 0, 0, 0, 0xff]);
  const metadata = encodeBatchMetadata({
    ...{ rows: 1, bodyLength: 16, nodes: [1, 0], buffers: [0, 0, 0, 8, 8, 1], variadicCounts: [] },
  });
  const wrong = await parquetByDuckDb(schema, AtomicFile.create(out));
  const message = { header: headers.read(metadata), body: new SimulatedPool().body(body) };
  await assertDipcError("invalid_data", "text that is not UTF-8", async () => await wrong.write(message));
  await wrong.abort();
  assert(![...Deno.readDirSync(folder.path)].some(({ name }) => name.startsWith("out")), "a file was left");
});
