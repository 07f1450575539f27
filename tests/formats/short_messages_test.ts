/**
 * Short messages that mean far more data than they have bytes: what is written, shown or exported of them takes bounded memory.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { RecordBatch } from "apache-arrow";
import { concatenate } from "../../src/c_data/concatenate.ts";
import { placed } from "../../src/c_data/located_tree.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { ColumnReader } from "../../src/formats/parquet/arrow_columns.ts";
import { DictionaryStore } from "../../src/formats/parquet/dictionary_store.ts";
import { RowSizes } from "../../src/formats/parquet/row_sizes.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { Preview } from "../../src/formats/preview.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import type { VerifiedHeader } from "../../src/ipc/header.ts";
import type { FieldLayout } from "../../src/ipc/layout.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { messagesOf, shortField as field, type ShortMessage } from "../support/short_messages.ts";

const MIB = 2 ** 20;
const NONE = new Uint8Array(0);
const NULLS = field({ id: "null" }),
  TEXT = field({ id: "utf8" }),
  INT8 = field({ id: "int", bitWidth: 8, signed: true });
const INT32 = field({ id: "int", bitWidth: 32, signed: true });
const INDICES = { id: 0n, index: { id: "int", bitWidth: 8, signed: true }, ordered: false } as const;

const numbers = (count: number, number: number): Int32Array => new Int32Array(count).fill(number);
const list = (child: FieldLayout): FieldLayout => field({ id: "list" }, [child]);
const listView = (child: FieldLayout): FieldLayout => field({ id: "list_view" }, [child]);
const runs = (values: FieldLayout): FieldLayout => field({ id: "run_end_encoded" }, [INT32, values]);
const fixedList = (listSize: number, child: FieldLayout): FieldLayout =>
  field({ id: "fixed_size_list", listSize }, [child]);

/** The buffers of a text of 1 MiB. */
const ONE_TEXT = [NONE, Int32Array.of(0, MIB), new Uint8Array(MIB).fill(97)];
const ONE_TEXT_DICTIONARY: ShortMessage = { rows: 1, nodes: [1, 0], buffers: ONE_TEXT, isDictionary: true };
/** Buffers of so many views, each of 1 MiB, all of which are the same text. */
const viewsOf = (count: number): Uint8Array[] => {
  const views = new Int32Array(4 * count);
  for (let i = 0; i < count; i++) views.set([MIB, 0x61616161, 0, 0], 4 * i);
  return [NONE, new Uint8Array(views.buffer), new Uint8Array(MIB).fill(97)];
};

/** Columns of which each row takes 1 MiB in Parquet or a little more, by the number of rows. */
const EXPANDING: Readonly<Record<string, [FieldLayout, (rows: number) => ShortMessage[]]>> = {
  "list views of nulls": [
    listView(NULLS),
    (rows) => [{ rows, nodes: [rows, 0, 65_536, 65_536], buffers: [NONE, numbers(rows, 0), numbers(rows, 65_536)] }],
  ],
  "list views of list views": [
    listView(listView(NULLS)),
    (rows) => [{
      rows,
      nodes: [rows, 0, 256, 0, 256, 256],
      buffers: [
        ...[NONE, numbers(rows, 0), numbers(rows, 256)],
        ...[NONE, numbers(256, 0), numbers(256, 256)],
      ],
    }],
  ],
  "list views of a text": [
    listView(TEXT),
    (rows) => [{ rows, nodes: [rows, 0, 1, 0], buffers: [NONE, numbers(rows, 0), numbers(rows, 1), ...ONE_TEXT] }],
  ],
  "runs of a text": [
    runs(TEXT),
    (rows) => [{ rows, nodes: [rows, 0, 1, 0, 1, 0], buffers: [NONE, Int32Array.of(rows), ...ONE_TEXT] }],
  ],
  "runs of lists": [
    runs(list(NULLS)),
    (rows) => [{
      rows,
      nodes: [rows, 0, 2, 0, 2, 0, 131_072, 131_072],
      buffers: [NONE, Int32Array.of(1, rows), NONE, Int32Array.of(0, 65_536, 131_072)],
    }],
  ],
  "views of a text": [
    field({ id: "utf8_view" }),
    (rows) => [{ rows, nodes: [rows, 0], buffers: viewsOf(rows), variadicCounts: [1] }],
  ],
  "a dictionary of a text": [
    field({ id: "utf8" }, [], INDICES),
    (rows) => [ONE_TEXT_DICTIONARY, { rows, nodes: [rows, 0], buffers: [NONE, new Uint8Array(rows)] }],
  ],
  "lists of one length": [
    fixedList(256, fixedList(256, NULLS)),
    (rows) => [{ rows, nodes: [rows, 0, 256 * rows, 0, 65_536 * rows, 0], buffers: [NONE, NONE] }],
  ],
  "structs in lists": [
    list(field({ id: "struct" }, [NULLS, NULLS])),
    (rows) => {
      const offsets = Int32Array.from({ length: rows + 1 }, (_, i) => 65_536 * i), count = 65_536 * rows;
      return [{ rows, nodes: [rows, 0, count, 0, count, 0, count, 0], buffers: [NONE, offsets, NONE] }];
    },
  ],
};

Deno.test("rows that take more memory in Parquet than in their message are taken in small steps", async (t) => {
  for (const [name, [column, messages]] of Object.entries(EXPANDING)) {
    await t.step(name, () => {
      const made = messagesOf(column, messages(1000));
      const dictionaries = new DictionaryStore(2 ** 30);
      for (const { header, body } of made.messages) {
        const reader = new ColumnReader(header as VerifiedHeader, body!.bytes(), 2 ** 30);
        const isDictionary = header.kind === "dictionary";
        const read = reader.read(made.schema.layout.fields[0], isDictionary);
        if (isDictionary) dictionaries.add(0n, read, false);
        else {
          const sizes = new RowSizes([read], reader.byteLength, dictionaries);
          assertEquals([0, 500, 990, 999].map((from) => sizes.stepEnd(from, 1000)), [62, 562, 1000, 1000]);
        }
      }
    });
  }
});

/** One row that takes more than 512 MiB. */
const TOO_LARGE: Readonly<Record<string, [FieldLayout, ShortMessage[]]>> = {
  "a list of nulls": [list(NULLS), [{ rows: 1, nodes: [1, 0, 4e7, 4e7], buffers: [NONE, Int32Array.of(0, 4e7)] }]],
  "a long list of one length": [fixedList(4e7, NULLS), [{ rows: 1, nodes: [1, 0, 4e7, 0], buffers: [NONE] }]],
  "a list of runs": [list(runs(INT8)), [{
    rows: 1,
    nodes: [1, 0, 4e7, 0, 1, 0, 1, 0],
    buffers: [NONE, Int32Array.of(0, 4e7), NONE, Int32Array.of(4e7), NONE, new Uint8Array(1)],
  }]],
  "a list of one text": [list(field({ id: "utf8" }, [], INDICES)), [
    ONE_TEXT_DICTIONARY,
    { rows: 1, nodes: [1, 0, 600, 0], buffers: [NONE, Int32Array.of(0, 600), NONE, new Uint8Array(600)] },
  ]],
  "a dictionary of views": [field({ id: "utf8_view" }, [], INDICES), [
    { rows: 600, nodes: [600, 0], buffers: viewsOf(600), variadicCounts: [1], isDictionary: true },
  ]],
};

Deno.test("a row or a dictionary that takes far more memory in Parquet than in its message is refused before", async () => {
  for (const [name, [column, messages]] of Object.entries(TOO_LARGE)) {
    const made = messagesOf(column, messages);
    const writer = await ParquetWriter.create(made.schema, new MemorySink());
    const write = async (): Promise<void> => {
      for (const message of made.messages) await writer.write(message);
    };
    await assertDipcError("limit_exceeded", /takes \d+ bytes of memory, the most for its size is 5\d{8};/, write, name);
    await writer.abort();
  }
});

Deno.test("rows that take more memory than their message are written to Parquet, all of them", async () => {
  using folder = new TemporaryFolder();
  for (const name of ["list views of nulls", "list views of list views"]) {
    const [column, messages] = EXPANDING[name];
    const made = messagesOf(column, messages(130));
    const path = folder.file("a.parquet");
    const writer = await ParquetWriter.create(made.schema, AtomicFile.create(path));
    for (const message of made.messages) await writer.write(message);
    await writer.finish();
    const dataset = await openPath(path);
    const run = await dataset.open();
    let values = 0;
    for (let message; (message = await run.next()) !== null;) {
      values += message.header.nodes.at(-2)!;
      message.body!.release();
    }
    await run.close();
    await dataset.close();
    assertEquals([dataset.rows, values], [130, 130 * 65_536], name);
  }
});

Deno.test("a name around many columns is not repeated in the footer until it fills the memory", async () => {
  const wide = (children: number): FieldLayout => ({
    ...field({ id: "struct" }, Array(children).fill(NULLS)),
    name: "n".repeat(MIB),
  });
  const create = (children: number, rows: number) => {
    const nodes = Array.from({ length: children + 1 }, (_, i) => [rows, i === 0 ? 0 : rows]).flat();
    const { schema, messages } = messagesOf(wide(children), [{ rows, nodes, buffers: [NONE] }]);
    return { messages, writer: ParquetWriter.create(schema, new MemorySink(), { rowGroupRows: 1 }) };
  };
  await assertDipcError("limit_exceeded", "characters in 1 row group,", () => create(300, 1).writer);
  const { messages, writer } = create(100, 3);
  await assertDipcError("limit_exceeded", "characters in 3 row groups,", async () => {
    await (await writer).write(messages[0]);
  });
  await (await writer).abort();
});

Deno.test("no more of a cell is made into a text than the screen shows", () => {
  const most = 2 ** 31 - 1;
  const { schema, messages } = messagesOf(list(NULLS), [
    { rows: 1, nodes: [1, 0, most, most], buffers: [NONE, Int32Array.of(0, most)] },
  ]);
  const preview = new Preview(schema);
  using batch = new BatchDecoder(schema).decode(messages[0]);
  const before = Deno.memoryUsage().external;
  preview.add(batch as unknown as RecordBatch);
  assert(Deno.memoryUsage().external - before < 64 * MIB);
  assertStringIncludes(preview.render(), "[null,null,null,null,null,null,…");
});

Deno.test("values without bytes whose bitmap would fill the memory are not put together", () => {
  const { schema } = messagesOf(field({ id: "fixed_size_binary", byteWidth: 0 }, [], INDICES), []);
  const { plan } = schema.layout.dictionaries.get(0n)!;
  const chunk = (length: number, nulls: number) =>
    placed(length, [length, nulls], [], [new Uint8Array(nulls === 0 ? 0 : Math.ceil(length / 8)), NONE]);
  const { numbers } = concatenate(plan, [chunk(1e6, 0), chunk(9, 9)]);
  assertEquals([...numbers.nodes], [1e6 + 9, 9]);
  assertDipcError("limit_exceeded", "values without bytes", () => concatenate(plan, [chunk(6e8, 0), chunk(9, 9)]));
});
