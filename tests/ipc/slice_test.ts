/** Batches that are cut into slices of their rows: every type keeps its values, and every slice its size. */
import { assert, assertEquals, assertGreater, assertInstanceOf } from "@std/assert";
import {
  Bool,
  Data,
  Field,
  List,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableFromArrays,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { fromBatches } from "../../mod.ts";
import { DipcError } from "../../src/errors.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { slicesOf } from "../../src/ipc/slice_batch.ts";
import { readerLimits } from "../../src/limits.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { type Plain, plainColumns } from "../support/ipc_values.ts";
import { Random } from "../support/random.ts";

const seed = Number(Deno.env.get("DIPC_SEED") ?? Date.now() % 2 ** 31);

interface Sent {
  readonly schema: MessageHeader;
  readonly messages: IpcMessage[];
}

async function sent(batch: RecordBatch): Promise<Sent> {
  const dataset = await fromBatches([batch]);
  const run = await dataset.open();
  const messages: IpcMessage[] = [];
  for (let message; (message = await run.next()) !== null;) messages.push(message);
  await run.close();
  return { schema: dataset.schema, messages };
}

/** The values of all batches, column by column. */
async function values(
  schema: MessageHeader,
  messages: Iterable<IpcMessage>,
): Promise<{ columns: Plain[][]; sizes: number[] }> {
  const decoder = new BatchDecoder(schema, readerLimits());
  const columns: Plain[][] = [];
  const sizes: number[] = [];
  for (const message of messages) {
    if (message.header.kind === "batch") sizes.push(message.header.bytes.byteLength + (message.body?.byteLength ?? 0));
    const batch = await decoder.decodeAsync(message);
    if (batch === null) continue;
    plainColumns(batch as unknown as RecordBatch).forEach((column, i) => (columns[i] ??= []).push(...column));
  }
  return { columns, sizes };
}

Deno.test(`every type keeps its values when its batch is cut (seed ${seed})`, async (t) => {
  const random = new Random(seed);
  for (const type of allTypes()) {
    await t.step(String(type), async () => {
      for (const rows of [3, 64, 500]) {
        const data = randomColumn(type, rows, random);
        const schema = new Schema([new Field("x", type, true)]);
        const batch = new RecordBatch(schema, new Data(new Struct(schema.fields), 0, rows, 0, {}, [data]));
        const whole = await values(...(({ schema, messages }) => [schema, messages] as const)(await sent(batch)));
        for (const part of [2, 3, 7]) {
          const { schema, messages } = await sent(batch);
          const size = messages.at(-1)!.header.bytes.byteLength + messages.at(-1)!.header.bodyLength;
          const most = messages.at(-1)!.header.bytes.byteLength + Math.ceil(messages.at(-1)!.header.bodyLength / part);
          const cut = [...messages.slice(0, -1), ...slicesOf(schema, messages.at(-1)!, most, hostPool())];
          const cutRows = cut.filter(({ header }) => header.kind === "batch").map(({ header }) => header.rows);
          const { columns, sizes } = await values(schema, cut);
          assertEquals(columns, whole.columns, `${rows} rows in ${part} parts`);
          // A batch that cannot be cut comes as it is, and so does a row that is too large.
          for (const [i, each] of sizes.entries()) {
            assert(each <= most || cutRows[i] === 1 || (sizes.length === 1 && each === size), `${each} of ${most}`);
          }
        }
      }
    });
  }
});

Deno.test("rows of very different sizes are cut into slices of different lengths, and a row that is too large comes alone", async () => {
  const texts = Array.from({ length: 1000 }, (_, i) => i > 990 ? "x".repeat(50_000) : `${i}`);
  const { schema, messages } = await sent(new Table({ t: vectorFromArray(texts, new Utf8()) }).batches[0]);
  const cut = [...slicesOf(schema, messages[0], 60_000, hostPool())];
  const { columns, sizes } = await values(schema, cut);
  assertEquals(columns[0], texts);
  assertGreater(sizes.length, 5);
  assert(sizes.every((size) => size <= 60_000), String(sizes));
  const again = await sent(new Table({ t: vectorFromArray(["a", "x".repeat(9000), "b"], new Utf8()) }).batches[0]);
  const rows = [...slicesOf(again.schema, again.messages[0], 5000, hostPool())].map(({ header, body }) => {
    body?.release();
    return header.rows;
  });
  assertEquals(rows.reduce((sum, each) => sum + each, 0), 3);
});

Deno.test("the body of a batch that is cut is released, also if its slices are not all taken", async () => {
  const { schema, messages } = await sent(tableFromArrays({ n: new Float64Array(10_000) }).batches[0]);
  let released = 0;
  const [message] = messages;
  const body = message.body!;
  const release = body.release.bind(body);
  body.release = () => (released++, release());
  const slices = slicesOf(schema, message, 20_000, hostPool());
  slices.next().value!.body!.release();
  slices.return(undefined);
  assertEquals(released, 1);
});

/**
 * Offsets come from a file or an upload. A bitmap below a list with a huge offset was counted bit by bit, two thousand million of
 * them, before anything was checked; and the body of a batch that was rejected was lost.
 */
Deno.test("offsets that lead anywhere are rejected at once, and the body is released", async () => {
  const rows = 400;
  const lists = Array.from({ length: rows }, (_, i) => [i % 3 === 0 ? null : `value ${i}`, null]);
  const flags = Array.from({ length: rows }, (_, i) => [i % 2 === 0, null, true]);
  const table = new Table({
    lists: vectorFromArray(lists, new List(new Field("item", new Utf8(), true))),
    flags: vectorFromArray(flags, new List(new Field("item", new Bool(), true))),
  });
  const { schema, messages: [message] } = await sent(table.batches[0]);
  const whole = message.body!.bytes().slice();
  let rejected = 0;
  for (const value of [-1, -(2 ** 31), 2 ** 31 - 1, 2 ** 30, rows * 4]) {
    for (let at = 0; at < whole.byteLength; at += 4) {
      const bytes = whole.slice();
      new DataView(bytes.buffer).setInt32(at, value, true);
      const body = wrapBytes(bytes);
      let released = 0;
      body.release = () => void released++;
      try {
        for (const slice of slicesOf(schema, { ...message, body }, 4_000, hostPool())) slice.body!.release();
      } catch (error) {
        assertInstanceOf(error, DipcError);
        assertEquals(error.code, "invalid_data");
        rejected++;
      }
      assertEquals(released, 1, `${value} at ${at}`);
    }
  }
  assertGreater(rejected, 50);
});
