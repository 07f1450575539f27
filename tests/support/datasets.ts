/**
 * Reading datasets to their end, and small Arrow data to read.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { RecordBatch, type Schema, Table, tableFromArrays } from "apache-arrow";
import { DipcError } from "../../src/errors.ts";
import { type ByteSink, MemorySink } from "../../src/formats/sink.ts";
import { ArrowFileWriter } from "../../src/formats/arrow_file_writer.ts";
import { ArrowStreamWriter } from "../../src/formats/arrow_stream_writer.ts";
import type { MessageWriter } from "../../src/formats/writer.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { HostPool } from "../../src/memory/host_pool.ts";
import type { Dataset } from "../../src/sources/dataset.ts";

/** One message with copies of metadata and body. */
export interface CopiedMessage {
  kind: string;
  metadata: Uint8Array;
  body: Uint8Array;
  rows: number;
}

/** Reads a whole run; every body is copied and released. */
export async function readMessages(dataset: Dataset): Promise<CopiedMessage[]> {
  const run = await dataset.open();
  const messages: CopiedMessage[] = [];
  try {
    for (let message; (message = await run.next()) !== null;) messages.push(copyMessage(message));
  } finally {
    await run.close();
  }
  return messages;
}

/** Copies a message and releases its body. */
export function copyMessage({ header, body }: IpcMessage): CopiedMessage {
  const copy = {
    kind: header.kind,
    metadata: header.bytes.slice(),
    body: body === null ? new Uint8Array(0) : body.bytes().slice(),
    rows: header.rows,
  };
  body?.release();
  return copy;
}

/** Reads a whole run as a table. */
export async function readTable(dataset: Dataset): Promise<Table> {
  const decoder = new BatchDecoder(dataset.schema);
  const run = await dataset.open();
  const batches: RecordBatch[] = [];
  try {
    for (let message; (message = await run.next()) !== null;) {
      await decoder.prepare(message.header);
      const batch = decoder.decode(message);
      if (batch !== null) batches.push(batch);
    }
  } finally {
    await run.close();
  }
  return new Table(decoder.schema, batches);
}

/** All rows as plain values that can be compared. */
export function rowsOf(table: Table): unknown[] {
  return table.toArray().map((row) =>
    JSON.parse(JSON.stringify(row, (_, value) => typeof value === "bigint" ? `${value}n` : value))
  );
}

/** Runs a dataset through a writer, to its end. */
export async function writeAll(dataset: Dataset, writer: MessageWriter): Promise<void> {
  const run = await dataset.open();
  try {
    for (let message; (message = await run.next()) !== null;) await writer.write(message);
    await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await run.close();
  }
}

/** A dataset as the bytes of an Arrow stream or file. */
export async function arrowBytes(dataset: Dataset, format: "stream" | "file"): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new MemorySink();
  const Writer = format === "stream" ? ArrowStreamWriter : ArrowFileWriter;
  await writeAll(dataset, new Writer(dataset.schema, sink as ByteSink));
  return sink.bytes();
}

/** Three batches of 5 rows: numbers, text with a null, dictionary. */
export function smallTable(): Table {
  const batches = [0, 1, 2].flatMap((part) =>
    tableFromArrays({
      n: Int32Array.from({ length: 5 }, (_, i) => 10 * part + i),
      big: BigInt64Array.from({ length: 5 }, (_, i) => BigInt(10 * part + i)),
      f: Float64Array.from({ length: 5 }, (_, i) => i / 4),
    }).batches
  );
  return new Table(batches[0].schema as Schema, batches.map((batch) => new RecordBatch(batches[0].schema, batch.data)));
}

/** A pool of its own, and a check that everything came back to it. */
export function countedPool(): { pool: HostPool; assertAllBack(): void } {
  const pool = new HostPool();
  return { pool, assertAllBack: () => assertEquals(pool.stats.blocksOut, 0, "blocks that were not given back") };
}

/** Number of file descriptors of this process. */
export function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Number of descriptors of this process for a file. */
export function descriptorsOf(path: string): number {
  return [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`) === path;
    } catch {
      return false; // closed meanwhile, as the descriptor of the listing itself is
    }
  }).length;
}

/** Reads a dataset that may be damaged. @returns whether it could be read; what is wrong must be a {@linkcode DipcError} */
export async function isReadable(open: () => Promise<Dataset>): Promise<boolean> {
  try {
    const dataset = await open();
    try {
      await readMessages(dataset);
    } finally {
      await dataset.close();
    }
    return true;
  } catch (error) {
    if (!(error instanceof DipcError)) throw error;
    return false;
  }
}
