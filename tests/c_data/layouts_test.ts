/**
 * Arrays of every type in the layouts that other exporters give, through nanoarrow and Arrow C++: offsets of slices on the struct, on
 * its children, and on both; null counts that are not known; bitmaps without a null; views with and without data buffers.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { CStruct, exportRecordBatch, type ForeignBatch, importRecordBatch, importSchema } from "../../c_data.ts";
import { cStringAt } from "../../ffi/c_string.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { settled } from "../support/c_data.ts";
import {
  arrowCppLibrary,
  type ArrowCppPeer,
  assertCppEqual,
  cppBatches,
  cppError,
  cppPointer,
  type Guard,
  guardLibrary,
} from "../support/c_peers.ts";
import { goldStreams } from "../support/gold_streams.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { runPython } from "../support/python.ts";

/** How an array is laid out. */
interface Layout {
  /** Rows that the offset of the struct cuts off. */
  readonly outer: bigint;
  /** Rows that the offsets of its children cut off. */
  readonly inner: bigint;
  /** 1: null counts are unknown. 2: bitmaps without a null. 4: a buffer in columns of type null. 8: views without data buffers. */
  readonly flags: number;
}

const LAYOUTS: readonly Layout[] = [
  { outer: 0n, inner: 0n, flags: 0 },
  { outer: 5n, inner: 0n, flags: 1 },
  { outer: 0n, inner: 8n, flags: 2 },
  { outer: 3n, inner: 6n, flags: 7 },
  { outer: 16n, inner: 1n, flags: 8 },
];

/** A batch of Arrow C++ in guarded memory, and its schema. */
function guarded(
  cpp: ArrowCppPeer,
  guard: Guard,
  batch: bigint,
  layout: Layout,
  array: CStruct,
  schema: CStruct,
): void {
  using exported = new CStruct("ArrowArray");
  if (cpp.cpp_export(batch, 0, 0n, 0n, exported.address, schema.address) !== 0) throw cppError(cpp);
  const { outer, inner, flags } = layout;
  const code = guard.guard_copy(exported.address, schema.address, array.address, flags, outer, inner);
  assertEquals(code, 0, cStringAt(guard.guard_error())!);
}

/** Hands a batch to nanoarrow and from there to Arrow C++, which must find it equal to a slice of the original. */
function checkEqual(cpp: ArrowCppPeer, guard: Guard, batch: ForeignBatch, original: bigint, offset: bigint): void {
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  using passedArray = new CStruct("ArrowArray");
  using passedSchema = new CStruct("ArrowSchema");
  exportRecordBatch(batch, array.address, schema.address);
  const code = guard.nano_pass(array.address, schema.address, passedArray.address, passedSchema.address);
  assertEquals(code, 0, cStringAt(guard.guard_error())!);
  const back = importRecordBatch(passedArray.address, passedSchema.address);
  exportRecordBatch(back, array.address, schema.address);
  const found = cppPointer(cpp, cpp.cpp_import(array.address, schema.address));
  assertCppEqual(cpp, original, found, { offset, length: cpp.cpp_rows(original) - offset });
  cpp.cpp_free(found);
}

/** Reads each column that apache-arrow can hold, which checks it. */
function readColumns(batch: ForeignBatch): void {
  let arrow;
  try {
    arrow = batch.toRecordBatch();
  } catch {
    batch[Symbol.dispose]();
    return; // a type that apache-arrow lacks; what it has is compared by the tests of gold files
  }
  for (let i = 0; i < arrow.numCols; i++) arrow.getChildAt(i)!.toArray();
  arrow[Symbol.dispose]();
}

async function checkStream(cpp: ArrowCppPeer, guard: Guard, path: string): Promise<number> {
  let checked = 0;
  const originals = cppBatches(cpp, path);
  for (const original of originals) {
    const rows = cpp.cpp_rows(original);
    for (const layout of LAYOUTS) {
      const offset = layout.outer + layout.inner;
      if (offset > rows) continue;
      using array = new CStruct("ArrowArray");
      using schema = new CStruct("ArrowSchema");
      guarded(cpp, guard, original, layout, array, schema);
      const header = importSchema(schema.address);
      checkEqual(cpp, guard, importRecordBatch(array.address, header), original, offset);
      guarded(cpp, guard, original, layout, array, schema);
      readColumns(importRecordBatch(array.address, schema.address));
      // In one piece, as a transport sends it.
      guarded(cpp, guard, original, layout, array, schema);
      const messages = importRecordBatch(array.address, header).toMessages();
      for (const { body } of messages) assertEquals(body!.bytes().byteLength, body!.byteLength);
      try {
        const decoder = new BatchDecoder(header);
        for (const message of messages) decoder.decode(message)?.toArray();
      } catch {
        // As above.
      }
      for (const { body } of messages) body!.release();
      checked++;
    }
    cpp.cpp_free(original);
  }
  await settled();
  assertEquals([guard.guard_live(), guard.guard_faults()], [0n, 0n]);
  return checked;
}

peerTest(
  ["compiler", "nanoarrow", "arrowCpp", "python"],
  "arrays of every type come in and go out in every layout",
  async (peers) => {
    using folder = new TemporaryFolder();
    const path = folder.file("all.arrows");
    await runPython("make_all_types.py", [path]);
    const cpp = arrowCppLibrary(peers), guard = guardLibrary(peers);
    assert(await checkStream(cpp, guard, path) > 5);
    // Views come with data buffers, and without any.
    const [original, empty] = cppBatches(cpp, path);
    using array = new CStruct("ArrowArray");
    using schema = new CStruct("ArrowSchema");
    guarded(cpp, guard, original, { outer: 0n, inner: 0n, flags: 8 }, array, schema);
    using batch = importRecordBatch(array.address, schema.address);
    const counts = new Map(batch.columns.map(({ name, variadic }) => [name, variadic.length]));
    assertEquals([counts.get("utf8_view"), counts.get("short_views")], [1, 0]);
    for (const each of [original, empty]) cpp.cpp_free(each);
  },
);

peerTest(
  ["compiler", "nanoarrow", "arrowCpp"],
  "arrays of the gold files come in and go out in every layout",
  async (peers) => {
    for (const { path } of goldStreams()) await checkStream(arrowCppLibrary(peers), guardLibrary(peers), path);
  },
);
