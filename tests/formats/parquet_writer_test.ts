/** Parquet that we write: levels, dictionaries, row groups and statistics, with values that come back. */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import {
  Bool,
  Data,
  DataType,
  DateDay,
  DateMillisecond,
  Decimal,
  Dictionary,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float64,
  Int32,
  Int64,
  Int8,
  RecordBatch,
  Schema,
  Struct,
  Table,
  TimeSecond,
  TimestampSecond,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { parquetMetadata } from "hyparquet";
import { ByteBuffer } from "../../src/formats/parquet/byte_buffer.ts";
import { ByteInterner, WordInterner } from "../../src/formats/parquet/interning.ts";
import {
  type ChunkMetadata,
  Codec,
  type FileMetadata,
  Physical,
  Repetition,
} from "../../src/formats/parquet/format.ts";
import { appendHybrid, bitsFor } from "../../src/formats/parquet/levels.ts";
import { checkFooter, encodeFooter } from "../../src/formats/parquet/footer.ts";
import { ParquetWriter, type ParquetWriterOptions } from "../../src/formats/parquet_writer.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { fromBatches, fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import { readTable, writeAll } from "../support/datasets.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { type Plain, plainVector } from "../support/ipc_values.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { Random, seededRandom } from "../support/random.ts";

/** The bytes of a dataset as Parquet. */
async function parquetOf(dataset: Dataset, options?: ParquetWriterOptions): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new MemorySink();
  await writeAll(dataset, await ParquetWriter.create(dataset.schema, sink, options));
  await dataset.close();
  return sink.bytes();
}

/** A Parquet file read by dipc. */
async function readBack(bytes: Uint8Array): Promise<Table> {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("a.parquet"), bytes);
  const dataset = await openPath(folder.file("a.parquet"));
  try {
    return await readTable(dataset);
  } finally {
    await dataset.close();
  }
}

/** Decodes Parquet's hybrid of runs and packed bits, as its specification describes it. */
function decodeHybrid(bytes: Uint8Array, count: number, width: number): number[] {
  const values: number[] = [];
  let at = 0;
  const number = (length: number): number => {
    let value = 0;
    for (let i = 0; i < length; i++) value += bytes[at++] * 2 ** (8 * i);
    return value;
  };
  while (values.length < count) {
    let header = 0;
    for (let shift = 0;; shift += 7) {
      const byte = bytes[at++];
      header += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    if (header % 2 === 0) {
      const value = number(Math.ceil(width / 8));
      for (let i = 0; i < header / 2; i++) values.push(value);
    } else {
      const groups = (header - 1) / 2;
      const bit = (i: number): bigint => BigInt(bytes[at + (i >> 3)] >> (i & 7) & 1);
      for (let i = 0; i < 8 * groups; i++) {
        let value = 0n;
        for (let j = 0; j < width; j++) value |= bit(i * width + j) << BigInt(j);
        values.push(Number(value));
      }
      at += groups * width;
    }
  }
  assertEquals(at, bytes.byteLength);
  // The last group may be padded, with zeros.
  assertEquals(values.slice(count).some((value) => value !== 0), false);
  return values.slice(0, count);
}

Deno.test("levels and indices of every width come back from runs and packed bits", () => {
  const random = seededRandom();
  for (let round = 0; round < 400; round++) {
    const width = 1 + random.below(31);
    const values: number[] = [];
    while (values.length < random.below(200)) {
      const value = random.below(2 ** Math.min(width, 31));
      for (let repeat = random.pick([1, 1, 2, 7, 8, 9, 16, 40]); repeat > 0; repeat--) values.push(value);
    }
    const out = new ByteBuffer();
    appendHybrid(out, Int32Array.from(values), values.length, width);
    assertEquals(decodeHybrid(out.view(), values.length, width), values, `round ${round}, ${width} bits`);
  }
  assertEquals([0, 1, 2, 3, 4, 255, 256].map(bitsFor), [0, 1, 2, 2, 3, 8, 9]);
});

Deno.test("distinct values are numbered in the order in which they come", () => {
  const random = seededRandom(1);
  for (const width of [1, 2] as const) {
    const values = Int32Array.from({ length: 20_000 * width }, () => random.below(70) << (random.below(4) * 8));
    const interner = new WordInterner(width), out = new Int32Array(20_001);
    interner.add(values.subarray(0, 5000 * width), out, 1);
    interner.add(values.subarray(5000 * width), out, 5001);
    const known = new Map<string, number>();
    const keys = Array.from({ length: 20_000 }, (_, i) => `${values.subarray(width * i, width * (i + 1))}`);
    for (const key of keys) if (!known.has(key)) known.set(key, known.size);
    assertEquals([...out.subarray(1)], keys.map((key) => known.get(key)!));
    assertEquals([interner.size, interner.byteLength], [known.size, 4 * width * known.size]);
    assertEquals(`${new Int32Array(interner.page().slice().buffer)}`, [...known.keys()].join());
  }
  const texts = Array.from({ length: 5000 }, () => "ab".repeat(random.below(3)) + random.below(900));
  const interner = new ByteInterner(true), known = new Map<string, number>();
  for (const text of texts) {
    if (!known.has(text)) known.set(text, known.size);
    const bytes = new TextEncoder().encode(`?${text}?`), out = new Int32Array(1);
    const [starts, ends] = [Int32Array.of(1), Int32Array.of(bytes.byteLength - 1)];
    interner.addAll({ count: 1, bytes, starts, ends }, out, 0);
    assertEquals(out[0], known.get(text));
  }
  const page = interner.page();
  [...known.keys()].forEach((text, i) => {
    assertEquals(new TextDecoder().decode(page.subarray(interner.start(i), interner.end(i))), text);
  });
});

/** A record batch of columns. */
function batchOf(schema: Schema, columns: Data[], rows: number): RecordBatch {
  return new RecordBatch(schema, new Data(new Struct(schema.fields), 0, rows, 0, {}, columns));
}

/** Types whose random values Parquet can hold, and that come back as they are or as what stands beside them. */
function returningTypes(): DataType[] {
  const isLeftOut = (type: DataType): boolean =>
    DataType.isUnion(type) || DataType.isInterval(type) || DataType.isMap(type) ||
    // Random bits are seldom days, and have more digits than the type.
    (DataType.isDate(type) && type instanceof DateMillisecond) || (DataType.isDecimal(type) && type.bitWidth !== 32) ||
    type.children?.some(({ type: child }) => isLeftOut(child)) === true;
  const key = new Dictionary(new FixedSizeBinary(5), new Int8() as never, 901);
  return [
    ...allTypes().filter((type) => !isLeftOut(type)),
    ...[key, new Dictionary(new Bool(), new Int8() as never, 902), new DateDay(), new Decimal(0, 1, 32)] as DataType[],
    new Struct([new Field("f", new FixedSizeList(2, new Field("item", new FixedSizeBinary(3), true)), true)]),
  ];
}

Deno.test("random tables of every type come back, whatever the sizes of batches and row groups", async () => {
  const random = seededRandom(2);
  for (let round = 0; round < 8; round++) {
    const types = returningTypes();
    const schema = new Schema(types.map((type, i) => new Field(`c${i}`, type, true)));
    const batches: RecordBatch[] = [];
    for (let i = random.below(5); i >= 0; i--) {
      const rows = random.pick([0, 1, 7, 8, 50, 100]);
      batches.push(batchOf(schema, types.map((type) => randomColumn(type, rows, random)), rows));
    }
    const rowGroupRows = random.pick([7, 64, 1000]);
    const bytes = await parquetOf(await fromBatches(batches, schema), { rowGroupRows });
    const found = await readBack(bytes);
    const all = batches.reduce((sum, { numRows }) => sum + numRows, 0);
    assertEquals([found.numRows, Number(parquetMetadata(bytes).num_rows)], [all, all]);
    types.forEach((type, c) => {
      const expected = batches.flatMap((batch) => plainVector(batch.getChildAt(c)!));
      const values: Plain[] = all === 0 ? [] : plainVector(found.getChildAt(c)!);
      assertEquals(values, expected, `round ${round}, column ${c}: ${type}`);
    });
  }
});

/** A column of numbers without nulls. */
function numbers(type: DataType, values: ArrayLike<number> | ArrayLike<bigint>): Vector {
  return new Vector([new Data(type, 0, values.length, 0, [undefined, values, undefined] as never)]);
}

Deno.test("a dictionary that does not save anything is left, before or after its first page", async () => {
  const random = new Random(7);
  const rows = 300_000;
  const columns = {
    same: Int32Array.from({ length: rows }, (_, i) => i % 10),
    unique: Int32Array.from({ length: rows }, (_, i) => i * 7919),
    // A page of few values, and then too many.
    later: Float64Array.from({ length: rows }, (_, i) => i < 270_000 ? i % 3 : i + 0.5),
    wide: BigInt64Array.from({ length: rows }, () => BigInt(random.below(1000)) << 40n),
  };
  const text = Array.from({ length: rows }, (_, i) => i < 280_000 ? `${i % 5}` : `text ${i}`);
  const table = new Table({
    same: numbers(new Int32(), columns.same),
    unique: numbers(new Int32(), columns.unique),
    later: numbers(new Float64(), columns.later),
    wide: numbers(new Int64(), columns.wide),
    text: vectorFromArray(text, new Utf8()),
  });
  const bytes = await parquetOf(await fromTable(table, { batchRows: 50_000 }), { rowGroupRows: rows });
  const [{ columns: chunks }] = parquetMetadata(bytes).row_groups;
  const pages = chunks.map(({ meta_data }) =>
    meta_data!.encoding_stats!.map(({ page_type, encoding }) => `${page_type} ${encoding}`).join(", ")
  );
  const [dictionary, indices, plain] = ["DICTIONARY_PAGE PLAIN", "DATA_PAGE RLE_DICTIONARY", "DATA_PAGE PLAIN"];
  const both = `${dictionary}, ${indices}`;
  assertEquals(pages.slice(0, 2), [both, plain]);
  assertEquals(pages.slice(3, 4), [both]);
  const statistics = chunks.map(({ meta_data }) => [
    meta_data!.statistics!.min_value,
    meta_data!.statistics!.max_value,
  ]);
  const uniqueMost = columns.unique.reduce((a, b) => Math.max(a, b)),
    uniqueLeast = columns.unique.reduce((a, b) => Math.min(a, b));
  assertEquals(statistics.slice(0, 3), [[0, 9], [uniqueLeast, uniqueMost], [-0, rows - 0.5]]);
  assertEquals(statistics[4], ["0", "text 299999"]);
  const found = await readBack(bytes);
  assertEquals(found.getChild("unique")!.toArray(), columns.unique);
  assertEquals(found.getChild("later")!.toArray(), columns.later);
  assertEquals(found.getChild("wide")!.toArray(), columns.wide);
  assertEquals([...found.getChild("text")!], text);
});

/** A batch of one dictionary column. */
function category(keys: number[], values: string[]): RecordBatch {
  const type = new Dictionary(new Utf8(), new Int8(), 5);
  const data = new Data(
    type as DataType,
    0,
    keys.length,
    0,
    [undefined, Int8Array.from(keys), undefined] as never,
    [],
    vectorFromArray(values, new Utf8()) as never,
  );
  return new Table({ c: new Vector([data]) } as Record<string, Vector>).batches[0];
}

Deno.test("categories with other values each day are one column, and their indices are as wide as they have to be", async () => {
  const days = [0, 1, 2, 3].map((day) =>
    category(Array.from({ length: 60 }, (_, i) => i), Array.from({ length: 60 }, (_, i) => `${day}/${i}`))
  );
  const bytes = await parquetOf(await fromBatches(days));
  const found = await readBack(bytes);
  assertEquals(`${found.schema.fields[0].type.indices}`, "Int32");
  assertEquals([...found.getChild("c")!], days.flatMap((batch) => [...batch.getChildAt(0)!]));

  // More values of the same ones do not make the indices wider.
  const growing = [category([0, 0], ["a"]), category([1, 0], ["a", "b"])];
  const grown = await readBack(await parquetOf(await fromBatches(growing)));
  assertEquals(`${grown.schema.fields[0].type.indices}`, "Int8");
  assertEquals([...grown.getChild("c")!], ["a", "a", "b", "a"]);
});

Deno.test("rows without columns are counted", async () => {
  const schema = new Schema([]);
  const bytes = await parquetOf(await fromBatches([70, 30].map((rows) => batchOf(schema, [], rows))), {
    rowGroupRows: 64,
  });
  const metadata = parquetMetadata(bytes);
  assertEquals([metadata.num_rows, metadata.row_groups.map((group) => Number(group.num_rows))], [100n, [64, 36]]);
  assertEquals((await readBack(bytes)).numRows, 100);
});

Deno.test("values that do not fit are named, and so are nulls of a field that has none", async () => {
  const column = (type: DataType, values: ArrayLike<number> | ArrayLike<bigint>, nulls = 0) =>
    new Vector([new Data(type, 0, 2, nulls, [undefined, values, nulls > 0 ? Uint8Array.of(1) : undefined] as never)]);
  const cases: [string, Vector, boolean][] = [
    ["too large for milliseconds", column(new TimestampSecond(), BigInt64Array.of(1n, 2n ** 60n)), true],
    ["too large for milliseconds", column(new TimeSecond(), Int32Array.of(1, 2 ** 30)), true],
    ["too large for days", column(new DateMillisecond(), BigInt64Array.of(1n, 2n ** 62n)), true],
    ["more bits than the 9 digits", column(new Decimal(0, 9, 64), BigInt64Array.of(1n, 2n ** 31n)), true],
    ["more bits than the 20 digits", column(new Decimal(0, 20, 128), Uint32Array.of(1, 0, 0, 0, 0, 0, 0, 1)), true],
    ["it has a null, but", column(new Int32(), Int32Array.of(1, 2), 1), false],
  ];
  for (const [what, vector, nullable] of cases) {
    const schema = new Schema([new Field("x", vector.type, nullable)]);
    const sink = new MemorySink();
    const dataset = await fromBatches(new Table(schema, { x: vector }).batches);
    await assertDipcError("invalid_data", `cannot write column "x" to Parquet: `, async () => {
      await writeAll(dataset, await ParquetWriter.create(dataset.schema, sink));
    });
    await dataset.close();
    const again = await fromBatches(new Table(schema, { x: vector }).batches);
    await assertDipcError("invalid_data", what, () => parquetOf(again));
    assertEquals(sink.bytes().byteLength, 0);
  }
});

Deno.test("text that is not UTF-8 is refused, also if only a character is cut in two", async () => {
  const text = (bytes: number[], ends: number[]): Table => {
    const data = new Data(
      new Utf8(),
      0,
      ends.length,
      0,
      [Int32Array.of(0, ...ends), Uint8Array.from(bytes), undefined] as never,
    );
    return new Table({ t: new Vector([data]) });
  };
  for (const [bytes, ends] of [[[0x61, 0xff], [1, 2]], [[0xc3, 0xa9], [1, 2]], [[0xc3, 0xa9, 0x61, 0xc3], [3, 4]]]) {
    const dataset = await fromTable(text(bytes, ends));
    await assertDipcError("invalid_data", "not UTF-8", () => parquetOf(dataset));
  }
  const good = await readBack(await parquetOf(await fromTable(text([0xc3, 0xa9, 0x61], [2, 2, 3]))));
  assertEquals([...good.getChild("t")!], ["é", "", "a"]);
});

Deno.test("a footer that says something else than what was written is an error before the file has its name", async () => {
  const chunk: ChunkMetadata = {
    ...{
      physical: Physical.int32,
      codec: Codec.zstd,
      path: ["n"],
      values: 2,
      dictionaryPages: 0,
      indexPages: 0,
      plainPages: 1,
      uncompressedBytes: 10,
    },
    ...{ compressedBytes: 10, offset: 4, dataOffset: 4, statistics: { nulls: 0, min: null, max: null } },
  };
  const metadata: FileMetadata = {
    schema: [
      { name: "schema", repetition: null, physical: null, children: 1 },
      { name: "n", repetition: Repetition.optional, physical: Physical.int32 },
    ],
    groups: [{ rows: 2, offset: 4, chunks: [chunk] }],
    keyValues: new Map([["k", "v"]]),
    createdBy: "dipc",
  };
  const footer = encodeFooter(metadata);
  await checkFooter(footer, metadata);
  const others: FileMetadata[] = [
    { ...metadata, groups: [{ ...metadata.groups[0], rows: 3 }] },
    { ...metadata, groups: [] },
    { ...metadata, groups: [{ ...metadata.groups[0], chunks: [{ ...chunk, dataOffset: 5 }] }] },
    { ...metadata, keyValues: new Map() },
    { ...metadata, schema: [metadata.schema[0], { ...metadata.schema[1], name: "m" }] },
    { ...metadata, schema: [metadata.schema[0], { ...metadata.schema[1], logical: { id: "date" } }] },
  ];
  for (const other of others) await assertDipcError("internal", "read back", () => checkFooter(footer, other));
  await assertDipcError("internal", "read back", () => checkFooter(footer.subarray(0, 20), metadata));
});

Deno.test("long values take little more memory than a row group", async () => {
  using folder = new TemporaryFolder();
  const program = `
    import { Binary, Data, Table, Vector } from "apache-arrow";
    import { fromBatches } from ${JSON.stringify(import.meta.resolve("../../src/sources/table.ts"))};
    import { ParquetWriter } from ${JSON.stringify(import.meta.resolve("../../src/formats/parquet_writer.ts"))};
    import { AtomicFile } from ${JSON.stringify(import.meta.resolve("../../src/formats/atomic_file.ts"))};
    const bytes = new Uint8Array(2 ** 20);
    for (let at = 0; at < bytes.byteLength; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    const data = new Data(new Binary(), 0, 4, 0, [Int32Array.of(0, 2 ** 18, 2 ** 19, 2 ** 19, 2 ** 20), bytes, undefined]);
    const [batch] = new Table({ b: new Vector([data]) }).batches;
    const dataset = await fromBatches(Array(400).fill(batch));
    const writer = await ParquetWriter.create(dataset.schema, AtomicFile.create(Deno.args[0]));
    const run = await dataset.open();
    for (let message; (message = await run.next()) !== null;) await writer.write(message);
    await writer.finish();
    console.log(/VmHWM:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1]);`;
  Deno.writeTextFileSync(folder.file("main.ts"), program);
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "--no-check", "--config", config, folder.file("main.ts"), folder.file("a.parquet")],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const mebibytes = Number(new TextDecoder().decode(stdout)) / 1024;
  console.log(`400 MiB of blobs: ${mebibytes.toFixed(0)} MiB at most`);
  assertGreater(Deno.statSync(folder.file("a.parquet")).size, 400 * 2 ** 20);
  assertLess(mebibytes, 400);
});
