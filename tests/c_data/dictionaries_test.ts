/**
 * Dictionaries that grow in several messages come in one piece, for every type of value; those that do not change come once.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  Data,
  type DataType,
  Dictionary,
  Field,
  Int32,
  RecordBatch,
  Schema,
  Struct,
  Table,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import {
  CStruct,
  exportRecordBatch,
  exportSchema,
  exportStream,
  importRecordBatch,
  importSchema,
  importStream,
} from "../../c_data.ts";
import { readAddress } from "../../src/c_data/raw.ts";
import { C_LAYOUT } from "../../src/c_data/structs.ts";
import { arrowReadableStream } from "../../src/formats/readable_stream.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { BatchEncoder } from "../../src/ipc/encode.ts";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { assertDipcError } from "../support/assert.ts";
import { settled } from "../support/c_data.ts";
import { arrowCppLibrary, assertCppEqual, cppBatches, cppError, cppPointer } from "../support/c_peers.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { plainColumns } from "../support/ipc_values.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { wordsAt } from "./support/mutations.ts";

/** Values that each batch adds to its dictionary: so many times that they are put together as they come. */
const ADDED = [7, 0, 5, ...Array.from({ length: 20 }, (_, i) => i % 4)];

/** Batches whose dictionaries grow: each is the one before it, and one more chunk. */
function growing(type: DataType, random: Random): { schema: Schema; batches: RecordBatch[] } {
  const dictionary = new Dictionary(type, new Int32(), 1);
  const schema = new Schema([new Field("d", dictionary, true)]);
  const chunks: Data[] = [];
  const batches = ADDED.map((count) => {
    chunks.push(randomColumn(type, count, random));
    const values = new Vector([...chunks]);
    const indices = Int32Array.from({ length: 20 }, () => random.below(values.length));
    const column = new Data(
      dictionary as DataType,
      0,
      20,
      0,
      [undefined, indices, undefined] as never,
      [],
      values as never,
    );
    return new RecordBatch(schema, new Data(new Struct(schema.fields), 0, 20, 0, undefined, [column]));
  });
  return { schema, batches };
}

async function write(path: string, messages: readonly IpcMessage[]): Promise<void> {
  async function* all(): AsyncGenerator<IpcMessage> {
    yield* messages;
  }
  await Deno.writeFile(path, arrowReadableStream(all(), () => Promise.resolve()));
}

/** Types whose random values Arrow C++ refuses in a dictionary, or whose dictionaries it does not put together. */
const SKIPPED = /Union|Decimal|Date64|Time|Map/;

peerTest(["arrowCpp"], "a dictionary that grows comes in one piece, for every type of value", async ({ arrowCpp }) => {
  const cpp = arrowCppLibrary({ arrowCpp });
  const random = seededRandom();
  using folder = new TemporaryFolder();
  for (const type of allTypes()) {
    if (SKIPPED.test(String(type)) || type instanceof Dictionary) continue;
    const { schema, batches } = growing(type, random);
    const encode = (): { header: IpcMessage; messages: IpcMessage[] } => {
      const encoder = new BatchEncoder(schema, hostPool());
      const header = { header: encoder.schemaHeader, body: null };
      return { header, messages: batches.flatMap((batch) => encoder.encode(batch)) };
    };
    const first = encode();
    assertEquals(first.messages.filter(({ header }) => header.isDelta).length > 0, true, `${type}`);
    const path = folder.file("deltas.arrows");
    await write(path, [first.header, ...first.messages]);
    let expected;
    try {
      expected = cppBatches(cpp, path);
    } catch (error) {
      throw new Error(`${type}`, { cause: error });
    }
    // By messages.
    const { header, messages } = encode();
    using stream = new CStruct("ArrowArrayStream");
    const run = { next: () => messages.shift() ?? null, close: () => {} };
    await exportStream({ schema: header.header, open: () => run }, stream.address);
    const reader = cppPointer(cpp, cpp.cpp_import_stream(stream.address));
    for (const batch of expected) {
      const found = cppPointer(cpp, await cpp.cpp_next_later(reader));
      assertCppEqual(cpp, batch, found);
      cpp.cpp_free(found);
    }
    assertEquals([cpp.cpp_next(reader), cppError(cpp).message], [0n, ""]);
    cpp.cpp_free_stream(reader);
    // By batches, decoded.
    const again = encode();
    const decoder = new BatchDecoder(again.header.header);
    using array = new CStruct("ArrowArray");
    using target = new CStruct("ArrowSchema");
    let index = 0;
    for (const message of again.messages) {
      const batch = decoder.decode(message);
      if (batch === null) continue;
      exportRecordBatch(batch, array.address, target.address);
      batch[Symbol.dispose]();
      const found = cppPointer(cpp, cpp.cpp_import(array.address, target.address));
      assertCppEqual(cpp, expected[index++], found);
      cpp.cpp_free(found);
    }
    for (const batch of expected) cpp.cpp_free(batch);
  }
  await settled();
});

Deno.test("a dictionary that grows has the same values after an export and an import", async () => {
  const random = seededRandom(2);
  for (const type of allTypes()) {
    if (type instanceof Dictionary) continue;
    const { schema, batches } = growing(type, random);
    const encoder = new BatchEncoder(schema, hostPool());
    const messages = batches.flatMap((batch) => encoder.encode(batch));
    using stream = new CStruct("ArrowArrayStream");
    const run = { next: () => messages.shift() ?? null, close: () => {} };
    await exportStream({ schema: encoder.schemaHeader, open: () => run }, stream.address);
    let index = 0;
    for await (using batch of await importStream(stream.address)) {
      assertEquals(plainColumns(batch), plainColumns(batches[index++]), `${type}`);
    }
    assertEquals(index, batches.length);
  }
  await settled();
});

Deno.test("a dictionary that every batch brings again is sent once, until it changes", async () => {
  const random = seededRandom(1);
  const [utf8] = allTypes().filter((type) => String(type) === "Utf8");
  const { schema, batches } = growing(utf8, random);
  const [first, , third] = batches;
  using stream = new CStruct("ArrowArrayStream");
  await exportStream([first, first, third, third, first], stream.address, { schema });
  const kinds: string[] = [];
  for await (const { header, body } of (await importStream(stream.address)).messages()) {
    kinds.push(header.kind);
    body?.release();
  }
  const once = ["dictionary", "batch", "batch"];
  assertEquals(kinds, ["schema", ...once, ...once, "dictionary", "batch"]);
  await settled();
});

Deno.test("a table without rows, in which apache-arrow keeps vectors as columns, is exported and encoded", async () => {
  const type = new Dictionary(new Utf8(), new Int32(), 5);
  const [batch] = new Table({ n: vectorFromArray([], new Int32()), d: vectorFromArray([], type) }).batches;
  assert(batch.data.children.some((column) => column as unknown instanceof Vector));
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  exportRecordBatch(batch, array.address, schema.address);
  using back = importRecordBatch(array.address, schema.address).toRecordBatch();
  const encoder = new BatchEncoder(batch.schema, hostPool());
  const decoder = new BatchDecoder(encoder.schemaHeader);
  const decoded = encoder.encode(batch).map((message) => decoder.decode(message)).at(-1)!;
  for (const each of [back, decoded]) assertEquals([each.numRows, String(each.schema)], [0, String(batch.schema)]);
  decoded[Symbol.dispose]();
  back[Symbol.dispose]();
  await settled();
});

Deno.test("a dictionary that has a dictionary itself, which messages cannot represent, is refused by its name", () => {
  const schema = new Schema([new Field("outer", new Dictionary(new Utf8(), new Int32(), 1), true)]);
  using outer = new CStruct("ArrowSchema");
  using inner = new CStruct("ArrowSchema");
  for (const { address } of [outer, inner]) exportSchema(schema, address);
  const AT = C_LAYOUT.ArrowSchema;
  const childOf = ({ address }: CStruct): bigint => readAddress(readAddress(address + BigInt(AT.children)));
  // The values of the one are what the other one is.
  wordsAt(childOf(outer), AT.size / 8)[AT.dictionary / 8] = childOf(inner);
  assertDipcError(
    "unsupported",
    'dictionary of field "outer" has a dictionary itself',
    () => importSchema(outer.address),
  );
});
