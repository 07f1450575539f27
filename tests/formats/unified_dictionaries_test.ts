/** Arrow files of streams whose dictionaries change: one dictionary for each column, equal values, or a refusal by name. */
import { assert, assertEquals, assertLess } from "@std/assert";
import {
  type Data,
  type DataType,
  Dictionary,
  Field,
  Int16,
  Int32,
  Int64,
  Int8,
  List,
  makeData,
  Null,
  RecordBatch,
  Schema,
  Struct,
  Uint16,
  Uint8,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { concatBytes } from "../../src/bytes.ts";
import { ArrowFileWriter } from "../../src/formats/arrow_file_writer.ts";
import { ArrowStreamWriter } from "../../src/formats/arrow_stream_writer.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import type { VerifiedHeader } from "../../src/ipc/header.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import { END_OF_STREAM, frameBytes } from "../../src/ipc/frame.ts";
import type { ArrowType } from "../../src/ipc/layout.ts";
import { encodeBatchMetadata } from "../../src/ipc/metadata_writer.ts";
import { encodeSchemaMessage } from "../../src/ipc/schema_writer.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { fromBatches } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import { countedPool, readMessages, readTable, writeAll } from "../support/datasets.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { plainVector } from "../support/ipc_values.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { type Random, seededRandom } from "../support/random.ts";

type Index = Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16;

/** A column of indices into a dictionary of its own; every fifth value is null. */
function encoded(type: Dictionary, values: Vector, rows: number, random: Random): Data {
  const bytes = (type.indices.bitWidth as number) / 8;
  const indices = new Uint8Array(bytes * rows), view = new DataView(indices.buffer);
  const bitmap = new Uint8Array(Math.ceil(rows / 8));
  let nulls = 0;
  for (let i = 0; i < rows; i++) {
    const isNull = values.length === 0 || random.below(5) === 0;
    const index = isNull ? random.below(256) : random.below(values.length);
    if (bytes === 1) view.setUint8(i, index);
    else if (bytes === 2) view.setUint16(2 * i, index, true);
    else if (bytes === 4) view.setUint32(4 * i, index, true);
    else view.setBigUint64(8 * i, BigInt(index), true);
    if (isNull) nulls++;
    else bitmap[i >> 3] |= 1 << (i & 7);
  }
  const data = new type.indices.ArrayType(indices.buffer);
  return makeData({ type, length: rows, nullCount: nulls, nullBitmap: bitmap, data, dictionary: values } as never);
}

/** Batches of one column `c`, each with a dictionary of its own. */
function batchesOf(field: Field, columns: readonly Data[]): RecordBatch[] {
  const schema = new Schema([field]);
  return columns.map((column) =>
    new RecordBatch(
      schema,
      makeData({ type: new Struct([field]), length: column.length, nullCount: 0, children: [column] }),
    )
  );
}

/** Writes batches to an Arrow file, and reads it back. */
async function written(
  folder: TemporaryFolder,
  batches: readonly RecordBatch[],
): Promise<{ values: unknown; type: string; dictionaries: number }> {
  const { pool, assertAllBack } = countedPool();
  const path = folder.file("out.arrow");
  const dataset = await fromBatches([...batches], batches[0].schema, { pool });
  await writeAll(dataset, new ArrowFileWriter(dataset.schema, AtomicFile.create(path)));
  assertAllBack();
  const file = await openPath(path);
  const kinds = (await readMessages(file)).map(({ kind }) => kind);
  const values = plainVector((await readTable(file)).getChildAt(0)!);
  const [{ type }] = describeSchema(file.schema);
  await file.close();
  return { values, type, dictionaries: kinds.filter((kind) => kind === "dictionary").length };
}

const plain = (batches: readonly RecordBatch[]): unknown =>
  batches.flatMap((batch) => plainVector(batch.getChildAt(0)!));

const valueTypes = allTypes().filter((type) =>
  type.children === null && !(type instanceof Dictionary || type instanceof Null)
);

Deno.test("dictionaries of every simple type and index that replace each other become one with the same values", async () => {
  const random = seededRandom();
  using folder = new TemporaryFolder();
  const indices: Index[] = [new Int8(), new Int16(), new Int32(), new Int64(), new Uint8(), new Uint16()];
  let unified = 0;
  for (const valueType of valueTypes as DataType[]) {
    const type = new Dictionary(valueType, indices[unified % indices.length] as never, 5);
    const columns = Array.from({ length: 4 }, () => {
      const values = new Vector([randomColumn(valueType, random.below(30), random)]);
      return encoded(type, values, random.below(50), random);
    });
    const batches = batchesOf(new Field("c", type, true), columns);
    const { values, dictionaries } = await written(folder, batches);
    assertEquals(values, plain(batches), String(type));
    assertEquals(dictionaries, 1, String(type));
    unified++;
  }
  assert(unified > 25, `${unified} types`);
});

Deno.test("a dictionary that grows, repeats itself, or has a value twice changes no index that is written", async () => {
  using folder = new TemporaryFolder();
  const type = new Dictionary(new Utf8(), new Int32(), 5);
  const column = (words: (string | null)[], indices: number[]): Data =>
    makeData({
      type,
      length: indices.length,
      nullCount: 0,
      data: Int32Array.from(indices),
      dictionary: vectorFromArray(words, new Utf8()),
    } as never);
  const grows = [column(["a"], [0]), column(["a", "b"], [0, 1]), column(["a", "b", null], [2, 1])];
  const twice = [column(["a", "a", "b"], [1, 2]), column(["b", "a"], [0, 1]), column(["a", "a", "b"], [1, 2])];
  const empty = [column([], []), column(["x"], [0])];
  for (const columns of [grows, twice, empty]) {
    const batches = batchesOf(new Field("c", type, true), columns);
    const { values, dictionaries } = await written(folder, batches);
    assertEquals([values, dictionaries], [plain(batches), 1]);
  }
});

Deno.test("indices that are too narrow for all values get 32 bits, unless 64 MiB are written by then", async () => {
  const random = seededRandom();
  using folder = new TemporaryFolder();
  const days = (index: Index, each: number): RecordBatch[] => {
    const type = new Dictionary(new Utf8(), index as never, 5);
    const columns = Array.from({ length: 4 }, (_, day) => {
      const words = Array.from({ length: each }, (_, i) => `day ${day} id ${i}`);
      return encoded(type, vectorFromArray(words, new Utf8()), 2 * each, random);
    });
    return batchesOf(new Field("c", type, true), columns);
  };
  for (
    const [index, each, expected] of [
      [new Int8(), 30, "int8"],
      [new Int8(), 60, "int32"],
      [new Uint8(), 60, "uint8"],
      [new Uint8(), 90, "uint32"],
      [new Int16(), 9000, "int32"],
    ] as const
  ) {
    const batches = days(index, each);
    const { values, type } = await written(folder, batches);
    assertEquals(type, `dictionary<values=string, indices=${expected}, ordered=0>`);
    assertEquals(values, plain(batches));
  }
  const [first, ...others] = days(new Int8(), 60);
  const large = new RecordBatch(first.schema, first.data);
  const { pool, assertAllBack } = countedPool();
  const many = Array.from({ length: 66 }, () => large);
  const padded = await fromBatches([...many, ...others], first.schema, { pool });
  const path = folder.file("late.arrow");
  const writer = new ArrowFileWriter(padded.schema, AtomicFile.create(path));
  const run = await padded.open();
  let most = 0;
  const error = await assertDipcError("unsupported", /column "c".*int8 can count.*\.arrows/, async () => {
    for (let message; (message = await run.next()) !== null;) {
      // As if each batch had a million rows.
      const { header, body } = message;
      const wide = header.kind === "batch" ? pool.acquire(2 ** 20) : null;
      if (wide !== null) wide.bytes().set(body!.bytes());
      if (wide !== null) body!.release();
      await writer.write(wide === null ? message : { header, body: wide.toBody(2 ** 20) });
      most = Math.max(most, pool.stats.blocksOut);
    }
  });
  assertLess(most, 67, error.message);
  await run.close();
  await writer.abort();
  assertAllBack();
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["out.arrow"]);
});

Deno.test("dictionaries that cannot become one are refused by name, and the stream takes them", async () => {
  const random = seededRandom();
  using folder = new TemporaryFolder();
  const inner = new Dictionary(new Utf8(), new Int8() as never, 1);
  const cases: [type: Dictionary, why: string][] = [
    [new Dictionary(new List(new Field("item", new Utf8())), new Int8() as never, 5), "not of a simple type"],
    [new Dictionary(new Struct([new Field("w", inner)]), new Int8() as never, 5), "inside another one"],
    [new Dictionary(new Utf8(), new Int8() as never, 5, true), "the order of its values matters"],
  ];
  for (const [type, why] of cases) {
    const columns = [1, 2].map(() => {
      const values = type.isOrdered
        ? vectorFromArray(random.below(2) === 0 ? ["b", "a"] : ["a", "b"], new Utf8())
        : new Vector([randomColumn(type.dictionary, 9, random)]);
      return encoded(type, values, 20, random);
    });
    if (type.isOrdered) columns.push(encoded(type, vectorFromArray(["c", "a"], new Utf8()), 3, random));
    const batches = batchesOf(new Field("c", type, true), columns);
    const dataset = await fromBatches(batches, batches[0].schema);
    const path = folder.file("out.arrow");
    const error = await assertDipcError(
      "unsupported",
      why,
      () => writeAll(dataset, new ArrowFileWriter(dataset.schema, AtomicFile.create(path))),
    );
    assert(/column "c.*\.arrows/.test(error.message), error.message);
    assertEquals([...Deno.readDirSync(folder.path)], []);
    const stream = folder.file("out.arrows");
    await writeAll(dataset, new ArrowStreamWriter(dataset.schema, AtomicFile.create(stream)));
    const again = await openPath(stream);
    assertEquals(plainVector((await readTable(again)).getChildAt(0)!), plain(batches));
    await again.close();
    Deno.removeSync(stream);
  }
});

Deno.test("short dictionaries that declare more values than fit into memory are refused before they fill it", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("in.arrows"), out = folder.file("out.arrow");
  const text = "all values together take more than";
  const most = 2 ** 31 - 1;
  const empty = (rows: number): Values => ({ rows, body: new Uint8Array(), buffers: [0, 0, 0, 0], variadicCounts: [] });
  for (const [first, second, isDelta] of [[1, most, false], [1, most, true], [most, 1, false]] as const) {
    const dictionaries = [empty(first), empty(second)];
    await Deno.writeFile(path, streamOf({ id: "fixed_size_binary", byteWidth: 0 }, dictionaries, isDelta));
    await assertDipcError("unsupported", text, () => converted(path, out));
  }
  // Each view begins one byte after the one before, and all end together: 16 GiB of different values in 4 MiB.
  const rows = 4096, size = 2 ** 22, viewsBytes = 16 * rows;
  const body = new Uint8Array(viewsBytes + size), view = new DataView(body.buffer);
  for (let i = 0; i < rows; i++) {
    view.setInt32(16 * i, size - i, true);
    view.setInt32(16 * i + 12, i, true);
  }
  const views = { rows, body, buffers: [0, 0, 0, viewsBytes, viewsBytes, size], variadicCounts: [1] };
  const none = { rows: 0, body: new Uint8Array(), buffers: [0, 0, 0, 0], variadicCounts: [0] };
  for (const isDelta of [false, true]) {
    await Deno.writeFile(path, streamOf({ id: "binary_view" }, [none, views], isDelta));
    await assertDipcError("unsupported", text, () => converted(path, out));
  }
});

/** Values of a dictionary message. */
interface Values {
  readonly rows: number;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly buffers: number[];
  readonly variadicCounts: number[];
}

/** An Arrow stream of one column without rows, whose dictionary changes once. */
function streamOf(type: ArrowType, dictionaries: readonly Values[], isDelta: boolean): Uint8Array<ArrayBuffer> {
  const index = { id: "int", bitWidth: 32, signed: true } as const;
  const column = { name: "c", nullable: true, metadata: new Map(), type, children: [] };
  const schema = encodeSchemaMessage([{ ...column, dictionary: { id: 0n, index, ordered: false } }], new Map());
  const parts = dictionaries.flatMap(({ rows, body, buffers, variadicCounts }, i) => {
    const dictionary = { id: 0n, isDelta: i > 0 && isDelta };
    const nodes = [rows, 0], bodyLength = body.byteLength;
    return [frameBytes(encodeBatchMetadata({ rows, bodyLength, nodes, buffers, variadicCounts, dictionary })), body];
  });
  return concatBytes([frameBytes(schema), ...parts, END_OF_STREAM]);
}

/** Writes an Arrow stream as an Arrow file. */
async function converted(path: string, out: string): Promise<void> {
  const source = await openPath(path);
  try {
    await writeAll(source, new ArrowFileWriter(source.schema, AtomicFile.create(out)));
  } finally {
    await source.close();
  }
}

Deno.test("columns inside others, and columns that share a dictionary, follow it", async () => {
  const random = seededRandom();
  using folder = new TemporaryFolder();
  const text = new Utf8();
  const type = new Dictionary(text, new Int8() as never, 5);
  const wide = new Dictionary(text, new Int32(), 5);
  const fields = [
    new Field("list", new List(new Field("item", type, true))),
    new Field("plain", wide, true),
    new Field("other", new Int32(), true),
  ];
  const schema = new Schema(fields);
  const batches = Array.from({ length: 3 }, (_, n) => {
    const words = vectorFromArray(Array.from({ length: 100 }, (_, i) => `${n} ${i}`), new Utf8());
    const offsets = Int32Array.from({ length: 11 }, (_, i) => i * 3);
    const children = [
      makeData({
        type: fields[0].type as List,
        length: 10,
        nullCount: 0,
        valueOffsets: offsets,
        child: encoded(type, words, 30, random),
      }),
      encoded(wide, words, 10, random),
      randomColumn(new Int32(), 10, random),
    ];
    return new RecordBatch(schema, makeData({ type: new Struct(fields), length: 10, nullCount: 0, children }));
  });
  const dataset = await fromBatches(batches, schema);
  const path = folder.file("out.arrow");
  await writeAll(dataset, new ArrowFileWriter(dataset.schema, AtomicFile.create(path)));
  const file = await openPath(path);
  const table = await readTable(file);
  for (let i = 0; i < fields.length; i++) {
    assertEquals(plainVector(table.getChildAt(i)!), batches.flatMap((batch) => plainVector(batch.getChildAt(i)!)));
  }
  const { layout } = file.schema as VerifiedHeader;
  assertEquals(layout.fields[0].children[0].dictionary!.index.bitWidth, 32);
  await file.close();
});

Deno.test("custom metadata of the footer is written and read", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("out.arrow");
  const dataset = await fromBatches([], new Schema([new Field("n", new Int32())]));
  for (
    const pairs of [[], [["made by", "a test"]], [["", ""], ["ключ", "値".repeat(1000)], ["c", "\0"]]] as [
      string,
      string,
    ][][]
  ) {
    const footerMetadata = new Map(pairs);
    await writeAll(dataset, new ArrowFileWriter(dataset.schema, AtomicFile.create(path), { footerMetadata }));
    const file = await openPath(path);
    assertEquals(file.footerMetadata, footerMetadata);
    await file.close();
  }
});
