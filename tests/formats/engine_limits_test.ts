/** What the JavaScript engine or the Parquet encoder cannot hold is named with its place, and never ends in a trap. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Binary, type RecordBatch, Table, Utf8, vectorFromArray } from "apache-arrow";
import { fromTable, openPath } from "../../mod.ts";
import { DipcError } from "../../src/errors.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { CsvWriter } from "../../src/formats/csv_writer.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { Preview } from "../../src/formats/preview.ts";
import type { ByteSink, Piece } from "../../src/formats/sink.ts";
import type { MessageWriter } from "../../src/formats/writer.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { patchBatch } from "../../src/ipc/batch_patch.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { readerLimits } from "../../src/limits.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { readTable } from "../support/datasets.ts";
import { TemporaryFolder } from "../support/paths.ts";

/** Counts what it is given. */
class CountingSink implements ByteSink {
  bytes = 0;
  write(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.bytes += piece.byteLength;
  }
  finish(): void {}
  abort(): void {}
}

/** Two batches of one column `t`: the second one has an empty value, and others of so many zero bytes each. */
async function long(
  type: Utf8 | Binary,
  bytes: number,
  count = 1,
): Promise<{ schema: MessageHeader; messages: IpcMessage[] }> {
  const values = type instanceof Utf8 ? ["", ""] : [new Uint8Array(0), new Uint8Array(0)];
  const table = new Table({ t: vectorFromArray(values as string[], type as Utf8) });
  const small = await fromTable(table);
  const messages: IpcMessage[] = [];
  for (let i = 0; i < 2; i++) {
    const run = await small.open();
    messages.push((await run.next())!);
    await run.close();
  }
  const [{ header }] = messages;
  const rows = 1 + count;
  const valuesAt = Math.ceil((rows + 1) * 4 / 64) * 64;
  const bodyLength = valuesAt + Math.ceil(count * bytes / 64) * 64;
  const metadata = patchBatch(header.bytes, {
    rows,
    nodes: Float64Array.of(rows, 0),
    offsets: Float64Array.of(0, 0, valuesAt),
    lengths: Float64Array.of(0, (rows + 1) * 4, count * bytes),
    bodyLength,
  });
  messages[1].body?.release();
  const body = hostPool().acquire(bodyLength).toBody(bodyLength);
  const offsets = new Int32Array(body.bytes().buffer, 0, rows + 1);
  for (let i = 1; i < rows; i++) offsets[i + 1] = i * bytes;
  messages[1] = { header: HeaderReader.continuing(small.schema).read(metadata), body };
  return { schema: small.schema, messages };
}

for (
  const [name, type, bytes, make] of [
    ["CSV", new Utf8(), 2 ** 29, CsvWriter],
    ["NDJSON", new Utf8(), 2 ** 29, NdjsonWriter],
    ["NDJSON, with escapes", new Utf8(), 1.2e8, NdjsonWriter],
    ["CSV of binary", new Binary(), 2 ** 28, CsvWriter],
    ["NDJSON of binary", new Binary(), 4.1e8, NdjsonWriter],
  ] as const
) {
  Deno.test(`a text that the engine cannot hold is named by column and row: ${name}`, async () => {
    const { schema, messages } = await long(type, bytes);
    const sink = new CountingSink();
    const writer: MessageWriter = new make(schema, sink);
    await writer.write(messages[0]);
    const error = await Promise.resolve(writer.write(messages[1])).then(() => null, (thrown) => thrown);
    assert(error instanceof DipcError, `${error}`);
    assertEquals(error.code, "limit_exceeded");
    assertStringIncludes(error.message, 'column "t", row 3 (from 0)');
    await writer.abort();
  });
}

Deno.test("a long text is written, and one that is too long is cut on the screen", async () => {
  const { schema, messages } = await long(new Utf8(), 3e7);
  const sink = new CountingSink();
  const writer = new CsvWriter(schema, sink);
  for (const message of messages) await writer.write(message);
  await writer.finish();
  assertEquals(sink.bytes, 3e7 + 2 + 4 + 2 * 3);
  const tooLong = await long(new Utf8(), 2 ** 29);
  const preview = new Preview(tooLong.schema);
  const decoder = new BatchDecoder(tooLong.schema, readerLimits());
  for (const message of tooLong.messages) {
    using batch = await decoder.decodeAsync(message);
    preview.add(batch as unknown as RecordBatch);
  }
  assertStringIncludes(preview.render(), "too long for a text");
});

Deno.test("long values of Parquet make small row groups, also one that is larger than a group", async () => {
  const { schema, messages } = await long(new Binary(), 100_000, 80);
  using folder = new TemporaryFolder();
  const path = folder.file("a.parquet");
  const writer = await ParquetWriter.create(schema, AtomicFile.create(path), { rowGroupBytes: 2 ** 20 });
  for (const message of messages) await writer.write(message);
  const single = await long(new Binary(), 8_000_000);
  single.messages[0].body!.release();
  await writer.write(single.messages[1]);
  await writer.finish();
  const written = await openPath(path);
  assertEquals(written.rows, 85);
  // Ten rows of 100,000 bytes are encoded at a time; twenty reach 1 MiB.
  assertEquals(written.batches, 5);
  const lengths = [...(await readTable(written)).getChild("t")!].map((value) => value.byteLength);
  assertEquals(lengths, [0, 0, 0, ...Array(80).fill(100_000), 0, 8_000_000]);
  await written.close();
});

Deno.test("rows of Parquet with long values are written before the end", async () => {
  const sink = new CountingSink();
  const { schema } = await long(new Binary(), 1000);
  const writer = await ParquetWriter.create(schema, sink);
  for (let i = 0; i < 3; i++) {
    const { messages } = await long(new Binary(), 2e8);
    messages[0].body!.release();
    await writer.write(messages[1]);
    assert(sink.bytes > 100, `only ${sink.bytes} bytes were written after ${i + 1} batches`);
  }
  await writer.finish();
});
