/**
 * Our side of the results of the C data interface, in our client's process.
 *
 * @module
 */
import { type RecordBatch, Table, Utf8, vectorFromArray } from "apache-arrow";
import { CStruct, exportRecordBatch, importRecordBatch } from "../c_data.ts";
import { BatchDecoder } from "../src/ipc/decode.ts";
import { BatchEncoder } from "../src/ipc/encode.ts";
import type { MessageHeader } from "../src/ipc/message.ts";
import { hostPool } from "../src/memory/host_pool.ts";

const SYMBOLS = {
  bench_produce: { parameters: ["usize", "usize"], result: "void" },
  bench_release: { parameters: ["usize"], result: "void" },
  bench_nothing: { parameters: ["usize"], result: "void" },
  bench_allocate: { parameters: ["i64", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Rows of the batch. */
const ROWS = 65_536;

/** A batch of 5 columns of int64 and 5 of text, received as from a stream. */
function makeBatch(): RecordBatch {
  const numbers = vectorFromArray(BigInt64Array.from({ length: ROWS }, (_, i) => BigInt(i)));
  const texts = vectorFromArray(Array.from({ length: ROWS }, (_, i) => `value ${i}`), new Utf8());
  const columns = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`c${i}`, i % 2 === 0 ? numbers : texts]));
  const [batch] = new Table(columns).batches;
  const encoder = new BatchEncoder(batch.schema, hostPool());
  const [message] = encoder.encode(batch);
  return new BatchDecoder(encoder.schemaHeader).decode(message)!;
}

/** What a run answers: calls per second. */
interface Rate {
  readonly rate: number;
}

/** Seconds that `count` calls take. */
function seconds(count: number, call: () => void): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) call();
  return (performance.now() - start) / 1000;
}

let prepared: { batch: RecordBatch; exported: CStruct; target: CStruct; schema: MessageHeader } | null = null;

function prepare(): NonNullable<typeof prepared> {
  if (prepared !== null) return prepared;
  const batch = makeBatch();
  const exported = new CStruct("ArrowArray"), target = new CStruct("ArrowArray"), schema = new CStruct("ArrowSchema");
  exportRecordBatch(batch, exported.address, schema.address);
  exportRecordBatch(batch, target.address);
  const { schemaHeader } = importRecordBatch(target.address, schema.address);
  return prepared = { batch, exported, target, schema: schemaHeader };
}

/**
 * Imports the batch again and again, its schema known; reads a value of one column, and disposes it.
 *
 * @param library Path of the producer in C
 * @param count Number of batches
 */
export function importRate(library: string, count: number): Rate {
  const { exported, target, schema } = prepare();
  const { bench_produce } = Deno.dlopen(library, SYMBOLS).symbols;
  const from = exported.address, to = target.address;
  const produced = seconds(count, () => bench_produce(from, to));
  let sum = 0n;
  const all = seconds(count, () => {
    bench_produce(from, to);
    const batch = importRecordBatch(to, schema).toRecordBatch();
    sum += batch.getChildAt(2)!.get(7) as bigint;
    batch[Symbol.dispose]();
  });
  if (sum !== BigInt(7 * count)) throw new Error(`the values have the sum ${sum}`);
  return { rate: count / (all - produced) };
}

/** Exports the batch again and again; a consumer in C releases it. */
export function exportRate(library: string, count: number): Rate {
  const { batch, target } = prepare();
  const { bench_release, bench_nothing } = Deno.dlopen(library, SYMBOLS).symbols;
  const to = target.address;
  const called = seconds(count, () => bench_nothing(to));
  const all = seconds(count, () => {
    exportRecordBatch(batch, to);
    bench_release(to);
  });
  return { rate: count / (all - called) };
}

/** Resident memory in bytes after some batches of 64 KiB each were imported and dropped, and after all of them. */
export async function droppedMemory(
  library: string,
  some: number,
  all: number,
): Promise<{ some: number; all: number }> {
  const rows = 8192;
  const { bench_allocate } = Deno.dlopen(library, SYMBOLS).symbols;
  using schema = new CStruct("ArrowSchema");
  using target = new CStruct("ArrowArray");
  const [batch] = new Table({ n: vectorFromArray(new BigInt64Array(1)) }).batches;
  exportRecordBatch(batch, target.address, schema.address);
  const { schemaHeader } = importRecordBatch(target.address, schema.address);
  const to = target.address;
  let after = 0;
  for (let i = 1; i <= all; i++) {
    bench_allocate(BigInt(rows), to);
    const value = importRecordBatch(to, schemaHeader).toRecordBatch().getChildAt(0)!.get(i % rows);
    if (value !== BigInt(i % rows)) throw new Error(`row ${i % rows} is ${value}`);
    // As a program does that reads a stream.
    if (i % 16 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    if (i === some) after = Deno.memoryUsage().rss;
  }
  return { some: after, all: Deno.memoryUsage().rss };
}
