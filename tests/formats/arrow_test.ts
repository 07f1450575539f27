/** Arrow streams and files as they are written: read back by apache-arrow, dictionaries, framing, and the file that appears only when complete. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { RecordBatch, Schema, Table, tableFromArrays, tableFromIPC } from "apache-arrow";
import { DipcError } from "../../src/errors.ts";
import { ArrowFileWriter } from "../../src/formats/arrow_file_writer.ts";
import { ArrowStreamWriter } from "../../src/formats/arrow_stream_writer.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { fromBatches, fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import {
  arrowBytes,
  countedPool,
  openDescriptors,
  readMessages,
  readTable,
  rowsOf,
  smallTable,
  writeAll,
} from "../support/datasets.ts";
import { TemporaryFolder } from "../support/paths.ts";

Deno.test("what is written is what apache-arrow reads", async () => {
  const { pool, assertAllBack } = countedPool();
  const table = new Table(tableFromArrays({ n: Int32Array.of(1, 2, 3), word: ["a", "b", "a"] }).batches);
  for (const source of [smallTable(), table]) {
    const dataset = await fromTable(source, { pool });
    for (const format of ["stream", "file"] as const) {
      assertEquals(rowsOf(tableFromIPC(await arrowBytes(dataset, format))), rowsOf(source));
    }
    await dataset.close();
  }
  assertAllBack();
});

Deno.test("a stream without batches is a schema and an end", async () => {
  const schema = encodeSchema(new Schema([]));
  const sink = new MemorySink();
  await new ArrowStreamWriter(schema, sink).finish();
  const bytes = sink.bytes(), view = new DataView(bytes.buffer);
  assertEquals(view.getInt32(0, true), -1);
  const length = view.getInt32(4, true);
  assertEquals(length % 8, 0);
  assertEquals(bytes.slice(8, 8 + schema.bytes.byteLength), schema.bytes);
  assertEquals([...bytes.slice(8 + length)], [255, 255, 255, 255, 0, 0, 0, 0]);
});

Deno.test("a file without batches is read back", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("empty.arrow");
  const dataset = await fromBatches([], smallTable().schema);
  await writeAll(dataset, new ArrowFileWriter(dataset.schema, AtomicFile.create(path)));
  const again = await openPath(path);
  assertEquals([again.rows, again.batches], [0, 0]);
  assertEquals((await readTable(again)).schema.fields.map(({ name }) => name), ["n", "big", "f"]);
  await again.close();
});

Deno.test("a stream holds replaced dictionaries as they came", async () => {
  const first = tableFromArrays({ word: ["a", "b"] }).batches[0];
  const second = tableFromArrays({ word: ["x", "y", "z"] }).batches[0];
  const dataset = await fromBatches([first, new RecordBatch(first.schema, second.data)]);
  const kinds = (await readMessages(dataset)).map(({ kind }) => kind);
  assertEquals(kinds, ["dictionary", "batch", "dictionary", "batch"]);
  assertEquals(
    rowsOf(tableFromIPC(await arrowBytes(dataset, "stream"))).map((row) => (row as { word: string }).word),
    ["a", "b", "x", "y", "z"],
  );
});

Deno.test("bodies are released if the sink fails", async () => {
  const { pool, assertAllBack } = countedPool();
  const dataset = await fromTable(smallTable());
  for (const Writer of [ArrowStreamWriter, ArrowFileWriter]) {
    for (
      const write of [() => Promise.reject(new Error("full")), () => {
        throw new Error("full");
      }]
    ) {
      const writer = new Writer(dataset.schema, { write, finish() {}, abort() {} });
      const run = await dataset.open();
      const { header } = (await run.next())!;
      const body = pool.acquire(header.bodyLength).toBody(header.bodyLength);
      await assertRejects(async () => await writer.write({ header, body }), Error, "full");
      await run.close();
    }
  }
  assertAllBack();
});

Deno.test("an output file appears under its name only when it is complete, and replaces the old one", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("out.bin");
  await Deno.writeTextFile(path, "old");
  await Deno.chmod(path, 0o640);
  const before = openDescriptors();
  const file = AtomicFile.create(path);
  file.write([new TextEncoder().encode("new ")]);
  file.write([new TextEncoder().encode("content")]);
  assertEquals(await Deno.readTextFile(path), "old");
  assertEquals([...Deno.readDirSync(folder.path)].length, 2);
  file.finish();
  assertEquals(await Deno.readTextFile(path), "new content");
  assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o640);
  assertEquals([...Deno.readDirSync(folder.path)].length, 1);
  assertEquals(file.byteLength, 11);
  assertEquals(openDescriptors(), before);
  file.abort();
  assertEquals(await Deno.readTextFile(path), "new content");
  assertThrows(() => file.write([new Uint8Array(1)]), DipcError, "closed");
});

Deno.test("a temporary file that was left is replaced, one that is being written, a link and a folder are not", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("out.bin");
  const names = (): string[] => [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort();
  await Deno.writeTextFile(folder.file(".out.bin.part"), "left, and longer than what is written now");
  const before = openDescriptors();
  const first = AtomicFile.create(path);
  assertEquals(names(), [".out.bin.part"]);
  const second = AtomicFile.create(path);
  assertEquals(names(), [".out.bin.2.part", ".out.bin.part"]);
  first.write([Uint8Array.of(1)]);
  second.write([Uint8Array.of(2)]);
  first.finish();
  assertEquals([names(), [...await Deno.readFile(path)]], [[".out.bin.2.part", "out.bin"], [1]]);
  second.finish();
  assertEquals([names(), [...await Deno.readFile(path)]], [["out.bin"], [2]]);
  await Deno.symlink(path, folder.file(".out.bin.part"));
  await Deno.mkdir(folder.file(".out.bin.2.part"));
  const third = AtomicFile.create(path);
  assertEquals(names().filter((name) => name.includes(".3.")), [".out.bin.3.part"]);
  third.write([Uint8Array.of(3)]);
  assertEquals([...await Deno.readFile(path)], [2], "what the link leads to is as it was");
  third.finish();
  assertEquals([...await Deno.readFile(path)], [3]);
  assertEquals(openDescriptors(), before);
});

Deno.test("an output file that is aborted leaves nothing behind", async () => {
  using folder = new TemporaryFolder();
  const before = openDescriptors();
  {
    using file = AtomicFile.create(folder.file("out.bin"));
    file.write([new Uint8Array(1 << 20)]);
    file.abort();
    file.abort();
  }
  assertEquals([...Deno.readDirSync(folder.path)], []);
  assertEquals(openDescriptors(), before);
  await Promise.resolve();
});

Deno.test("a symbolic link is written through, a device directly, a folder and a missing folder are rejected", async () => {
  using folder = new TemporaryFolder();
  await Deno.writeTextFile(folder.file("target"), "old");
  await Deno.symlink(folder.file("target"), folder.file("link"));
  const file = AtomicFile.create(folder.file("link"));
  file.write([new TextEncoder().encode("new")]);
  file.finish();
  assertEquals(await Deno.readTextFile(folder.file("target")), "new");
  assert((await Deno.lstat(folder.file("link"))).isSymlink, "the link was replaced");
  const nothing = AtomicFile.create("/dev/null");
  nothing.write([new Uint8Array(100_000)]);
  nothing.finish();
  assert((await Deno.stat("/dev/null")).isCharDevice, "/dev/null was replaced");
  assertDipcError("invalid_argument", "", () => AtomicFile.create(folder.path));
  assertDipcError("not_found", "", () => AtomicFile.create(folder.file("absent/out")));
});

Deno.test("a full disk is an io error that names the file", () => {
  const file = AtomicFile.create("/dev/full");
  const error = assertDipcError("io", "/dev/full", () => file.write([new Uint8Array(100_000)]));
  assertEquals(error.foreign?.status, 28);
  file.abort();
});

Deno.test("small and large pieces from arrays and native blocks are written in order", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("pieces.bin");
  const file = AtomicFile.create(path);
  const expected: number[] = [];
  for (let i = 0; i < 300; i++) {
    const size = [0, 3, 8191, 8192, 20_000][i % 5];
    const block = hostPool().acquire(size);
    block.bytes().subarray(0, size).fill(i);
    const body = block.toBody(size);
    file.write([wrapBytes(new Uint8Array(size).fill(i + 1)), body, new Uint8Array([i])]);
    body.release();
    expected.push(...new Array(size).fill((i + 1) & 255), ...new Array(size).fill(i & 255), i & 255);
  }
  file.finish();
  const written = await Deno.readFile(path);
  assertEquals(written.byteLength, expected.length);
  assert(written.every((byte, at) => byte === expected[at]), "some bytes differ");
});
