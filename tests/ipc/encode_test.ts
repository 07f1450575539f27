/** Batches as messages: every type, slices cut to size, dictionaries sent once. */
import { assert, assertEquals } from "@std/assert";
import {
  type Data,
  type DataType,
  Decimal,
  Dictionary,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Int32,
  Int64,
  Int8,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableFromArrays,
  Timestamp,
  TimeUnit,
  Type,
  Uint32,
  Union,
  UnionMode,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { copyBits } from "../../src/ipc/bitmap.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../../src/ipc/decode.ts";
import { describe, describeSchema } from "../../src/ipc/describe.ts";
import { BatchEncoder, encodeSchema } from "../../src/ipc/encode.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { assertDipcError } from "../support/assert.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { rubbishPool } from "../support/ipc_messages.ts";
import { Random, seed, seededRandom } from "../support/random.ts";
import { plainColumns } from "../support/ipc_values.ts";

function batchOf(columns: Record<string, Data>, custom?: Map<string, string>): RecordBatch {
  const fields = Object.entries(columns).map(([name, data]) => new Field(name, data.type as DataType, true));
  const children = Object.values(columns);
  const length = children[0]?.length ?? 0;
  const struct = makeData({ type: new Struct(fields), length, nullCount: 0, children });
  return new RecordBatch(new Schema(fields), struct, custom);
}

function decodeAll(
  encoder: BatchEncoder,
  messages: readonly IpcMessage[],
  decoder = new BatchDecoder(encoder.schemaHeader),
): OwnedRecordBatch[] {
  return messages.map((message) => decoder.decode(message)).filter((batch) => batch !== null);
}

/** All bytes of a body that no buffer covers. */
function gaps({ header, body }: IpcMessage): number[] {
  const bytes = [...body!.bytes()];
  for (let i = 0; i < header.buffers.length; i += 2) {
    bytes.fill(0, header.buffers[i], header.buffers[i] + header.buffers[i + 1]);
  }
  return bytes.filter((byte) => byte !== 0);
}

Deno.test("every type survives encoding and decoding, whole and in slices at odd offsets", () => {
  const random = seededRandom();
  for (let round = 0; round < 20; round++) {
    for (const type of allTypes()) {
      const rows = random.below(70);
      const whole = batchOf({ x: randomColumn(type, rows, random) });
      const expected = plainColumns(whole)[0];
      const encoder = new BatchEncoder(whole.schema, rubbishPool());
      const decoder = new BatchDecoder(encoder.schemaHeader);
      for (let cut = 0; cut < 4; cut++) {
        const from = cut === 0 ? 0 : random.below(rows + 1);
        const to = cut === 0 ? rows : from + random.below(rows - from + 1);
        const slice = cut === 0
          ? whole
          : cut === 3
          ? whole.slice(1).slice(Math.max(from - 1, 0), Math.max(to - 1, 0))
          : whole.slice(from, to);
        const start = cut === 3 ? Math.max(from, 1) : from;
        const wanted = cut === 3 && from === 0 ? expected.slice(1, Math.max(to, 1)) : expected.slice(start, to);
        const messages = encoder.encode(slice);
        for (const message of messages) {
          assertEquals(gaps(message), [], `gaps of ${type}`);
          message.header.buffers.forEach((value, i) => i % 2 === 0 && assertEquals(value % 64, 0));
        }
        const [decoded] = decodeAll(encoder, messages, decoder);
        assertEquals(
          plainColumns(decoded),
          [wanted],
          `seed ${seed}, round ${round}, ${type} from ${from} to ${to} of ${rows}`,
        );
        // apache-arrow does not count the nulls of the null type, and those of a union before it was cut.
        if (type.typeId !== Type.Null && type.typeId !== Type.Union) {
          assertEquals(
            decoded.getChildAt(0)!.nullCount,
            slice.getChildAt(0)!.nullCount,
            `nulls of ${type}, seed ${seed}`,
          );
        }
      }
    }
  }
});

Deno.test("a few rows of a large batch make a small body, without other rows' data in it", () => {
  const rows = 20_000;
  const names = vectorFromArray(Array.from({ length: rows }, (_, i) => i % 7 === 0 ? null : `name-${i}`), new Utf8());
  const batch = batchOf({
    name: names.data[0],
    list:
      vectorFromArray(Array.from({ length: rows }, (_, i) => [i, i]), new List(new Field("item", new Int32(), true)))
        .data[0],
  });
  const encoder = new BatchEncoder(batch.schema, rubbishPool());
  const [message] = encoder.encode(batch.slice(10_001, 10_011));
  assert(message.header.bodyLength <= 64 * 7, `${message.header.bodyLength} bytes`);
  const text = new TextDecoder().decode(message.body!.bytes());
  assertEquals(
    [...text.matchAll(/name-(\d+)/g)].map(([, digits]) => Number(digits)).every((n) => n >= 10_001 && n < 10_011),
    true,
  );
});

Deno.test("buffer lengths are true lengths, and all-valid columns have no bitmap", () => {
  const encoder = new BatchEncoder(
    new Schema([new Field("x", new Int32()), new Field("s", new Utf8())]),
    rubbishPool(),
  );
  const table = tableFromArrays({ x: Int32Array.from([1, 2, 3]) });
  const text = vectorFromArray(["a", "bc", "d"], new Utf8());
  const [message] = encoder.encode(batchOf({ x: table.batches[0].data.children[0], s: text.data[0] }));
  assertEquals([...message.header.buffers], [0, 0, 0, 12, 64, 0, 64, 16, 128, 4]);
  assertEquals([...message.header.nodes], [3, 0, 3, 0]);
  assertEquals(message.header.bodyLength, 192);
});

Deno.test("custom metadata of batches and schemas is kept", () => {
  const custom = new Map([["key", "value"], ["leer", ""], ["ünï", "c✓de"]]);
  const fields = [new Field("x", new Int32(), true, new Map([["unit", "m"]]))];
  const data = vectorFromArray([1, 2], new Int32()).data[0];
  const schema = new Schema(fields, new Map([["k", "v"]]));
  const batch = new RecordBatch(schema, makeData({ type: new Struct(fields), length: 2, children: [data] }), custom);
  const encoder = new BatchEncoder(schema, rubbishPool());
  const [decoded] = decodeAll(encoder, encoder.encode(batch));
  assertEquals([...decoded.metadata], [...custom]);
  assertEquals([...decoded.schema.metadata], [["k", "v"]]);
  assertEquals([...decoded.schema.fields[0].metadata], [["unit", "m"]]);
  assertEquals([...new BatchDecoder(encodeSchema(schema)).schema.fields[0].metadata], [["unit", "m"]]);
});

Deno.test("batches without columns keep their rows", () => {
  const batch = new RecordBatch(
    new Schema([]),
    makeData({ type: new Struct([]), length: 5, nullCount: 0, children: [] }),
  );
  // apache-arrow's constructor takes the rows from the columns.
  Object.defineProperty(batch, "data", {
    value: makeData({ type: new Struct([]), length: 5, nullCount: 0, children: [] }),
  });
  const encoder = new BatchEncoder(batch.schema, rubbishPool());
  const [decoded] = decodeAll(encoder, encoder.encode(batch));
  assertEquals(decoded.numRows, 5);
  assertEquals(decoded.numCols, 0);
});

Deno.test("columns that apache-arrow filled in with nulls are encoded as nulls", () => {
  const fields = [
    new Field("a", new Int32(), true),
    new Field("s", new Utf8(), true),
    new Field("l", new List(new Field("item", new Utf8(), true)), true),
    new Field("t", new Struct([new Field("u", new Utf8(), true)]), true),
  ];
  const table = new Table(new Schema(fields), {
    a: vectorFromArray([1, 2, 3], new Int32()),
    s: vectorFromArray(["x"], new Utf8()),
    l: vectorFromArray([["x"]], fields[2].type),
    t: vectorFromArray([{ u: "y" }], fields[3].type),
    // deno-lint-ignore no-explicit-any -- columns of different length are not in apache-arrow's types
  } as any);
  for (const batch of table.batches) {
    const encoder = new BatchEncoder(batch.schema, rubbishPool());
    const [decoded] = decodeAll(encoder, encoder.encode(batch));
    assertEquals(decoded.numRows, batch.numRows);
    assertEquals(plainColumns(decoded).map((column) => column.length), fields.map(() => batch.numRows));
  }
});

// Dictionaries.

/** A batch of one column with the given dictionary. */
function words(values: Vector, indices: number[], id = 9): RecordBatch {
  const type = new Dictionary(wordType, new Int8() as never, id);
  return batchOf({ w: makeData({ type, data: Int8Array.from(indices), dictionary: values as never }) as Data });
}
const wordType = new Utf8();
const vectorOf = (...values: (string | null)[]): Vector => vectorFromArray(values, wordType);

/** What the messages are, such as `["dictionary 2", "delta 1", "batch 3"]`. */
const kinds = (messages: readonly IpcMessage[]): string[] =>
  messages.map(({ header }) => `${header.isDelta ? "delta" : header.kind} ${header.rows}`);

Deno.test("dictionaries are sent when they are new, appended to or changed, and only then", () => {
  const first = vectorOf("a", "b");
  const encoder = new BatchEncoder(words(first, [0]).schema, rubbishPool());
  const decoder = new BatchDecoder(encoder.schemaHeader);
  const steps: [RecordBatch, string[], (string | null)[]][] = [
    [words(first, [0, 1]), ["dictionary 2", "batch 2"], ["a", "b"]],
    [words(first, [1]), ["batch 1"], ["b"]],
    [words(vectorOf("a", "b"), [0]), ["batch 1"], ["a"]], // equal, though another object
    [words(vectorOf("a", "b", "c", null), [2, 3]), ["delta 2", "batch 2"], ["c", null]],
    [words(vectorOf("a", "b", "c", null), [2]), ["batch 1"], ["c"]],
    [words(vectorOf("a", "X", "c", null), [1]), ["dictionary 4", "batch 1"], ["X"]],
    [words(vectorOf("a"), [0]), ["dictionary 1", "batch 1"], ["a"]],
    [words(vectorOf("a").concat(vectorOf("d", "e")), [2]), ["delta 2", "batch 1"], ["e"]],
    [words(vectorOf("a", "d").concat(vectorOf("e", "f")), [3, 2]), ["delta 1", "batch 2"], ["f", "e"]],
    [words(vectorOf("q").concat(vectorOf("r")), [1]), ["dictionary 1", "delta 1", "batch 1"], ["r"]],
    [words(vectorOf(), []), ["dictionary 0", "batch 0"], []],
  ];
  for (const [batch, expected, values] of steps) {
    const messages = encoder.encode(batch);
    assertEquals(kinds(messages), expected);
    assertEquals(plainColumns(decodeAll(encoder, messages, decoder)[0]), [values]);
  }
});

Deno.test("inner dictionaries come before outer ones, and a replaced inner one brings the outer one again", () => {
  const outerType = new List(new Field("item", new Dictionary(wordType, new Int8() as never, 2), true));
  const type = new Dictionary(outerType, new Int8() as never, 1);
  const make = (inner: Vector, size: number): RecordBatch => {
    const child = makeData({
      type: outerType.children[0].type as Dictionary,
      data: Int8Array.from([0, 1, 1]),
      dictionary: inner as never,
    }) as Data;
    const lists = makeData({
      type: outerType,
      length: size,
      valueOffsets: Int32Array.from([0, 2, 3]).subarray(0, size + 1),
      child: child as never,
    });
    return batchOf({
      l: makeData({ type, data: Int8Array.from([0]), dictionary: new Vector([lists as Data]) as never }) as Data,
    });
  };
  const first = make(vectorOf("x", "y"), 1);
  const encoder = new BatchEncoder(first.schema, rubbishPool());
  const decoder = new BatchDecoder(encoder.schemaHeader);
  const run = (batch: RecordBatch): [string[], unknown] => {
    const messages = encoder.encode(batch);
    const ids = messages.map(({ header }) => `${header.isDelta ? "delta" : header.kind} ${header.dictionaryId}`);
    return [ids, plainColumns(decodeAll(encoder, messages, decoder)[0])];
  };
  assertEquals(run(first), [["dictionary 2", "dictionary 1", "batch -1"], [[["x", "y"]]]]);
  assertEquals(run(make(vectorOf("x", "y"), 1)), [["batch -1"], [[["x", "y"]]]]);
  assertEquals(run(make(vectorOf("x", "y", "z"), 2)), [["delta 2", "dictionary 1", "batch -1"], [[["x", "y"]]]]);
  assertEquals(run(make(vectorOf("p", "q"), 2)), [["dictionary 2", "dictionary 1", "batch -1"], [[["p", "q"]]]]);
});

Deno.test("columns may share a dictionary, but not with different values", () => {
  const type = new Dictionary(wordType, new Int8() as never, 4);
  const column = (values: Vector, index: number): Data =>
    makeData({ type, data: Int8Array.from([index]), dictionary: values as never }) as Data;
  const shared = vectorOf("a", "b");
  const both = batchOf({ one: column(shared, 0), two: column(shared, 1) });
  const encoder = new BatchEncoder(both.schema, rubbishPool());
  const messages = encoder.encode(both);
  assertEquals(kinds(messages), ["dictionary 2", "batch 1"]);
  assertEquals(plainColumns(decodeAll(encoder, messages)[0]), [["a"], ["b"]]);
  const longer = encoder.encode(batchOf({ one: column(shared, 0), two: column(vectorOf("a", "b", "c"), 2) }));
  assertEquals(kinds(longer), ["delta 1", "batch 1"]);
  const different = batchOf({ one: column(shared, 0), two: column(vectorOf("q", "r"), 1) });
  assertDipcError("invalid_argument", "share dictionary 4", () => encoder.encode(different));
});

// What does not fit.

Deno.test("batches that do not fit the schema are rejected", () => {
  const encoder = new BatchEncoder(new Schema([new Field("x", new Int32())]), rubbishPool());
  assertDipcError(
    "invalid_argument",
    "2 columns: the schema has 1",
    () =>
      encoder.encode(
        batchOf({ x: vectorFromArray([1], new Int32()).data[0], y: vectorFromArray([1], new Int32()).data[0] }),
      ),
  );
  assertDipcError(
    "invalid_argument",
    'column "x": it holds Utf8, but the schema declares Int32',
    () => encoder.encode(batchOf({ x: vectorFromArray(["a"], new Utf8()).data[0] })),
  );
});

Deno.test("a column of another width, unit, mode or size than the schema declares is rejected", () => {
  const item = new Field("item", new Int32(), true);
  const union = (id: number): DataType => new Union(UnionMode.Sparse, [id], [item]) as DataType;
  const pairs: [DataType, DataType][] = [
    [new Int32(), new Int64()],
    [new Int64(), new Int32()],
    [new Uint32(), new Int32()],
    [new Decimal(2, 9, 64), new Decimal(2, 9, 128)],
    [new Timestamp(TimeUnit.SECOND), new Timestamp(TimeUnit.MILLISECOND)],
    [new FixedSizeBinary(4), new FixedSizeBinary(5)],
    [new FixedSizeList(2, item), new FixedSizeList(3, item)],
    [new List(item), new List(new Field("item", new Int64(), true))],
    [union(1), union(2)],
    [new Dictionary(wordType, new Int8() as never, 1), new Dictionary(wordType, new Int32() as never, 1)],
  ];
  const random = new Random(1);
  for (const [actual, stated] of pairs) {
    const encoder = new BatchEncoder(new Schema([new Field("x", stated, true)]), rubbishPool());
    const batch = batchOf({ x: randomColumn(actual, 5, random) });
    assertDipcError("invalid_argument", "but the schema declares", () => encoder.encode(batch));
  }
});

Deno.test("copyBits copies any range of bits", () => {
  const random = seededRandom();
  const source = Uint8Array.from({ length: 40 }, () => random.below(256));
  const bit = (bytes: Uint8Array, at: number): number => (bytes[at >> 3] >> (at & 7)) & 1;
  for (let round = 0; round < 2000; round++) {
    const offset = random.below(300);
    const length = random.below(330 - offset);
    const target = new Uint8Array(50).fill(0xa5);
    copyBits(target, source, offset, length);
    for (let i = 0; i < Math.ceil(length / 8) * 8; i++) {
      const expected = i < length && offset + i < 320 ? bit(source, offset + i) : 0;
      assertEquals(bit(target, i), expected, `seed ${seed}: bit ${i} of ${length} from ${offset}`);
    }
    assertEquals(target[Math.ceil(length / 8)], 0xa5);
  }
});

Deno.test("describe() names every type as pyarrow does", () => {
  const fields = allTypes().map((type, i) => new Field(`c${i}`, type, i % 2 === 0));
  const described = describeSchema(encodeSchema(new Schema(fields)));
  assertEquals(described.map(({ type }) => type), [
    ...["null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
    ...["halffloat", "float", "double", "decimal32(9, 2)", "decimal64(9, 2)", "decimal128(9, 2)", "decimal256(9, 2)"],
    ...["date32[day]", "date64[ms]", "time32[ms]", "time64[ns]", "timestamp[us, tz=Europe/Berlin]", "duration[s]"],
    ...["month_interval", "day_time_interval", "month_day_nano_interval"],
    ...["binary", "string", "large_binary", "large_string", "binary_view", "string_view", "fixed_size_binary[5]"],
    "list<item: string>",
    "large_list<item: bool>",
    "fixed_size_list<item: int16>[3]",
    "struct<a: bool, b: list<item: int8>>",
    "map<string, int32>",
    "sparse_union<a: bool=3, b: string=7>",
    "dense_union<a: int32=0, b: string_view=5>",
    "list<item: struct<deep: fixed_size_list<item: bool>[2]>>",
    "dictionary<values=string, indices=int16, ordered=0>",
  ]);
  assertEquals(described.map(({ nullable }) => nullable), fields.map(({ nullable }) => nullable));
  assertEquals(described.at(-1)!.dictionary, true);
  assertEquals(describe(encodeSchema(new Schema([], new Map([["a", "b"]])))), {
    fields: [],
    metadata: { a: "b" },
    endianness: "little",
  });
});
