/** Tables, batches and datasets in memory. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type RecordBatch, Schema, Table, tableFromArrays } from "apache-arrow";
import { DipcError } from "../../src/errors.ts";
import { resident } from "../../src/sources/resident.ts";
import { repeat } from "../support/repeat.ts";
import { fromBatches, fromTable } from "../../src/sources/table.ts";
import { arrowStream } from "../../src/sources/arrow_stream.ts";
import { assertDipcError } from "../support/assert.ts";
import {
  arrowBytes,
  copyMessage,
  countedPool,
  readMessages,
  readTable,
  rowsOf,
  smallTable,
} from "../support/datasets.ts";

Deno.test("a table is encoded once and gives the same bytes to every run", async () => {
  const { pool, assertAllBack } = countedPool();
  const dataset = await fromTable(smallTable(), { pool });
  assertEquals([dataset.rows, dataset.batches, dataset.readOnce], [15, 3, false]);
  const blocks = pool.stats.blocksOut;
  const runs = await Promise.all([dataset.open(), dataset.open()]);
  const addresses = runs.map((run) => {
    const message = run.next();
    assert(message !== null && !(message instanceof Promise), "a message was expected at once");
    const { address } = message.body!;
    message.body!.release();
    return address;
  });
  assertEquals(addresses[0], addresses[1]);
  assertEquals(pool.stats.blocksOut, blocks);
  for (const run of runs) await run.close();
  await readMessages(dataset);
  await dataset.close();
  assertAllBack();
  await assertDipcError("closed", "", async () => await dataset.open());
});

Deno.test("a table comes back as it was", async () => {
  const dataset = await fromTable(smallTable());
  assertEquals(rowsOf(await readTable(dataset)), rowsOf(smallTable()));
  await dataset.close();
});

Deno.test("a body that is still read survives the close of its dataset", async () => {
  const { pool, assertAllBack } = countedPool();
  const dataset = await fromTable(smallTable(), { pool });
  const run = await dataset.open();
  const message = (await run.next())!;
  const bytes = message.body!.bytes().slice();
  await dataset.close();
  assertEquals(message.body!.bytes(), bytes);
  await assertDipcError("closed", "", async () => await run.next());
  message.body!.release();
  message.body!.release();
  assertThrows(() => message.body!.bytes(), DipcError);
  assertAllBack();
});

Deno.test("batchRows cuts a table, and rows stay in order", async () => {
  const table = tableFromArrays({ n: Int32Array.from({ length: 1000 }, (_, i) => i) });
  const dataset = await fromTable(table, { batchRows: 300 });
  const messages = await readMessages(dataset);
  assertEquals(messages.map(({ rows }) => rows), [300, 300, 300, 100]);
  assertEquals(rowsOf(await readTable(dataset)), rowsOf(table));
  await dataset.close();
  await assertDipcError("invalid_argument", "", () => fromTable(table, { batchRows: 0 }));
});

Deno.test("batches of an array and of a function can be read again, those of a generator once", async () => {
  const table = smallTable();
  function* generate(): Generator<RecordBatch> {
    yield* table.batches;
  }
  async function* generateLater(): AsyncGenerator<RecordBatch> {
    yield* table.batches;
  }
  for (const source of [table.batches, generate, generateLater, new Set(table.batches)]) {
    const dataset = await fromBatches(source);
    assertEquals(dataset.readOnce, false);
    for (let i = 0; i < 2; i++) assertEquals(rowsOf(await readTable(dataset)), rowsOf(table));
    await dataset.close();
  }
  for (const source of [generate(), generateLater(), ReadableStream.from(table.batches)]) {
    const dataset = await fromBatches(source);
    assertEquals(dataset.readOnce, true);
    assertEquals(rowsOf(await readTable(dataset)), rowsOf(table));
    await assertDipcError("busy", "", async () => await dataset.open());
    await dataset.close();
  }
});

Deno.test("the first batch is not requested if the schema is given", async () => {
  let started = false;
  async function* generate(): AsyncGenerator<RecordBatch> {
    started = true;
    yield* smallTable().batches;
  }
  const dataset = await fromBatches(generate(), smallTable().schema);
  assertEquals(started, false);
  assertEquals((await readMessages(dataset)).length, 3);
  await dataset.close();
});

Deno.test("no batches need a schema", async () => {
  await assertDipcError("invalid_argument", "", () => fromBatches([]));
  const dataset = await fromBatches([], new Schema([]));
  assertEquals(await readMessages(dataset), []);
  await dataset.close();
});

Deno.test("an iterator that throws gives io, and one left early is closed", async () => {
  async function* failing(): AsyncGenerator<RecordBatch> {
    yield smallTable().batches[0];
    throw new Error("no more");
  }
  const failed = await fromBatches(failing());
  const run = await failed.open();
  copyMessage((await run.next())!);
  await assertDipcError("io", "", async () => await run.next());
  await run.close();

  let returned = 0, disposed = 0;
  function* counted(): Generator<RecordBatch> {
    try {
      for (const batch of smallTable().batches) {
        yield Object.assign(batch, { [Symbol.dispose]: () => void disposed++ });
      }
    } finally {
      returned++;
    }
  }
  const { pool, assertAllBack } = countedPool();
  const left = await fromBatches(counted(), undefined, { pool });
  const early = await left.open();
  copyMessage((await early.next())!);
  await early.close();
  assertEquals([returned, disposed], [1, 1]);
  const unused = await fromBatches(counted());
  await unused.close();
  assertEquals([returned, disposed], [2, 2]);
  assertAllBack();
});

Deno.test("resident loads a dataset that can be read once and serves it often", async () => {
  const { pool, assertAllBack } = countedPool();
  const bytes = await arrowBytes(await fromTable(smallTable()), "stream");
  const dataset = await resident(await arrowStream(new Blob([bytes]).stream(), { pool }));
  assertEquals([dataset.readOnce, dataset.rows, dataset.batches], [false, 15, 3]);
  assertEquals(await readMessages(dataset), await readMessages(dataset));
  await dataset.close();
  assertAllBack();
});

Deno.test("resident gives everything back where loading fails", async () => {
  const { pool, assertAllBack } = countedPool();
  const bytes = await arrowBytes(await fromTable(smallTable()), "stream");
  const cut = await arrowStream(new Blob([bytes.slice(0, -20)]).stream(), { pool });
  await assertDipcError("invalid_data", "", () => resident(cut));
  assertAllBack();
});

Deno.test("repeat runs through a dataset several times and sends its dictionaries once", async () => {
  const words = tableFromArrays({ word: ["a", "b", "a"] });
  const dataset = repeat(await fromTable(new Table(words.batches)), 3);
  assertEquals([dataset.rows, dataset.batches], [9, 3]);
  assertEquals((await readMessages(dataset)).map(({ kind }) => kind), ["dictionary", "batch", "batch", "batch"]);
  assertEquals(rowsOf(await readTable(dataset)).length, 9);
  await dataset.close();
  assertEquals(await readMessages(repeat(await fromTable(words), 0)), []);
  assertThrows(() => repeat({ ...dataset, readOnce: true }, 2), DipcError);
  assertThrows(() => repeat(dataset, 1.5), DipcError);
});
