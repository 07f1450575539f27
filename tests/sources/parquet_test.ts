/** Parquet both ways: what is written is read back, in bounded memory, and nothing stays behind when it ends early. */
import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { Dictionary, Int32, Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { DipcError } from "../../src/errors.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { parquetFile } from "../../src/sources/parquet.ts";
import { fromBatches, fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import {
  copyMessage,
  descriptorsOf,
  readMessages,
  readTable,
  rowsOf,
  smallTable,
  writeAll,
} from "../support/datasets.ts";
import {
  batchMessage,
  type BatchSpec,
  field,
  type FlatObject,
  int32,
  message,
  schemaMessage,
  writeFlat,
} from "../support/ipc_flatbuffer.ts";
import { goldFolder, needsGold, testNeeding } from "../support/needs.ts";
import { fetchData } from "../../tools/data.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { SimulatedPool } from "../support/simulated_memory.ts";

/** Runs through a dataset. @returns its rows */
async function drain(dataset: Dataset): Promise<number> {
  const run = await dataset.open();
  let rows = 0;
  for (let message; (message = await run.next()) !== null; message.body?.release()) rows += message.header.rows;
  await run.close();
  return rows;
}

/** Numbers, many rows. */
function longTable(rows: number): Table {
  return tableFromArrays({
    n: Int32Array.from({ length: rows }, (_, i) => i),
    x: Float64Array.from({ length: rows }, (_, i) => i * 1.5),
  });
}

async function writeParquet(table: Table, path: string, rowGroupRows?: number): Promise<void> {
  const dataset = await fromTable(table, { batchRows: 4096 });
  await writeAll(dataset, await ParquetWriter.create(dataset.schema, AtomicFile.create(path), { rowGroupRows }));
  await dataset.close();
}

Deno.test("a table comes back from Parquet, and its rows and batches are known before", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  await writeParquet(longTable(25_000), path, 10_000);
  const dataset = await openPath(path, { batchRows: 3000 });
  assertEquals([dataset.rows, dataset.batches, dataset.readOnce], [25_000, 4 + 4 + 2, false]);
  const messages = await readMessages(dataset);
  assertEquals(messages.map(({ rows }) => rows), [3000, 3000, 3000, 1000, 3000, 3000, 3000, 1000, 3000, 2000]);
  const table = await readTable(dataset);
  assertEquals([...table.getChild("n")!.toArray()], Array.from({ length: 25_000 }, (_, i) => i));
  assertEquals(table.getChild("x")!.get(24_999), 24_999 * 1.5);
  await dataset.close();
});

Deno.test("dictionaries are sent once if they do not change, and nulls and text come back", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("words.parquet");
  const words = vectorFromArray(["a", null, "b", "a"], new Dictionary(new Utf8(), new Int32()));
  const table = new Table({ word: words, text: vectorFromArray(["x", "", null, 'q"']) });
  await writeParquet(table, path);
  const dataset = await openPath(path, { batchRows: 2 });
  assertEquals((await readMessages(dataset)).filter(({ kind }) => kind === "batch").length, 2);
  assertEquals(rowsOf(await readTable(dataset)), rowsOf(table));
  await dataset.close();
});

Deno.test("an empty table becomes a Parquet file with its columns", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("empty.parquet");
  const source = await fromBatches([], smallTable().schema);
  await writeAll(source, await ParquetWriter.create(source.schema, AtomicFile.create(path)));
  const dataset = await parquetFile(path);
  assertEquals([dataset.rows, dataset.batches], [0, 0]);
  assertEquals((await readTable(dataset)).schema.fields.map(({ name }) => name), ["n", "big", "f"]);
  await dataset.close();
});

Deno.test("several runs at once and runs left early do not disturb each other", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  await writeParquet(longTable(200_000), path, 50_000);
  const dataset = await parquetFile(path, { batchRows: 10_000 });
  assertEquals(descriptorsOf(path), 1);
  const [first, second] = await Promise.all([readMessages(dataset), readMessages(dataset)]);
  assertEquals(first, second);
  for (let i = 0; i < 20; i++) {
    const run = await dataset.open();
    copyMessage((await run.next())!);
    await run.close();
    await run.close();
  }
  // Closing while a batch is being decoded.
  const run = await dataset.open();
  const pending = Promise.resolve(run.next());
  const outcome = pending.then((message) => message?.body?.release(), (error) => error.code);
  await run.close();
  assert([undefined, "closed"].includes(await outcome as string | undefined), String(await outcome));
  const open = await dataset.open();
  await dataset.close();
  await assertDipcError("closed", "", async () => await open.next());
  await assertDipcError("closed", "", async () => await dataset.open());
  assertEquals(descriptorsOf(path), 0);
});

Deno.test("a Parquet file that is cut short or changes is an error", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  await writeParquet(longTable(300_000), path, 10_000);
  const bytes = await Deno.readFile(path);
  for (const length of [4, 11, 12, 100, bytes.byteLength - 1]) {
    await Deno.writeFile(folder.file("cut.parquet"), bytes.subarray(0, length));
    await assertDipcError("invalid_data", "", () => openPath(folder.file("cut.parquet")), `cut at ${length}`);
  }
  const dataset = await parquetFile(path, { batchRows: 10_000 });
  const run = await dataset.open();
  copyMessage((await run.next())!);
  await Deno.truncate(path, 1000);
  await assertDipcError("io", path, async () => {
    for (let message; (message = await run.next()) !== null;) copyMessage(message);
  });
  await run.close();
  await dataset.close();
});

Deno.test("damage inside a Parquet file is an error, and other files can be read afterwards", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet"), damaged = folder.file("damaged.parquet");
  await writeParquet(longTable(20_000), path);
  const bytes = await Deno.readFile(path);
  bytes.fill(0x5a, 100, 2000);
  await Deno.writeFile(damaged, bytes);
  await assertDipcError("invalid_data", "it is damaged in its row group 0", async () => {
    const dataset = await openPath(damaged);
    try {
      await readMessages(dataset);
    } finally {
      await dataset.close();
    }
  });
  const dataset = await openPath(path);
  assertEquals((await readMessages(dataset)).length, 1);
  await dataset.close();
});

/** A writer of one column, and what writing a batch of 4 rows to it comes to; its body is given back, also on failure. */
async function writeBatch(column: FlatObject, batch: BatchSpec, body: Uint8Array, endianness = 0): Promise<number> {
  const reader = new HeaderReader();
  const schema = reader.read(writeFlat(schemaMessage([column], { endianness })).bytes);
  const sink = new MemorySink();
  const writer = await ParquetWriter.create(schema, sink);
  const pool = new SimulatedPool();
  const message = { header: reader.read(writeFlat(batchMessage(batch)).bytes), body: pool.body(body.slice()) };
  try {
    await writer.write(message);
    await writer.finish();
    return sink.bytes().byteLength;
  } finally {
    await writer.abort();
    assertEquals([pool.out, pool.misuses], [0, 0]);
  }
}

Deno.test("what Parquet cannot hold is refused with its name, damage too, and the body is given back", async () => {
  const body = new Uint8Array(64);
  new Int32Array(body.buffer).set([0, 1, 2, 3, 1000]);
  const text = { buffers: [0n, 0n, 0n, 20n, 24n, 8n] };
  await assertDipcError("invalid_data", '"t"', () => writeBatch(field("t", 5), text, body));
  new Int32Array(body.buffer).set([0, 1, 2, 3, 4]);
  assertGreater(await writeBatch(field("t", 5), text, body), 100);
  // Odd lengths are Arrow's to allow.
  assertGreater(await writeBatch(int32(), { buffers: [0n, 0n, 0n, 19n] }, body), 100);
  await assertDipcError("unsupported", "big-endian", () => writeBatch(int32(), {}, body, 1));
  const empty = field("f", 15, [{ i32: 0 }]);
  await assertDipcError("unsupported", 'column "f" to Parquet: its values have no', () => writeBatch(empty, {}, body));
  for (const [bits, digits, scale] of [[32, 9, 512], [128, 9, 10], [64, 5, -1]]) {
    const decimal = field("d", 7, [{ i32: digits }, { i32: scale }, { i32: bits }]);
    const type = `decimal${bits}(${digits}, ${scale})`;
    await assertDipcError(
      "unsupported",
      `column "d" to Parquet: its type is ${type}`,
      () => writeBatch(decimal, {}, body),
    );
  }
  const digit = field("d", 7, [{ i32: 1 }, { i32: 0 }, { i32: 32 }]);
  assertGreater(await writeBatch(digit, { buffers: [0n, 0n, 0n, 16n] }, body), 100);
});

Deno.test("a schema without a list of columns becomes a Parquet file without columns", async () => {
  const schema = new HeaderReader().read(writeFlat(message({ type: 1, header: { table: [{ i16: 0 }] } })).bytes);
  const sink = new MemorySink();
  await (await ParquetWriter.create(schema, sink)).finish();
  assertGreater(sink.bytes().byteLength, 12);
});

testNeeding([needsGold], "gold columns that Parquet cannot hold are refused with their name", async () => {
  for (const [name, column] of [["union", "sparse"], ["nested_dictionary", "list_dict"]]) {
    const dataset = await openPath(`${goldFolder}/1.0.0-littleendian/generated_${name}.stream`);
    await assertDipcError("unsupported", `"${column}"`, () => ParquetWriter.create(dataset.schema, new MemorySink()));
    await dataset.close();
  }
});

testNeeding([needsGold], "gold data, also with compressed bodies, comes back from Parquet", async () => {
  using folder = new TemporaryFolder();
  for (
    const name of [
      "1.0.0-littleendian/generated_primitive",
      "2.0.0-compression/generated_lz4",
      "2.0.0-compression/generated_zstd",
    ]
  ) {
    const source = await openPath(`${goldFolder}/${name}.stream`);
    const path = folder.file("gold.parquet");
    await writeAll(source, await ParquetWriter.create(source.schema, AtomicFile.create(path)));
    const dataset = await openPath(path);
    assertEquals(rowsOf(await readTable(dataset)), rowsOf(await readTable(source)), name);
    await dataset.close();
    await source.close();
  }
});

Deno.test("a sink that fails ends the writer with its error", async () => {
  const dataset = await fromTable(longTable(400_000), { batchRows: 50_000 });
  const sink = { write: () => Promise.reject(new DipcError("io", "the disk is full")), finish() {}, abort() {} };
  const writer = await ParquetWriter.create(dataset.schema, sink, { rowGroupRows: 50_000 });
  await assertDipcError("io", "", () => writeAll(dataset, writer));
  await dataset.close();
});

Deno.test("an output that is aborted ends the encoder and leaves no file", async () => {
  using folder = new TemporaryFolder();
  const dataset = await fromTable(longTable(100_000), { batchRows: 10_000 });
  const writer = await ParquetWriter.create(dataset.schema, AtomicFile.create(folder.file("a.parquet")));
  const run = await dataset.open();
  await writer.write((await run.next())!);
  await writer.write((await run.next())!);
  await writer.abort();
  await run.close();
  await dataset.close();
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

Deno.test("without the permission to read its own files the error says so, and the program goes on", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  await writeParquet(longTable(10), path);
  await Deno.writeTextFile(
    folder.file("main.ts"),
    `import { parquetFile } from ${JSON.stringify(`${ROOT}/src/sources/parquet.ts`)};
    try {
      await parquetFile(${JSON.stringify(path)});
    } catch (error) {
      console.log(error.code, error.message);
    }`,
  );
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "--no-prompt",
      "--config",
      `${ROOT}/deno.json`,
      "--allow-ffi",
      `--allow-read=${path}`,
      folder.file("main.ts"),
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(text.startsWith("permission_denied"), text + new TextDecoder().decode(stderr));
  assertStringIncludes(text, "--allow-read");
});

const flights = await fetchData("flights-3m.parquet", console.log).catch((error) => {
  console.log(error.message);
  return null;
});
const needsFlights = {
  what: "the data set flights-3m.parquet",
  present: flights !== null,
  how: "npm has to reach its registry once",
};

testNeeding([needsFlights], "three million flights are decoded whole, in little memory", async () => {
  const dataset = await parquetFile(flights!);
  assertEquals([dataset.rows, dataset.batches], [3_000_000, 55]);
  await drain(dataset); // the decoder's own code and memory come first
  const before = Deno.memoryUsage().rss;
  for (let i = 0; i < 3; i++) assertEquals(await drain(dataset), 3_000_000);
  const grown = Deno.memoryUsage().rss - before;
  await dataset.close();
  console.log(`RSS grew by ${(grown / 2 ** 20).toFixed(1)} MiB over three runs of 133 MiB each`);
  assertLess(grown, 100 * 2 ** 20);
});
