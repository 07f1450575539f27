/** Record batches over received memory: lazy, owned, and with the dictionaries they came with. */
import { assert, assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import {
  Data,
  Dictionary,
  Field,
  Float64,
  Int16,
  Int32,
  Int64,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableFromIPC,
  tableToIPC,
  Uint64,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { BatchDecoder, type BatchDecoderOptions } from "../../src/ipc/decode.ts";
import { BatchEncoder } from "../../src/ipc/encode.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { assertDipcError } from "../support/assert.ts";
import {
  batch as batchTable,
  batchMessage,
  dictionaryMessage,
  encoding,
  field,
  type FlatObject,
  int32,
  schemaMessage,
  writeFlat,
} from "../support/ipc_flatbuffer.ts";
import { rubbishPool } from "../support/ipc_messages.ts";
import { plainColumns } from "../support/ipc_values.ts";
import { seededRandom } from "../support/random.ts";

const flat = (object: FlatObject): Uint8Array<ArrayBuffer> => writeFlat(object).bytes;

/** A table of `rows` rows with integers, floats and strings, some of them null. */
function mixedBatch(rows: number): RecordBatch {
  const ids = makeData({ type: new Int64(), data: BigInt64Array.from({ length: rows }, (_, i) => BigInt(i)) });
  const ratios = vectorFromArray(Array.from({ length: rows }, (_, i) => i % 3 === 0 ? null : i / 2), new Float64());
  const names = vectorFromArray(Array.from({ length: rows }, (_, i) => i % 5 === 0 ? null : `row ${i}`), new Utf8());
  const fields = [
    new Field("id", new Int64()),
    new Field("ratio", new Float64(), true),
    new Field("name", new Utf8(), true),
  ];
  const children = [ids, ratios.data[0], names.data[0]];
  return new RecordBatch(
    new Schema(fields, new Map([["made", "here"]])),
    makeData({ type: new Struct(fields), length: rows, nullCount: 0, children }),
    new Map([["batch", "1"]]),
  );
}

for (const rows of [0, 1, 100, 5000]) {
  Deno.test(`a decoded batch of ${rows} rows does all that a RecordBatch does`, () => {
    const original = mixedBatch(rows);
    const encoder = new BatchEncoder(original.schema, hostPool());
    const [message] = encoder.encode(original);
    const decoder = new BatchDecoder(encoder.schemaHeader);
    using batch = decoder.decode(message)!;

    assertInstanceOf(batch, RecordBatch);
    assert(RecordBatch.isRecordBatch(batch), "apache-arrow does not know the batch as its own");
    assertEquals(batch.numRows, rows);
    assertEquals(batch.numCols, 3);
    assertEquals(batch.nullCount, 0);
    assertEquals([...batch.metadata], [["batch", "1"]]);
    assertEquals([...batch.schema.metadata], [["made", "here"]]);
    assertEquals(String(batch.schema), String(original.schema));
    assertEquals(plainColumns(batch), plainColumns(original));
    assertEquals(batch.toArray().map(String), original.toArray().map(String));
    assertEquals(
      [...batch].map((row) => JSON.stringify(row!.name)),
      [...original].map((row) => JSON.stringify(row!.name)),
    );
    assertEquals(batch.getChildAt(3), null);
    assertEquals(batch.getChildAt(-1), null);
    assertEquals(batch.getChild("nothing"), null);
    assertStrictEquals(batch.getChild("id")!.data[0], batch.data.children[0]);
    assertEquals(batch.data.children.length, 3);
    assertEquals(batch.data.children.map((child) => child.length), [rows, rows, rows]);
    assertEquals(batch.slice(1, 3).toArray().map(String), original.slice(1, 3).toArray().map(String));
    assertEquals(plainColumns(batch.select(["name"])), plainColumns(original.select(["name"])).slice(-1));
    assertEquals(plainColumns(batch.selectAt([1, 0])), [plainColumns(original)[1], plainColumns(original)[0]]);
    assertEquals(batch.concat(original).numRows, 2 * rows);
    assertEquals(batch.dictionaries.size, 0);

    const ipc = tableFromIPC(tableToIPC(new Table([batch]), "stream"));
    assertEquals(ipc.toArray().map(String), original.toArray().map(String));
    assert(Deno.inspect(batch).startsWith(`RecordBatch (${rows} rows) Schema<{ 0: id: Int64`));
    const table = new Table([batch, original]);
    assertEquals(table.numRows, 2 * rows);
    assertEquals(table.getChild("ratio")!.nullCount, 2 * Math.ceil(rows / 3));
    if (rows > 1) {
      assertEquals(String(batch.get(1)), String(original.get(1)));
      assertEquals(String(batch.at(-1)), String(original.at(-1)));
      assertEquals(table.get(rows + 1)!.name, "row 1");
      assertEquals(batch.getChild("name")!.get(1), "row 1");
    }
  });
}

Deno.test("columns are views of the body, and only those that are read are built", () => {
  const original = mixedBatch(5000);
  const encoder = new BatchEncoder(original.schema, rubbishPool());
  const [message] = encoder.encode(original);
  const memory = message.body!.bytes().buffer;
  // Strings whose offsets point nowhere: only reading them fails.
  new Int32Array(memory, message.header.buffers[10], 2).fill(1 << 30);
  const batch = new BatchDecoder(encoder.schemaHeader).decode(message)!;
  assertStrictEquals(batch.getChild("id")!.data[0].values.buffer, memory);
  assertStrictEquals(batch.getChild("ratio")!.data[0].nullBitmap.buffer, memory);
  assertEquals(batch.data.children[0].length, 5000);
  assertDipcError("invalid_data", 'column "name"', () => batch.getChild("name"));
  assertDipcError("invalid_data", 'column "name"', () => batch.data.children[2]);
});

Deno.test("a disposed batch throws, and columns taken from it before are empty", () => {
  const original = mixedBatch(2000);
  const pool = hostPool();
  const encoder = new BatchEncoder(original.schema, pool);
  const before = pool.stats.blocksOut;
  const batch = new BatchDecoder(encoder.schemaHeader).decode(encoder.encode(original)[0])!;
  const ids = batch.getChild("id")!;
  const { children } = batch.data;
  const { values } = ids.data[0];
  assertEquals(ids.get(7), 7n);
  assertEquals(pool.stats.blocksOut, before + 1);
  batch[Symbol.dispose]();
  batch[Symbol.dispose]();
  assertEquals(pool.stats.blocksOut, before);
  for (
    const act of [
      () => batch.numRows,
      () => batch.data,
      () => batch.getChild("id"),
      () => batch.get(0),
      () => batch.toArray(),
      () => new Table([batch]),
      () => children[1],
    ]
  ) assertDipcError("closed", "disposed", act);
  assertEquals(values.length, 0);
  assertEquals(ids.get(7), undefined);
});

Deno.test("a small batch throws too once it is disposed", () => {
  const original = mixedBatch(3);
  const encoder = new BatchEncoder(original.schema, hostPool());
  const batch = new BatchDecoder(encoder.schemaHeader).decode(encoder.encode(original)[0])!;
  assertEquals(batch.get(2)!.id, 2n);
  batch[Symbol.dispose]();
  assertDipcError("closed", "disposed", () => batch.get(2));
  assertDipcError("closed", "disposed", () => batch.getChildAt(0));
});

Deno.test("a batch that was never read gives its memory back too", () => {
  const pool = hostPool();
  const original = mixedBatch(5000);
  const encoder = new BatchEncoder(original.schema, pool);
  const before = pool.stats.blocksOut;
  const batch = new BatchDecoder(encoder.schemaHeader).decode(encoder.encode(original)[0])!;
  assertEquals(pool.stats.blocksOut, before + 1);
  batch[Symbol.dispose]();
  assertEquals(pool.stats.blocksOut, before);
});

Deno.test("a body that does not start at a multiple of 8 is copied", () => {
  const original = mixedBatch(100);
  const encoder = new BatchEncoder(original.schema, rubbishPool());
  const [{ header, body }] = encoder.encode(original);
  const shifted = new Uint8Array(header.bodyLength + 3).subarray(3);
  shifted.set(body!.bytes());
  const batch = new BatchDecoder(encoder.schemaHeader).decode({ header, body: wrapBytes(shifted) })!;
  assertEquals(plainColumns(batch), plainColumns(original));
});

Deno.test("the internals of apache-arrow that are relied on are still there", () => {
  const type = new Int32();
  const values = new Int32Array([4, 5, 6]);
  const bitmap = new Uint8Array([0b101]);
  const child = new Data(type, 0, 3, 1, [undefined, values, bitmap] as never);
  assertStrictEquals(child.values, values);
  assertStrictEquals(child.nullBitmap, bitmap);
  assertEquals([...new Vector([child])], [4, null, 6]);
  const list = new Data(new List(new Field("item", type, true)), 0, 1, 0, [new Int32Array([1, 3])] as never, [child]);
  assertEquals([...new Vector([list]).get(0)!], [null, 6]);
  const dictionary = new Data(
    new Dictionary(type, new Int16() as never, 1),
    0,
    1,
    0,
    [undefined, new Int16Array([2])] as never,
    [],
    new Vector([child]) as never,
  );
  assertEquals([...new Vector([dictionary])], [6]);
  // A plain batch keeps exactly these fields; the lazy one stands in for each of them.
  assertEquals(Object.keys(mixedBatch(1)).sort(), ["_metadata", "data", "schema"]);
});

Deno.test("types that apache-arrow cannot represent are named with their column", () => {
  const inner = field("dates", 13, [], [int32("a"), field("when", 25, [], [int32("item")])]);
  for (
    const [one, text] of [
      [inner, 'column "dates.when" is of type list_view<item: int32>'],
      [
        field("r", 22, [], [field("run_ends", 2, [{ i32: 32 }, { u8: 1 }]), int32("values")]),
        'column "r" is of type run_end_encoded<run_ends: int32, values: int32>',
      ],
      [field("l", 26, [], [int32("item")]), "large_list_view<item: int32>"],
    ] as const
  ) {
    const header = new HeaderReader().read(flat(schemaMessage([one])));
    assertDipcError("unsupported", text, () => new BatchDecoder(header));
  }
  const big = new HeaderReader().read(flat(schemaMessage([int32()], { endianness: 1 })));
  assertDipcError("unsupported", "big-endian", () => new BatchDecoder(big));
});

// Dictionaries.

interface DictionaryStream {
  decoder: BatchDecoder;
  values(words: string[], isDelta?: boolean): void;
  batch(indices: number[]): RecordBatch;
}

/** A stream of one column of strings with dictionary 1 and 8-bit indices. */
function wordStream(options?: BatchDecoderOptions): DictionaryStream {
  const reader = new HeaderReader();
  const schema = reader.read(flat(schemaMessage([field("w", 5, [], [], encoding(1n))])));
  const decoder = new BatchDecoder(schema, options);
  const send = (metadata: Uint8Array, body: Uint8Array<ArrayBuffer>): RecordBatch | null =>
    decoder.decode({ header: reader.read(metadata), body: wrapBytes(body) });
  return {
    decoder,
    values(words, isDelta = false) {
      const n = words.length;
      const body = new Uint8Array(64);
      const offsets = new Int32Array(body.buffer, 0, n + 1);
      words.forEach((word, i) => offsets[i + 1] = offsets[i] + word.length);
      body.set(new TextEncoder().encode(words.join("")), 32);
      const data = batchTable({
        rows: BigInt(n),
        nodes: [BigInt(n), 0n],
        buffers: [0n, 0n, 0n, BigInt(4 * (n + 1)), 32n, BigInt(offsets[n])],
      });
      assertEquals(send(flat(dictionaryMessage(1n, data, isDelta)), body), null);
      body.fill(0xff);
    },
    batch(indices) {
      const n = BigInt(indices.length);
      const metadata = flat(batchMessage({ rows: n, nodes: [n, 0n], buffers: [0n, 0n, 0n, n] }));
      return send(metadata, new Uint8Array(64).with(0, 0).map((_, i) => indices[i] ?? 0))!;
    },
  };
}

Deno.test("a replaced dictionary leaves earlier batches as they were, even if they are read later", () => {
  const stream = wordStream();
  stream.values(["a", "b"]);
  const first = stream.batch([0, 1, 1]);
  stream.values(["c", "d", "e"]);
  const second = stream.batch([0, 2]);
  stream.values(["f"]);
  assertEquals(plainColumns(second), [["c", "e"]]);
  assertEquals(plainColumns(first), [["a", "b", "b"]]);
  assertEquals(plainColumns(stream.batch([0])), [["f"]]);
});

Deno.test("deltas append to a dictionary; earlier batches do not see them", () => {
  const stream = wordStream();
  stream.values(["a", "b"]);
  const first = stream.batch([0, 1]);
  stream.values(["c"], true);
  stream.values(["d", "e"], true);
  const second = stream.batch([4, 2, 0]);
  assertEquals(second.getChildAt(0)!.toArray(), ["e", "c", "a"]);
  assertEquals(second.getChildAt(0)!.data[0].dictionary!.length, 5);
  assertEquals(plainColumns(first), [["a", "b"]]);
  assertEquals(first.getChildAt(0)!.data[0].dictionary!.length, 2);
});

Deno.test("many deltas append to a dictionary; every batch sees those before it, in whatever order they are read", () => {
  const random = seededRandom();
  const stream = wordStream();
  stream.values(["w0"]);
  const batches = Array.from({ length: 120 }, (_, i) => {
    if (i > 0) stream.values([`w${i}`], true);
    return { batch: stream.batch([i, 0, i >> 1]), words: [`w${i}`, "w0", `w${i >> 1}`] };
  });
  random.shuffle(batches);
  for (const { batch, words } of batches) assertEquals(plainColumns(batch), [words]);
});

Deno.test("batches between two dictionary messages share one vector of values", () => {
  const stream = wordStream();
  stream.values(["a"]);
  const [one, two] = [stream.batch([0]), stream.batch([0])].map((batch) => batch.getChildAt(0)!.data[0].dictionary);
  assertStrictEquals(one, two);
});

Deno.test("indices out of the dictionary and dictionaries that never came are errors", () => {
  const stream = wordStream();
  assertDipcError("invalid_data", "has not been sent", () => stream.batch([0]).getChildAt(0));
  stream.values(["a", "b"]);
  assertDipcError("invalid_data", "index 2 into a dictionary of 2", () => stream.batch([0, 2]).getChildAt(0));
  assertDipcError("invalid_data", "index -1 into a dictionary of 2", () => stream.batch([255]).getChildAt(0));
});

Deno.test("dictionaries beyond their limit are rejected, replaced ones do not count", () => {
  const stream = wordStream({ maxDictionaryBytes: 150 });
  for (let i = 0; i < 10; i++) stream.values(["a"]);
  stream.values(["b"], true);
  assertDipcError("limit_exceeded", "maxDictionaryBytes", () => stream.values(["c"], true));
});

Deno.test("an inner dictionary may come after the outer one, and be replaced alone", () => {
  // Lists, with dictionary 1, of strings with dictionary 2.
  const reader = new HeaderReader();
  const column = field("l", 12, [], [field("item", 5, [], [], encoding(2n))], encoding(1n));
  const decoder = new BatchDecoder(reader.read(flat(schemaMessage([column]))));
  const send = (metadata: Uint8Array, body: (bytes: Uint8Array<ArrayBuffer>) => void): RecordBatch | null => {
    const bytes = new Uint8Array(64);
    body(bytes);
    return decoder.decode({ header: reader.read(metadata), body: wrapBytes(bytes) });
  };
  const outer = (): void => {
    const data = batchTable({ rows: 2n, nodes: [2n, 0n, 3n, 0n], buffers: [0n, 0n, 0n, 12n, 0n, 0n, 16n, 3n] });
    send(flat(dictionaryMessage(1n, data)), (bytes) => {
      new Int32Array(bytes.buffer, 0, 3).set([0, 2, 3]);
      bytes.set([0, 1, 1], 16);
    });
  };
  const inner = (words: string): void => {
    const data = batchTable({ rows: 2n, nodes: [2n, 0n], buffers: [0n, 0n, 0n, 12n, 16n, 2n] });
    send(flat(dictionaryMessage(2n, data)), (bytes) => {
      new Int32Array(bytes.buffer, 0, 3).set([0, 1, 2]);
      bytes.set(new TextEncoder().encode(words), 16);
    });
  };
  const rows = (): RecordBatch =>
    send(flat(batchMessage({ rows: 2n, nodes: [2n, 0n], buffers: [0n, 0n, 0n, 2n] })), (bytes) => bytes.set([1, 0]))!;
  outer();
  inner("xy");
  const first = rows();
  inner("pq");
  const second = rows();
  assertEquals(plainColumns(first), [[["y"], ["x", "y"]]]);
  assertEquals(plainColumns(second), [[["q"], ["p", "q"]]]);
});

Deno.test("64-bit dictionary indices are readable, and encoded as they were", () => {
  for (const index of [new Int64(), new Uint64()]) {
    const type = new Dictionary(new Utf8(), index as never, 5);
    const values = vectorFromArray(["a", "b", "c"], new Utf8());
    const data = index instanceof Int64 ? new BigInt64Array([2n, 0n, 1n]) : new BigUint64Array([2n, 0n, 1n]);
    const column = new Data(type, 0, 3, 0, [undefined, data] as never, [], values as never);
    const fields = [new Field("d", type as never)];
    const original = new RecordBatch(
      new Schema(fields),
      makeData({ type: new Struct(fields), length: 3, children: [column] }),
    );
    const encoder = new BatchEncoder(original.schema, rubbishPool());
    const messages = encoder.encode(original);
    const decoder = new BatchDecoder(encoder.schemaHeader);
    const batch = messages.map((message) => decoder.decode(message)).at(-1)!;
    assertEquals(batch.getChildAt(0)!.toArray(), ["c", "a", "b"]);
    const again = new BatchEncoder(batch.schema, rubbishPool()).encode(batch).at(-1)!;
    assertEquals([...again.body!.bytes()], [...messages.at(-1)!.body!.bytes()]);
  }
});

// Data that contradicts itself.

/** A batch of one column with the given buffers. */
function oneColumn(
  column: FlatObject,
  nodes: bigint[],
  parts: (ArrayBufferView | null)[],
  variadic?: bigint[],
): IpcMessage & { decoder: BatchDecoder } {
  const reader = new HeaderReader();
  const decoder = new BatchDecoder(reader.read(flat(schemaMessage([column]))));
  const body = new Uint8Array(64 * parts.length);
  const buffers = parts.flatMap((part, i) => {
    if (part !== null) body.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), 64 * i);
    return [BigInt(64 * i), BigInt(part?.byteLength ?? 0)];
  });
  const metadata = flat(
    batchMessage({ rows: nodes[0], nodes, buffers, variadic }, { bodyLength: BigInt(body.byteLength) }),
  );
  return { header: reader.read(metadata), body: wrapBytes(body), decoder };
}

const text = new TextEncoder().encode("abcdef");
const refused: [
  name: string,
  column: FlatObject,
  nodes: bigint[],
  parts: (ArrayBufferView | null)[],
  error: string,
  variadic?: bigint[],
][] = [
  [
    "strings that end past their bytes",
    field("x", 5),
    [2n, 0n],
    [null, new Int32Array([0, 3, 7]), text],
    "do not rise from 0 to 6",
  ],
  ["strings with falling offsets", field("x", 5), [3n, 0n], [null, new Int32Array([0, 4, 2, 6]), text], "do not rise"],
  ["strings with a negative offset", field("x", 5), [2n, 0n], [null, new Int32Array([-2, 3, 6]), text], "do not rise"],
  ["strings with offsets that overflow", field("x", 5), [2n, 0n], [
    null,
    new Int32Array([2147483647, -2147483648, 6]),
    text,
  ], "do not rise"],
  [
    "large strings past their bytes",
    field("x", 20),
    [2n, 0n],
    [null, new BigInt64Array([0n, 3n, 7n]), text],
    "do not rise",
  ],
  ["large strings with an offset of 2^40", field("x", 20), [2n, 0n], [
    null,
    new BigInt64Array([0n, 1n << 40n, 6n]),
    text,
  ], "do not rise"],
  [
    "large strings with a negative offset",
    field("x", 20),
    [2n, 0n],
    [null, new BigInt64Array([-1n, 3n, 6n]), text],
    "do not rise",
  ],
  ["lists past their child", field("x", 12, [], [int32("c")]), [1n, 0n, 2n, 0n], [
    null,
    new Int32Array([0, 3]),
    null,
    new Int32Array(2),
  ], "do not rise from 0 to 2"],
  [
    "maps past their entries",
    field("x", 17, [], [field("e", 13, [], [int32("k"), int32("v")])]),
    [1n, 0n, 1n, 0n, 1n, 0n, 1n, 0n],
    [null, new Int32Array([0, 2]), null, null, new Int32Array(1), null, new Int32Array(1)],
    "do not rise from 0 to 1",
  ],
  [
    "a view into a missing buffer",
    field("x", 24),
    [1n, 0n],
    [null, new Int32Array([13, 0, 1, 0]), new Uint8Array(20)],
    "data buffer 1, out of bounds",
    [1n],
  ],
  [
    "a view past its buffer",
    field("x", 24),
    [1n, 0n],
    [null, new Int32Array([13, 0, 0, 8]), new Uint8Array(20)],
    "bytes 8 to 21",
    [1n],
  ],
  [
    "a view of negative size",
    field("x", 23),
    [1n, 0n],
    [null, new Int32Array([-1, 0, 0, 0]), new Uint8Array(20)],
    "out of bounds",
    [1n],
  ],
  ["an unknown type id", field("x", 14, [{ i16: 0 }, { ref: { ints: [5] } }], [int32("c")]), [2n, 0n, 2n, 0n], [
    new Int8Array([5, 6]),
    null,
    new Int32Array(2),
  ], "type id 6"],
  ["a negative type id", field("x", 14, [{ i16: 0 }, { ref: { ints: [5] } }], [int32("c")]), [1n, 0n, 1n, 0n], [
    new Int8Array([-5]),
    null,
    new Int32Array(1),
  ], "type id -5"],
  ["a union past its child", field("x", 14, [{ i16: 1 }, { ref: { ints: [5] } }], [int32("c")]), [1n, 0n, 2n, 0n], [
    new Int8Array([5]),
    new Int32Array([2]),
    null,
    new Int32Array(2),
  ], "value 2 of 2"],
];
for (const [name, column, nodes, parts, error, variadic] of refused) {
  Deno.test(`data is rejected when its column is built: ${name}`, () => {
    const message = oneColumn(column, nodes, parts, variadic);
    assertDipcError("invalid_data", error, () => message.decoder.decode(message)!.getChildAt(0));
  });
}

Deno.test("the validity buffer that unions had before metadata V5 is skipped, and rejected if it marks nulls", () => {
  const reader = new HeaderReader();
  const union = field("u", 14, [{ i16: 0 }, { ref: { ints: [5] } }], [int32("c")]);
  const decoder = new BatchDecoder(reader.read(flat(schemaMessage([union], { version: 3 }))));
  const body = new Uint8Array(64);
  body.fill(5, 0, 4);
  new Int32Array(body.buffer, 16, 4).set([7, 8, 9, 10]);
  const column = (nulls: bigint): RecordBatch => {
    const spec = { nodes: [4n, nulls, 4n, 0n], buffers: [0n, 0n, 0n, 4n, 0n, 0n, 16n, 16n] };
    const header = reader.read(flat(batchMessage(spec, { version: 3 })));
    return decoder.decode({ header, body: wrapBytes(body) })!;
  };
  assertEquals(plainColumns(column(0n)), [[["5", "7"], ["5", "8"], ["5", "9"], ["5", "10"]]]);
  assertDipcError("unsupported", "metadata version V4 with nulls", () => column(1n).getChildAt(0));
});

Deno.test("rubbish under a null is not an error", () => {
  const nulls = new Uint8Array([0b01]);
  const views = new Int32Array([2, 0x6261, 0, 0, 99, 0, 7, 7]);
  const message = oneColumn(field("x", 24), [2n, 1n], [nulls, views, new Uint8Array(8)], [1n]);
  assertEquals(plainColumns(message.decoder.decode(message)!), [["ab", null]]);
});

Deno.test("a body shorter than its header declares is rejected and released", () => {
  const message = oneColumn(int32(), [4n, 0n], [null, new Int32Array(4)]);
  let released = 0;
  const body = wrapBytes(new Uint8Array(100));
  const short = { ...body, byteLength: 100, bytes: () => body.bytes(), release: () => void released++ };
  assertDipcError(
    "invalid_data",
    "its body has 100 bytes, expected 128",
    () => message.decoder.decode({ header: message.header, body: short }),
  );
  assertEquals(released, 1);
});
