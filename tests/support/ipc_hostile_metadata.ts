/**
 * Metadata that must be refused: for each check of the verifier a message that only this check stops.
 *
 * @module
 */
import type { DipcErrorCode } from "../../src/errors.ts";
import {
  batch,
  batchMessage,
  dictionaryMessage,
  encoding,
  field,
  type FlatObject,
  int32,
  message,
  schemaMessage,
  type Slot,
  writeFlat,
} from "./ipc_flatbuffer.ts";

/** Messages of one stream, of which the last must be refused. */
export interface HostileCase {
  /** What is wrong. */
  name: string;
  /** Metadata of the messages in order. */
  frames: Uint8Array<ArrayBuffer>[];
  /** Expected code of the error. */
  code: DipcErrorCode;
  /** Part of the expected message of the error. */
  text: string;
}

const flat = (object: FlatObject): Uint8Array<ArrayBuffer> => writeFlat(object).bytes;
const good = flat(schemaMessage([int32()]));

const cases: HostileCase[] = [];
const add = (
  name: string,
  frames: Uint8Array<ArrayBuffer>[],
  text: string,
  code: DipcErrorCode = "invalid_data",
): void => {
  cases.push({ name, frames, code, text });
};
/** A schema of one field. */
const oneField = (name: string, one: FlatObject, text: string, code: DipcErrorCode = "invalid_data"): void =>
  add(name, [flat(schemaMessage([one]))], text, code);
/** A batch after a schema. */
const afterSchema = (name: string, fields: FlatObject[], bad: FlatObject, text: string, code?: DipcErrorCode): void =>
  add(name, [flat(schemaMessage(fields)), flat(bad)], text, code);
/** A good message in which the 2 or 4 bytes at a position are changed. */
const damaged = (
  name: string,
  object: FlatObject,
  damage: (view: DataView, at: (object: FlatObject) => number) => void,
  text: string,
): void => {
  const { bytes, at } = writeFlat(object);
  damage(new DataView(bytes.buffer), (part) => at.get(part)!);
  add(name, [bytes], text);
};

// The format of flatbuffers.
add("too short", [new Uint8Array(4)], "too few for a flatbuffer");
damaged("root offset 0", schemaMessage([]), (view) => view.setUint32(0, 0, true), "root table offset 0");
damaged("root offset past the end", schemaMessage([]), (view) => view.setUint32(0, 1 << 30, true), "root table offset");
damaged(
  "root offset 2^32 - 8, backwards where signed",
  schemaMessage([]),
  (view) => view.setUint32(0, 0xfffffff8, true),
  "points outside",
);
{
  const root = schemaMessage([]);
  const vtableOf = (view: DataView, table: number): number => table - view.getInt32(table, true);
  damaged(
    "vtable before the start",
    root,
    (view, at) => view.setInt32(at(root), at(root) + 8, true),
    "vtable at byte -8",
  );
  damaged("vtable past the end", root, (view, at) => view.setInt32(at(root), -(1 << 20), true), "lies outside");
  damaged("vtable size 2", root, (view, at) => view.setUint16(vtableOf(view, at(root)), 2, true), "vtable size 2");
  damaged("odd vtable size", root, (view, at) => view.setUint16(vtableOf(view, at(root)), 13, true), "vtable size 13");
  damaged(
    "huge vtable",
    root,
    (view, at) => view.setUint16(vtableOf(view, at(root)), 65534, true),
    "vtable size 65534",
  );
  damaged("table size 2", root, (view, at) => view.setUint16(vtableOf(view, at(root)) + 2, 2, true), "table size 2");
  damaged(
    "huge table",
    root,
    (view, at) => view.setUint16(vtableOf(view, at(root)) + 2, 65535, true),
    "table size 65535",
  );
  damaged(
    "field out of its table",
    root,
    (view, at) => view.setUint16(vtableOf(view, at(root)) + 4, 400, true),
    "field offset 400",
  );
  damaged(
    "field in the vtable offset",
    root,
    (view, at) => view.setUint16(vtableOf(view, at(root)) + 4, 2, true),
    "field offset 2",
  );
}
for (const length of [1000, 0x7fffffff, 0x80000000, 0xffffffff]) {
  const fields: FlatObject = { tables: [int32()] };
  const root = message({ type: 1, header: { table: [null, { ref: fields }] } });
  damaged(`vector of ${length} elements`, root, (view, at) => view.setUint32(at(fields), length, true), "does not fit");
}
{
  let shared: FlatObject = int32("leaf");
  for (let depth = 0; depth < 40; depth++) shared = field("s", 13, [], { tables: [shared, shared, shared] });
  oneField("schema shaped as a DAG", shared, "visit budget exhausted");
}
{
  const text: FlatObject = { text: "x".repeat(2000) };
  const pair: FlatObject = { table: [{ ref: text }, { ref: text }] };
  const custom: FlatObject = { tables: Array.from({ length: 200 }, () => pair) };
  add("metadata that repeats one long text", [flat(schemaMessage([], { custom }))], "visit budget exhausted");
}
{
  let deep: FlatObject = int32("leaf");
  for (let depth = 0; depth < 64; depth++) deep = field("s", 13, [], [deep]);
  oneField("65 levels of fields", deep, "nested deeper than 64");
}

// The message.
for (const version of [0, 1, 2]) {
  add(`metadata version V${version + 1}`, [flat(schemaMessage([], { version }))], "expected V4 or V5", "unsupported");
}
for (const version of [5, -1]) {
  add(`metadata version number ${version}`, [flat(schemaMessage([], { version }))], "metadata version is");
}
for (const type of [0, 4, 5, 77]) {
  add(
    `header type ${type}`,
    [good, flat(message({ type, header: { table: [] } }))],
    `message header is of type ${type}`,
  );
}
add("no header", [flat(message({ type: 1, header: null }))], "has no header");
add("body length -1", [good, flat(batchMessage({}, { bodyLength: -1n }))], "body length is -1");
add("body length 2^53", [good, flat(batchMessage({}, { bodyLength: 1n << 53n }))], "body length is 9007199254740992");
add("body over the limit", [good, flat(batchMessage({}, { bodyLength: 1n << 40n }))], "maxBodyBytes", "limit_exceeded");
add("metadata over the limit", [new Uint8Array(17 << 20)], "maxMetadataBytes", "limit_exceeded");
add("first message is a batch", [flat(batchMessage())], "first message is not a schema");
add("two schemas", [good, good], "a second schema");
add("schema with a body", [flat(schemaMessage([], { bodyLength: 8n }))], "schema message has a body of 8 bytes");

// The schema.
for (const endianness of [2, -1]) {
  add(`endianness ${endianness}`, [flat(schemaMessage([], { endianness }))], "endianness is");
}
oneField("no type", field("x", 0), "has no type");
oneField("type from the future", field("x", 27), "newer than this version", "unsupported");
oneField("type table missing", field("x", 2, null), "lacks its type table");
oneField("int of 24 bits", field("x", 2, [{ i32: 24 }]), "int of 24 bits");
for (const precision of [3, -1]) {
  oneField(`float precision ${precision}`, field("x", 3, [{ i16: precision }]), "expected 0 to 2");
}
oneField("decimal of 96 bits", field("x", 7, [{ i32: 5 }, { i32: 0 }, { i32: 96 }]), "32, 64, 128 or 256 bits");
for (const precision of [0, 39]) {
  oneField(`decimal precision ${precision}`, field("x", 7, [{ i32: precision }]), "a precision from 1 to 38");
}
oneField("date unit 2", field("x", 8, [{ i16: 2 }]), "type parameter 2");
oneField("time unit -1", field("x", 9, [{ i16: -1 }]), "type parameter -1");
oneField("time in seconds of 64 bits", field("x", 9, [{ i16: 0 }, { i32: 64 }]), "32 bits for a time in s");
oneField("byte width -1", field("x", 15, [{ i32: -1 }]), "byte width of 0 or more");
oneField("list size -1", field("x", 16, [{ i32: -1 }], [int32()]), "list size of 0 or more");
oneField("list without child", field("x", 12), "0 children, expected 1");
oneField("int with a child", field("x", 2, [{ i32: 32 }], [int32()]), "1 children, expected 0");
oneField("map of integers", field("x", 17, [], [int32()]), "entries of map");
oneField(
  "map of structs of 3",
  field("x", 17, [], [field("e", 13, [], [int32(), int32(), int32()])]),
  "entries of map",
);
oneField(
  "run ends of 8 bits",
  field("x", 22, [], [field("r", 2, [{ i32: 8 }, { u8: 1 }]), int32()]),
  "run ends of field",
);
oneField("run ends of floats", field("x", 22, [], [field("r", 3, [{ i16: 1 }]), int32()]), "run ends of field");
const union = (ids: number[] | null, children: number, mode = 0): FlatObject => {
  const type: Slot[] = [{ i16: mode }, ids === null ? null : { ref: { ints: ids } }];
  return field("u", 14, type, Array.from({ length: children }, () => int32()));
};
oneField("union with more ids than children", union([0, 1, 2], 2), "2 children, expected 3");
oneField("union with an id of 128", union([0, 128], 2), "type id 128");
oneField("union with an id of -1", union([0, -1], 2), "type id -1");
oneField("union with an id twice", union([4, 4], 2), "type id 4");
oneField("union of 129 children", union(null, 129), "129 children, expected 128 at most");
oneField("dictionary of kind 1", field("x", 5, [], [], encoding(1n, 1)), "is of kind 1");
add(
  "shared dictionary of two types",
  [flat(schemaMessage([field("a", 5, [], [], encoding(1n)), field("b", 2, [{ i32: 32 }], [], encoding(1n))]))],
  "share dictionary 1 but differ",
);

// Record batches: counts and lengths.
const ints = [int32()];
afterSchema("rows -1", ints, batchMessage({ rows: -1n }), "row count is -1");
afterSchema("rows 2^63 - 1", ints, batchMessage({ rows: (1n << 63n) - 1n }), "row count is 9223372036854775807");
afterSchema(
  "rows over the limit",
  [],
  batchMessage({ rows: 1n << 40n, nodes: [], buffers: [] }),
  "maxRows",
  "limit_exceeded",
);
afterSchema("one node too few", ints, batchMessage({ nodes: [] }), "0 field nodes, expected 1");
afterSchema("one node too many", ints, batchMessage({ nodes: [4n, 0n, 4n, 0n] }), "2 field nodes, expected 1");
afterSchema("one buffer too few", ints, batchMessage({ buffers: [0n, 0n] }), "1 buffers, expected 2");
afterSchema("one buffer too many", ints, batchMessage({ buffers: [0n, 0n, 0n, 16n, 0n, 0n] }), "3 buffers, expected 2");
afterSchema(
  "variadic count without views",
  ints,
  batchMessage({ variadic: [0n] }),
  "1 variadic buffer counts, expected 0",
);
const views = [field("v", 24)];
const viewBuffers = [0n, 0n, 0n, 64n];
afterSchema(
  "variadic counts missing",
  views,
  batchMessage({ buffers: viewBuffers }),
  "0 variadic buffer counts, expected 1",
);
afterSchema(
  "variadic count -1",
  views,
  batchMessage({ buffers: viewBuffers, variadic: [-1n] }),
  "variadic buffer count is -1",
);
afterSchema(
  "variadic count 2^40",
  views,
  batchMessage({ buffers: viewBuffers, variadic: [1n << 40n] }),
  "2 buffers, expected",
);
afterSchema(
  "node of another length than the batch",
  ints,
  batchMessage({ nodes: [3n, 0n] }),
  "3 values, which does not match",
);
afterSchema("node of length -1", ints, batchMessage({ nodes: [-1n, 0n] }), "length of a field node is -1");
afterSchema("null count -1", ints, batchMessage({ nodes: [4n, -1n] }), "null count of a field node is -1");
afterSchema(
  "more nulls than values",
  ints,
  batchMessage({ nodes: [4n, 5n], buffers: [0n, 8n, 8n, 16n] }),
  "5 nulls in 4 values",
);
const nested = (
  typeNumber: number,
  type: Slot[],
  child: FlatObject,
): FlatObject[] => [field("n", typeNumber, type, [child])];
afterSchema(
  "nested null column over the limit",
  nested(12, [], field("c", 1)),
  batchMessage({ nodes: [4n, 0n, 1n << 40n, 0n], buffers: [0n, 0n, 0n, 24n] }),
  "maxRows",
  "limit_exceeded",
);
afterSchema(
  "struct with a short child",
  nested(13, [], int32("c")),
  batchMessage({ nodes: [4n, 0n, 3n, 0n], buffers: [0n, 0n, 0n, 0n, 0n, 16n] }),
  'column "n.c" has 3 values',
);
afterSchema(
  "fixed-size list with a short child",
  nested(16, [{ i32: 3 }], int32("c")),
  batchMessage({ nodes: [4n, 0n, 11n, 0n], buffers: [0n, 0n, 0n, 0n, 0n, 48n] }),
  'column "n.c" has 11 values',
);
afterSchema(
  "struct in a list with a child shorter than itself, though longer than the batch",
  nested(12, [], field("s", 13, [], [int32("c")])),
  batchMessage({ nodes: [4n, 0n, 6n, 0n, 5n, 0n], buffers: [0n, 0n, 0n, 20n, 0n, 0n, 0n, 0n, 0n, 24n] }),
  'column "n.s.c" has 5 values',
);
afterSchema(
  "sparse union with a short child",
  [union([0], 1)],
  batchMessage({ nodes: [4n, 0n, 3n, 0n], buffers: [0n, 4n, 0n, 0n, 0n, 16n] }),
  'column "u.x" has 3 values',
);
const runs = [field("r", 22, [], [field("e", 2, [{ i32: 32 }, { u8: 1 }]), int32("v")])];
afterSchema(
  "run-end encoding without runs",
  runs,
  batchMessage({ nodes: [4n, 0n, 0n, 0n, 0n, 0n], buffers: [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n] }),
  'column "r.e" has 0 values',
);
afterSchema(
  "run-end encoding with more ends than values",
  runs,
  batchMessage({ nodes: [4n, 0n, 2n, 0n, 1n, 0n], buffers: [0n, 0n, 0n, 8n, 0n, 0n, 0n, 4n] }),
  'column "r.v" has 1 values',
);

// Record batches: buffers.
afterSchema("buffer offset 4", ints, batchMessage({ buffers: [0n, 0n, 4n, 16n] }), "not a multiple of 8");
afterSchema("buffer offset -8", ints, batchMessage({ buffers: [0n, 0n, -8n, 16n] }), "offset of a buffer is -8");
afterSchema("buffer length -1", ints, batchMessage({ buffers: [0n, 0n, 0n, -1n] }), "length of a buffer is -1");
afterSchema(
  "buffer past the end of the body",
  ints,
  batchMessage({ buffers: [0n, 0n, 56n, 16n] }),
  "covers bytes 56 to 72",
);
afterSchema("buffer length 2^40", ints, batchMessage({ buffers: [0n, 0n, 0n, 1n << 40n] }), "of a body of 64 bytes");
/** Views whose so many data buffers are the same body of 1 MiB. */
const sharedBuffers = (count: number): FlatObject => {
  const buffers = [...viewBuffers, ...Array.from({ length: count }, () => [0n, 1n << 20n]).flat()];
  return batchMessage({ buffers, variadic: [BigInt(count)] }, { bodyLength: 1n << 20n });
};
afterSchema("buffers that share their bytes too often", views, sharedBuffers(64), "more than 64 times the 1048576");
/** One column of 4 rows whose buffer `index` is a byte too short. */
const short = (
  name: string,
  column: FlatObject,
  sizes: number[],
  index: number,
  what: string,
  nodes?: bigint[],
): void => {
  const buffers = sizes.flatMap((size, i) => [0n, BigInt(i === index ? size - 1 : size)]);
  const variadic = name.includes("view") && !name.includes("list") ? [BigInt(sizes.length - 2)] : undefined;
  afterSchema(`short buffer: ${name}`, [column], batchMessage({ nodes: nodes ?? [4n, 0n], buffers, variadic }), what);
};
short("int32 values", int32(), [0, 16], 1, "value buffer");
short("int32 validity", int32(), [1, 16], 0, "validity buffer", [4n, 1n]);
short("bool values", field("x", 6), [0, 1], 1, "value buffer");
short(
  "decimal256 values",
  field("x", 7, [{ i32: 5 }, { i32: 0 }, { i32: 256 }]),
  [0, 128].map((n) => n && 64),
  1,
  "expected 128",
);
short("fixed-size binary values", field("x", 15, [{ i32: 3 }]), [0, 12], 1, "value buffer");
short("month-day-nano values", field("x", 11, [{ i16: 2 }]), [0, 64], 1, "value buffer");
short("utf8 offsets", field("x", 5), [0, 20, 0], 1, "offset buffer");
short("large utf8 offsets", field("x", 20), [0, 40, 0], 1, "offset buffer");
short("view", field("x", 24), [0, 64, 0], 1, "view buffer");
short("list offsets", field("x", 12, [], [field("c", 1)]), [0, 20], 1, "offset buffer", [4n, 0n, 0n, 0n]);
short("large list offsets", field("x", 21, [], [field("c", 1)]), [0, 40], 1, "offset buffer", [4n, 0n, 0n, 0n]);
short("list view offsets", field("x", 25, [], [field("c", 1)]), [0, 16, 16], 1, "offset buffer", [4n, 0n, 0n, 0n]);
short("list view sizes", field("x", 25, [], [field("c", 1)]), [0, 16, 16], 2, "size buffer", [4n, 0n, 0n, 0n]);
short("large list view offsets", field("x", 26, [], [field("c", 1)]), [0, 32, 32], 1, "offset buffer", [
  4n,
  0n,
  0n,
  0n,
]);
short("large list view sizes", field("x", 26, [], [field("c", 1)]), [0, 32, 32], 2, "size buffer", [4n, 0n, 0n, 0n]);
short("union type ids", union([0], 1), [4, 0, 16], 0, "type id buffer", [4n, 0n, 4n, 0n]);
short("dense union offsets", union([0], 1, 1), [4, 16, 0, 16], 1, "offset buffer", [4n, 0n, 4n, 0n]);
short("dictionary indices", field("x", 5, [], [], encoding(1n)), [0, 4], 1, "value buffer");
afterSchema("codec 2", ints, batchMessage({ compression: [2, 0] }), "codec is 2");
afterSchema("compression method 1", ints, batchMessage({ compression: [0, 1] }), "compression method is 1");
afterSchema(
  "compressed buffer of 7 bytes",
  ints,
  batchMessage({ compression: [1, 0], buffers: [0n, 0n, 0n, 7n] }),
  "has 7 bytes, expected 0, or 8",
);
afterSchema(
  "compressed buffer missing",
  ints,
  batchMessage({ compression: [1, 0], buffers: [0n, 0n, 0n, 0n] }),
  "has 0 bytes, expected 16",
);

// Dictionaries.
const words = [field("x", 5, [], [], encoding(7n))];
const values = batch({ buffers: [0n, 0n, 0n, 20n, 0n, 0n] });
afterSchema("unknown dictionary id", words, dictionaryMessage(8n, values), "dictionary id 8 is not in the schema");
afterSchema("dictionary without values", words, dictionaryMessage(7n, null), "dictionary 7 has no values");
afterSchema("dictionary of the wrong shape", words, dictionaryMessage(7n, batch()), "2 buffers, expected 3");

/** All cases. */
export const HOSTILE_METADATA: readonly HostileCase[] = cases;

/** Streams that must be accepted: they show that the cases above fail for what they say and nothing else. */
export const SOUND_METADATA: readonly { name: string; frames: Uint8Array<ArrayBuffer>[] }[] = [
  { name: "integers", frames: [good, flat(batchMessage())] },
  {
    name: "type parameters at their bounds",
    frames: [
      flat(schemaMessage([
        ...[0, 1, 2].map((precision) => field(`float ${precision}`, 3, [{ i16: precision }])),
        ...[[9, 32], [18, 64], [38, 128], [76, 256], [1, 128]].map(([precision, bits]) =>
          field(`decimal ${bits}`, 7, [{ i32: precision }, { i32: -3 }, { i32: bits }])
        ),
        field("time s", 9, [{ i16: 0 }, { i32: 32 }]),
        field("time ns", 9, [{ i16: 3 }, { i32: 64 }]),
        field("nothing wide", 15, [{ i32: 0 }]),
        field("no values", 16, [{ i32: 0 }], [int32()]),
        union([0, 127], 2),
        union(null, 128),
        field("map", 17, [], [field("entries", 13, [], [int32("key"), int32("value")])]),
        field("large list view", 26, [], [int32()]),
        field("shared a", 5, [], [], encoding(-1n)),
        field("shared b", 5, [], [], encoding(-1n)),
        field("default indices", 5, [], [], { table: [{ i64: 3n }] }),
      ])),
    ],
  },
  {
    name: "counts at their limits",
    frames: [
      flat(schemaMessage([field("n", 1)])),
      flat(
        batchMessage({ rows: 2147483647n, nodes: [2147483647n, 2147483647n], buffers: [] }, { bodyLength: 1n << 32n }),
      ),
    ],
  },
  {
    name: "a compressed buffer that is nothing but its length, and a buffer that ends with the body",
    frames: [
      good,
      flat(batchMessage({ compression: [0, 0], buffers: [0n, 0n, 0n, 8n] })),
      flat(batchMessage({ buffers: [64n, 0n, 48n, 16n] })),
    ],
  },
  { name: "metadata V4", frames: [flat(schemaMessage(ints, { version: 3 })), flat(batchMessage({}, { version: 3 }))] },
  { name: "big-endian", frames: [flat(schemaMessage(ints, { endianness: 1 })), flat(batchMessage())] },
  {
    name: "64 levels",
    frames: [
      flat(schemaMessage([Array.from({ length: 63 }).reduce<FlatObject>((f) => field("s", 13, [], [f]), int32())])),
    ],
  },
  {
    name: "views",
    frames: [flat(schemaMessage(views)), flat(batchMessage({ buffers: [...viewBuffers, 0n, 9n], variadic: [1n] }))],
  },
  { name: "buffers that share their bytes", frames: [flat(schemaMessage(views)), flat(sharedBuffers(63))] },
  { name: "dictionary", frames: [flat(schemaMessage(words)), flat(dictionaryMessage(7n, values, true))] },
  {
    name: "run ends",
    frames: [
      flat(schemaMessage(runs)),
      flat(batchMessage({ nodes: [4n, 0n, 2n, 0n, 2n, 0n], buffers: [0n, 0n, 0n, 8n, 0n, 0n, 8n, 8n] })),
    ],
  },
  {
    name: "union of metadata V4, with its validity buffer",
    frames: [
      flat(schemaMessage([union([0], 1)], { version: 3 })),
      flat(batchMessage({ nodes: [4n, 0n, 4n, 0n], buffers: [0n, 0n, 0n, 4n, 0n, 0n, 8n, 16n] }, { version: 3 })),
    ],
  },
];
