/**
 * Compares the rows of two datasets of flat columns, buffer by buffer: what is under a null, and padding, does not count.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { verified } from "../../src/ipc/header.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { type FieldLayout, storageOf } from "../../src/ipc/layout.ts";
import type { Dataset, MessageStream } from "../../src/sources/dataset.ts";

/** One batch, with what it takes to read it. */
interface Batch {
  readonly rows: number;
  readonly nodes: Float64Array;
  readonly buffers: Uint8Array[];
}

async function nextBatch(run: MessageStream, headers: HeaderReader): Promise<Batch | null> {
  const message = await run.next();
  if (message === null) return null;
  const { kind, rows, nodes, buffers } = verified(message.header, headers);
  assertEquals(kind, "batch");
  const bytes = message.body!.bytes().slice();
  message.body!.release();
  const buffer = (_: unknown, i: number): Uint8Array =>
    bytes.subarray(buffers[2 * i], buffers[2 * i] + buffers[2 * i + 1]);
  return { rows, nodes, buffers: Array.from({ length: buffers.length / 2 }, buffer) };
}

function bitAt(bits: Uint8Array, row: number): number {
  return bits[row >> 3] >> (row & 7) & 1;
}

/** Values of a column as text that is equal if they are. */
function* valuesOf(field: FieldLayout, rows: number, nulls: number, buffers: readonly Uint8Array[]): Generator<string> {
  const { id } = field.type;
  const [validity, first, second] = buffers;
  const hex = (bytes: Uint8Array, from: number, to: number): string => bytes.subarray(from, to).toHex();
  const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
  const isLarge = id.startsWith("large_");
  const offset = (row: number): number =>
    isLarge ? Number(view.getBigInt64(8 * row, true)) : view.getInt32(4 * row, true);
  const width = storageOf(field.type).bits / 8;
  for (let row = 0; row < rows; row++) {
    if (nulls > 0 && bitAt(validity, row) === 0) yield "null";
    else if (second !== undefined) yield hex(second, offset(row), offset(row + 1));
    else if (id === "bool") yield `${bitAt(first, row)}`;
    else yield hex(first, width * row, width * (row + 1));
  }
}

/**
 * Compares schemas, batches and values.
 *
 * @returns Number of rows
 */
export async function assertSameRows(one: Dataset, other: Dataset, what: string): Promise<number> {
  assertEquals(one.schema.bytes, other.schema.bytes, `${what}: schemas`);
  assertEquals([one.rows, one.batches], [other.rows, other.batches], what);
  const runs = [await one.open(), await other.open()] as const;
  const [headers, otherHeaders] = [one, other].map(({ schema }) => HeaderReader.continuing(schema));
  const { fields } = headers.layout!;
  let rows = 0;
  for (;;) {
    const [mine, theirs] = [await nextBatch(runs[0], headers), await nextBatch(runs[1], otherHeaders)];
    assertEquals(mine?.rows, theirs?.rows, `${what}: rows of a batch from row ${rows}`);
    if (mine === null || theirs === null) break;
    assertEquals([...mine.nodes], [...theirs.nodes], `${what}: lengths and nulls from row ${rows}`);
    let at = 0;
    fields.forEach((field, i) => {
      const count = /utf8|binary$/.test(field.type.id) && field.type.id !== "fixed_size_binary" ? 3 : 2;
      const nulls = mine.nodes[2 * i + 1];
      const values = valuesOf(field, mine.rows, nulls, theirs.buffers.slice(at, at + count));
      let row = rows;
      for (const value of valuesOf(field, mine.rows, nulls, mine.buffers.slice(at, at + count))) {
        const expected = values.next().value;
        if (value !== expected) assertEquals(value, expected, `${what}: column ${field.name}, row ${row}`);
        row++;
      }
      at += count;
    });
    rows += mine.rows;
  }
  for (const run of runs) await run.close();
  return rows;
}
