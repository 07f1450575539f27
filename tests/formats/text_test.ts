/** Values as text: dates, times, decimals, CSV, newline-delimited JSON, and the table for people. Expected texts are written by hand. */
import { assertEquals, assertExists } from "@std/assert";
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Decimal,
  Dictionary,
  DurationNanosecond,
  Field,
  Float32,
  Float64,
  Int32,
  Int64,
  List,
  makeData,
  Map_,
  RecordBatch,
  Schema,
  Struct,
  Table,
  TimeMicrosecond,
  TimestampMillisecond,
  TimestampNanosecond,
  Union,
  UnionMode,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { CsvWriter } from "../../src/formats/csv_writer.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { Preview } from "../../src/formats/preview.ts";
import { MemorySink } from "../../src/formats/sink.ts";
import {
  dateText,
  decimalText,
  durationText,
  intervalText,
  timestampText,
  timeText,
  wordsToBigInt,
} from "../../src/formats/time_text.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import { countedPool, writeAll } from "../support/datasets.ts";

Deno.test("dates are right far from 1970, before year 0 and after year 9999", () => {
  const cases: [number, string][] = [
    [0, "1970-01-01"],
    [-1, "1969-12-31"],
    [11_016, "2000-02-29"],
    [11_017, "2000-03-01"],
    [-719_162, "0001-01-01"],
    [-719_163, "0000-12-31"],
    [-719_529, "-000001-12-31"],
    [2_932_896, "9999-12-31"],
    [2_932_897, "+010000-01-01"],
    [2 ** 31 - 1, "+5881580-07-11"],
    [-(2 ** 31), "-5877641-06-23"],
  ];
  for (const [days, text] of cases) assertEquals(dateText(days), text);
  for (let days = -200_000; days < 200_000; days += 97) {
    assertEquals(dateText(days), new Date(days * 86_400_000).toISOString().slice(0, 10));
  }
});

Deno.test("times, timestamps, durations and intervals have the digits of their unit", () => {
  assertEquals(timeText(86_399_999_999n, 6), "23:59:59.999999");
  assertEquals(timeText(0n, 0), "00:00:00");
  assertEquals(timestampText(0n, 0, false), "1970-01-01T00:00:00");
  assertEquals(timestampText(-1n, 9, true), "1969-12-31T23:59:59.999999999Z");
  assertEquals(timestampText(2n ** 63n - 1n, 9, false), "2262-04-11T23:47:16.854775807");
  assertEquals(timestampText(-(2n ** 63n), 9, false), "1677-09-21T00:12:43.145224192");
  assertEquals(timestampText(1_700_000_000_123n, 3, true), "2023-11-14T22:13:20.123Z");
  assertEquals(timestampText(2n ** 63n - 1n, 0, false), "+292277026596-12-04T15:30:07");
  assertEquals(timestampText(-(2n ** 63n), 0, false), "-292277022657-01-27T08:29:52");
  assertEquals(durationText(-1_500n, 3), "PT-1.500S");
  assertEquals(durationText(7n, 0), "PT7S");
  assertEquals(intervalText(14, -3, 1n), "P14M-3DT0.000000001S");
  assertEquals(intervalText(0, 0, 1_500_000_000n), "PT1.5S");
  assertEquals(intervalText(0, 0, 10_000_000_000n), "PT10S");
  assertEquals(intervalText(0, 0, 0n), "P0D");
});

Deno.test("decimals are right if they are negative, small, wide or of negative scale", () => {
  assertEquals(decimalText(-5n, 2), "-0.05");
  assertEquals(decimalText(12_345n, 2), "123.45");
  assertEquals(decimalText(-12_345n, 0), "-12345");
  assertEquals(decimalText(7n, -3), "7000");
  assertEquals(decimalText(-7n, -1000), `-7${"0".repeat(1000)}`);
  assertEquals(decimalText(-7n, -1001), "-7E+1001");
  assertEquals(decimalText(7n, -(2 ** 31)), "7E+2147483648");
  assertEquals(decimalText(12n, 2 ** 31 - 1), "12E-2147483647");
  assertEquals(decimalText(0n, -3), "0");
  assertEquals(decimalText(0n, 2), "0.00");
  assertEquals(wordsToBigInt(new Uint32Array([0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff]), 0, 4), -1n);
  assertEquals(wordsToBigInt(new Uint32Array([9, 0, 0x8000_0000]), 1, 2), -(2n ** 63n));
  assertEquals(wordsToBigInt(new Uint32Array([1, 2]), 0, 2), 2n ** 33n + 1n);
});

/** One batch with columns made of values or of raw buffers. */
function tableOf(columns: Record<string, { type: DataType; data: unknown }>): Table {
  const fields = Object.entries(columns).map(([name, { type }]) => new Field(name, type, true));
  const children = Object.values(columns).map(({ type, data }) =>
    // deno-lint-ignore no-explicit-any -- apache-arrow's overloads do not take a union of types
    Array.isArray(data) ? vectorFromArray(data as any[], type as any).data[0] : data as any
  );
  const schema = new Schema(fields);
  const data = makeData({ type: new Struct(fields), length: children[0].length, nullCount: 0, children });
  return new Table([new RecordBatch(schema, data)]);
}

async function textOf(table: Table, Writer: typeof CsvWriter | typeof NdjsonWriter): Promise<string> {
  const { pool, assertAllBack } = countedPool();
  const dataset = await fromTable(table, { pool });
  const sink = new MemorySink();
  await writeAll(dataset, new Writer(dataset.schema, sink));
  await dataset.close();
  assertAllBack();
  return new TextDecoder().decode(sink.bytes());
}

function everyType(): Table {
  return tableOf({
    n: { type: new Int32(), data: [1, null, -3] },
    big: { type: new Int64(), data: [2n ** 63n - 1n, null, -(2n ** 63n)] },
    f32: { type: new Float32(), data: [0.1, NaN, -Infinity] },
    f64: { type: new Float64(), data: [0.1, 1e300, null] },
    ok: { type: new Bool(), data: [true, false, null] },
    "te,xt": { type: new Utf8(), data: ['say "hi"', "", null] },
    lines: { type: new Utf8(), data: ["a\nb", "plain", "ünïcode 你好 🎈"] },
    bytes: { type: new Binary(), data: [new Uint8Array([0, 255, 16]), new Uint8Array(0), null] },
    day: {
      type: new DateDay(),
      data: makeData({ type: new DateDay(), length: 3, data: new Int32Array([0, 19_000, -1]) }),
    },
    at: {
      type: new TimestampMillisecond("Europe/Paris"),
      data: makeData({
        type: new TimestampMillisecond("Europe/Paris"),
        length: 3,
        data: new BigInt64Array([0n, 1_700_000_000_123n, -1n]),
      }),
    },
    exact: {
      type: new TimestampNanosecond(),
      data: makeData({
        type: new TimestampNanosecond(),
        length: 3,
        data: new BigInt64Array([1n, 2n ** 63n - 1n, 1_700_000_000_123_456_789n]),
      }),
    },
    clock: {
      type: new TimeMicrosecond(),
      data: makeData({ type: new TimeMicrosecond(), length: 3, data: new BigInt64Array([0n, 1n, 86_399_999_999n]) }),
    },
    took: {
      type: new DurationNanosecond(),
      data: makeData({ type: new DurationNanosecond(), length: 3, data: new BigInt64Array([1n, -1n, 10n ** 9n]) }),
    },
    price: {
      type: new Decimal(2, 10, 128),
      data: makeData({
        type: new Decimal(2, 10, 128),
        length: 3,
        data: new Uint32Array([12345, 0, 0, 0, 0xffff_fffb, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0, 0, 0, 0]),
      }),
    },
    list: { type: new List(new Field("item", new Int32(), true)), data: [[1, null, 3], [], null] },
    pair: {
      type: new Struct([new Field("x", new Int32(), true), new Field("y", new Utf8(), true)]),
      data: [{ x: 1, y: "a" }, { x: null, y: 'q"' }, null],
    },
    word: { type: new Dictionary(new Utf8(), new Int32()), data: ["red", "blue", "red"] },
  });
}

Deno.test("newline-delimited JSON holds every value with all its digits", async () => {
  const lines = (await textOf(everyType(), NdjsonWriter)).split("\n");
  assertEquals(lines.pop(), "");
  assertEquals(lines, [
    '{"n":1,"big":9223372036854775807,"f32":0.1,"f64":0.1,"ok":true,"te,xt":"say \\"hi\\"","lines":"a\\nb","bytes":"AP8Q",' +
    '"day":"1970-01-01","at":"1970-01-01T00:00:00.000Z","exact":"1970-01-01T00:00:00.000000001","clock":"00:00:00.000000",' +
    '"took":"PT0.000000001S","price":123.45,"list":[1,null,3],"pair":{"x":1,"y":"a"},"word":"red"}',
    '{"n":null,"big":null,"f32":null,"f64":1e+300,"ok":false,"te,xt":"","lines":"plain","bytes":"","day":"2022-01-08",' +
    '"at":"2023-11-14T22:13:20.123Z","exact":"2262-04-11T23:47:16.854775807","clock":"00:00:00.000001",' +
    '"took":"PT-0.000000001S","price":-0.05,"list":[],"pair":{"x":null,"y":"q\\""},"word":"blue"}',
    '{"n":-3,"big":-9223372036854775808,"f32":null,"f64":null,"ok":null,"te,xt":null,"lines":"ünïcode 你好 🎈","bytes":null,' +
    '"day":"1969-12-31","at":"1969-12-31T23:59:59.999Z","exact":"2023-11-14T22:13:20.123456789","clock":"23:59:59.999999",' +
    '"took":"PT1.000000000S","price":0.00,"list":null,"pair":null,"word":"red"}',
  ]);
  for (const line of lines) JSON.parse(line);
});

Deno.test("CSV quotes what needs quotes and tells a null from an empty text", async () => {
  assertEquals(
    await textOf(everyType(), CsvWriter),
    'n,big,f32,f64,ok,"te,xt",lines,bytes,day,at,exact,clock,took,price,list,pair,word\n' +
      '1,9223372036854775807,0.1,0.1,true,"say ""hi""","a\nb",\\x00ff10,1970-01-01,1970-01-01T00:00:00.000Z,' +
      '1970-01-01T00:00:00.000000001,00:00:00.000000,PT0.000000001S,123.45,"[1,null,3]","{""x"":1,""y"":""a""}",red\n' +
      ',,NaN,1e+300,false,"",plain,\\x,2022-01-08,2023-11-14T22:13:20.123Z,2262-04-11T23:47:16.854775807,' +
      '00:00:00.000001,PT-0.000000001S,-0.05,[],"{""x"":null,""y"":""q\\""""}",blue\n' +
      "-3,-9223372036854775808,-Infinity,,,,ünïcode 你好 🎈,,1969-12-31,1969-12-31T23:59:59.999Z," +
      "2023-11-14T22:13:20.123456789,23:59:59.999999,PT1.000000000S,0.00,,,red\n",
  );
});

Deno.test("in CSV of one column a null is not an empty line, which readers skip", async () => {
  assertEquals(
    await textOf(tableOf({ s: { type: new Utf8(), data: ["x", null, "", " ", "#"] } }), CsvWriter),
    's\nx\n""\n""\n" "\n"#"\n',
  );
  assertEquals(await textOf(tableOf({ "": { type: new Int32(), data: [null, 1] } }), CsvWriter), '""\n""\n1\n');
});

Deno.test("a table without columns is rows of NDJSON, and is refused as CSV", async () => {
  const schema = new Schema([]);
  const data = makeData({ type: new Struct([]), length: 3, nullCount: 0, children: [] });
  const table = new Table([new RecordBatch(schema, data)]);
  assertEquals(await textOf(table, NdjsonWriter), "{}\n{}\n{}\n");
  const dataset = await fromTable(table);
  assertDipcError("unsupported", "no columns", () => new CsvWriter(dataset.schema, new MemorySink()));
  await dataset.close();
});

Deno.test("floating-point numbers that readers would take for integers have an exponent, and zero has its sign", async () => {
  const table = tableOf({ f: { type: new Float64(), data: [1e16, 123456789012345680000, -0, 2 ** 53, 1e-7] } });
  assertEquals(await textOf(table, CsvWriter), "f\n1e+16\n1.2345678901234568e+20\n-0.0\n9007199254740992\n1e-7\n");
});

Deno.test("decimals that a double cannot hold are strings in NDJSON", async () => {
  const type = new Decimal(2, 16, 128);
  const data = makeData({ type, length: 1, data: new Uint32Array([2 ** 32 - 1, 2 ** 20, 0, 0]) });
  const table = tableOf({ d: { type, data } });
  assertEquals(await textOf(table, NdjsonWriter), '{"d":"45036039223377.91"}\n');
  assertEquals(await textOf(table, CsvWriter), "d\n45036039223377.91\n");
});

Deno.test("names that occur twice as keys are made unique, with a warning", async () => {
  const names = ["k", "k", "k_1"];
  const fields = names.map((name) => new Field(name, new Int32(), true));
  const numbers = (): Data[] => names.map((_, i) => vectorFromArray([i], new Int32()).data[0]);
  const inner = makeData({ type: new Struct(fields), length: 1, nullCount: 0, children: numbers() });
  const union = new Union(UnionMode.Dense, [0, 1], fields.slice(0, 2));
  const columns = [...fields, new Field("s", inner.type, true), new Field("u", union, true)];
  const ids = { typeIds: Int8Array.of(1), valueOffsets: Int32Array.of(0) };
  const children = [
    ...numbers(),
    inner,
    makeData({ type: union, length: 1, ...ids, children: numbers().slice(0, 2) } as never) as Data,
  ];
  const schema = new Schema(columns);
  const data = makeData({ type: new Struct(columns), length: 1, nullCount: 0, children });
  // The constructor of tables finds that schemas with one name twice differ from themselves.
  const table = Object.assign(Object.create(Table.prototype), { schema, batches: [new RecordBatch(schema, data)] });
  const object = '{"k":0,"k_2":1,"k_1":2';
  assertEquals(await textOf(table, NdjsonWriter), `${object},"s":${object}},"u":{"k_1":1}}\n`);
  const cell = `"${object.replaceAll('"', '""')}}"`;
  assertEquals(await textOf(table, CsvWriter), `k,k,k_1,s,u\n0,1,2,${cell},"{""k_1"":1}"\n`);
  const dataset = await fromTable(table);
  const nested = [
    'field 2 of column "s", "k", is written as "k_2": another field has its name',
    'field 2 of column "u", "k", is written as "k_1": another field has its name',
  ];
  assertEquals(new CsvWriter(dataset.schema, new MemorySink()).warnings, nested);
  assertEquals(new NdjsonWriter(dataset.schema, new MemorySink()).warnings, [
    'column 2, "k", is written as "k_2": another column has its name',
    ...nested,
  ]);
  await dataset.close();
});

Deno.test("a map is a list of its entries, so that a key may occur twice and have any type", async () => {
  const entries = new Struct([new Field("a", new Utf8(), false), new Field("b", new Int32(), true)]);
  const type = new Map_(new Field("entries", entries, false));
  const children = [vectorFromArray(["k", "k"], new Utf8()).data[0], vectorFromArray([1, null], new Int32()).data[0]];
  const child = makeData({ type: entries, length: 2, nullCount: 0, children });
  const table = tableOf({
    m: { type, data: makeData({ type, length: 1, valueOffsets: Int32Array.of(0, 2), child } as never) },
  });
  assertEquals(await textOf(table, NdjsonWriter), '{"m":[{"key":"k","value":1},{"key":"k","value":null}]}\n');
});

Deno.test("a stream without batches becomes a header alone in CSV and nothing in JSON", async () => {
  const table = new Table(new Schema([new Field("a", new Int32(), true), new Field('b"', new Utf8(), true)]));
  assertEquals(await textOf(table, CsvWriter), 'a,"b"""\n');
  assertEquals(await textOf(table, NdjsonWriter), "");
});

Deno.test("a writer of text fails for a type that apache-arrow cannot read, and says which", () => {
  const list = encodeSchema(new Schema([new Field("ends", new List(new Field("item", new Int32(), true)), true)]));
  // List and list view differ in one byte, the type's number: 12 and 25.
  const patched = [...list.bytes.keys()].filter((at) => list.bytes[at] === 12).flatMap((at) => {
    const bytes = list.bytes.slice();
    bytes[at] = 25;
    try {
      return [new HeaderReader().read(bytes)];
    } catch {
      return [];
    }
  }).find((header) => describeSchema(header)[0]?.type.startsWith("list_view"));
  assertExists(patched);
  assertDipcError("unsupported", "ends", () => new CsvWriter(patched, new MemorySink()));
});

async function previewOf(
  table: Table,
  options: { rows?: number; cellWidth?: number },
  columns: number,
): Promise<string> {
  const dataset = await fromTable(table);
  const preview = new Preview(dataset.schema, options);
  const decoder = new BatchDecoder(dataset.schema);
  const run = await dataset.open();
  for (let message; !preview.full && (message = await run.next()) !== null;) {
    using batch = decoder.decode(message);
    if (batch !== null) preview.add(batch);
  }
  await run.close();
  await dataset.close();
  return preview.render(columns);
}

Deno.test("the table for people is aligned, cut to the width and safe for terminals", async () => {
  const table = tableOf({
    id: { type: new Int32(), data: [1, -20, null] },
    name: { type: new Utf8(), data: ["你好", "a very long name indeed", "\u001b[31mred\n"] },
    last: { type: new Utf8(), data: ["x", "y", "z"] },
  });
  assertEquals(
    await previewOf(table, { cellWidth: 14 }, 80),
    [
      "   id  name            last",
      "int32  string          string",
      "─────  ──────────────  ──────",
      "    1  你好            x",
      "  -20  a very long n…  y",
      " null  \\u001b[31mred…  z",
      "",
    ].join("\n"),
  );
  const narrow = await previewOf(table, { rows: 1, cellWidth: 14 }, 20);
  assertEquals(narrow.split("\n").at(-2), "… and 1 more column: last");
  assertEquals((await previewOf(table, { rows: 2 }, 80)).split("\n").length, 6);
});
