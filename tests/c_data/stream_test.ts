/**
 * Streams to and from libraries in C and C++, on this thread and on others.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type RecordBatch, Table, Utf8, vectorFromArray } from "apache-arrow";
import {
  CStruct,
  exportDeviceStream,
  exportStream,
  type ForeignStream,
  importDeviceStream,
  importStream,
  type StreamSource,
} from "../../c_data.ts";
import { cStringAt } from "../../ffi/c_string.ts";
import { cString } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { assertDipcError } from "../support/assert.ts";
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
import { settled } from "../support/c_data.ts";
import { goldStreams } from "../support/gold_streams.ts";
import { peerTest } from "../support/peers.ts";

function batches(count: number, rows = 10): RecordBatch[] {
  return Array.from({ length: count }, (_, i) =>
    new Table({
      n: vectorFromArray(Int32Array.from({ length: rows }, (_, row) => 100 * i + row)),
      s: vectorFromArray(Array.from({ length: rows }, (_, row) => `value ${i} ${row}`), new Utf8()),
    }).batches[0]);
}

const table = new Table(batches(10));

/** What a consumer in C read: the sum of all bytes, the number of batches, or the negated errno. */
interface Read {
  readonly sum: bigint;
  readonly batches: number;
}

async function read(guard: Guard, source: StreamSource, isOnThread: boolean): Promise<Read> {
  using stream = new CStruct("ArrowArrayStream");
  await exportStream(source, stream.address);
  const count = new BigInt64Array(1), bytes = new Uint8Array(count.buffer);
  const sum = isOnThread
    ? await guard.guard_read_stream_later(stream.address, bytes)
    : guard.guard_read_stream(stream.address, bytes);
  assert(stream.isReleased);
  return { sum, batches: Number(count[0]) };
}

peerTest(["compiler", "nanoarrow"], "a stream is read to its end on this thread, and on another one", async (peers) => {
  const guard = guardLibrary(peers);
  const expected = await read(guard, table, false);
  assertEquals(expected.batches, 10);
  const sources: (() => StreamSource)[] = [
    () => table,
    () => table.batches,
    () => table.batches.values(),
    async function* (): AsyncGenerator<RecordBatch> {
      for (const batch of table.batches) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        yield batch;
      }
    },
  ];
  for (const [i, source] of sources.entries()) {
    assertEquals(await read(guard, source(), true), expected, `source ${i}`);
    if (i < 3) assertEquals(await read(guard, source(), false), expected, `source ${i}`);
  }
  // Several consumers at once, each with a thread of its own.
  const all = await Promise.all(Array.from({ length: 8 }, () => read(guard, sources[3](), true)));
  for (const each of all) assertEquals(each, expected);
  await settled();
});

peerTest(
  ["compiler", "nanoarrow"],
  "a stream that fails says why, and one that waits for its own thread, too",
  async (peers) => {
    const guard = guardLibrary(peers);
    let isClosed = false;
    async function* failing(error: unknown): AsyncGenerator<RecordBatch> {
      try {
        yield* table.batches.slice(0, 2);
        throw error;
      } finally {
        isClosed = true;
      }
    }
    assertEquals((await read(guard, failing(new DipcError("timeout", "cannot go on: too slow")), true)).batches, -110);
    assertEquals(cStringAt(guard.guard_error()), "cannot go on: too slow");
    assert(isClosed);
    assertEquals((await read(guard, failing(new Error("boom")), true)).batches, -5);
    assertStringIncludes(cStringAt(guard.guard_error())!, "boom");
    assertEquals((await read(guard, failing(null), false)).batches, -35);
    assertStringIncludes(cStringAt(guard.guard_error())!, "nonblocking call");
    const other = new Table({ other: vectorFromArray(Int32Array.of(1)) });
    assertEquals((await read(guard, [table.batches[0], other.batches[0]], false)).batches, -22);
    assertStringIncludes(cStringAt(guard.guard_error())!, "another schema");
    using stream = new CStruct("ArrowArrayStream");
    await assertDipcError("invalid_argument", "give the schema", () => exportStream([], stream.address));
    await assertDipcError("invalid_argument", "give a table", () => exportStream(7 as never, stream.address));
    await assertDipcError("invalid_argument", "address is 0", () => exportStream(table, 0n));
    await exportStream([], stream.address, { schema: table.schema });
    assertEquals((await Array.fromAsync(await importStream(stream.address))).length, 0);
    await settled();
  },
);

peerTest(["arrowCpp"], "a consumer that stops early releases what was prepared for it", async ({ arrowCpp }) => {
  const cpp = arrowCppLibrary({ arrowCpp });
  let open = 0;
  async function* source(): AsyncGenerator<RecordBatch> {
    open++;
    try {
      for (;;) yield* table.batches;
    } finally {
      open--;
    }
  }
  using stream = new CStruct("ArrowArrayStream");
  await exportStream(source(), stream.address, { schema: table.schema });
  const reader = cppPointer(cpp, cpp.cpp_import_stream(stream.address));
  const batch = cppPointer(cpp, await cpp.cpp_next_later(reader));
  assertEquals([cpp.cpp_rows(batch), open], [10n, 1]);
  cpp.cpp_free_stream(reader);
  cpp.cpp_free(batch);
  await settled();
  assertEquals(open, 0);
});

/** Reads all of a stream of dipc with Arrow C++; each batch is to be freed. */
async function readByCpp(cpp: ArrowCppPeer, source: StreamSource): Promise<bigint[]> {
  using stream = new CStruct("ArrowArrayStream");
  await exportStream(source, stream.address);
  const reader = cppPointer(cpp, cpp.cpp_import_stream(stream.address));
  const found: bigint[] = [];
  for (let batch; (batch = await cpp.cpp_next_later(reader)) !== 0n;) found.push(batch);
  const { message } = cppError(cpp);
  cpp.cpp_free_stream(reader);
  assertEquals(message, "");
  return found;
}

/** A stream of Arrow C++ as one of dipc. */
async function openByCpp(cpp: ArrowCppPeer, path: string): Promise<ForeignStream> {
  using stream = new CStruct("ArrowArrayStream");
  const opened = cppPointer(cpp, cpp.cpp_open(cString(path)));
  assertEquals(cpp.cpp_export_stream(opened, stream.address), 0, cppError(cpp).message);
  cpp.cpp_free_stream(opened);
  return await importStream(stream.address);
}

for (const { name, path } of goldStreams()) {
  peerTest(
    ["arrowCpp"],
    `messages of ${name} are equal for Arrow C++, and so are those that it gives`,
    async (peers) => {
      const cpp = arrowCppLibrary(peers);
      const expected = cppBatches(cpp, path);
      const dataset = await openPath(path);
      const fromFile = await readByCpp(cpp, dataset);
      await dataset.close();
      const fromCpp = await readByCpp(cpp, await openByCpp(cpp, path));
      for (const found of [fromFile, fromCpp]) {
        assertEquals(found.length, expected.length);
        found.forEach((batch, i) => assertCppEqual(cpp, expected[i], batch));
        found.forEach((batch) => cpp.cpp_free(batch));
      }
      // Metadata of messages that were imported is as good as that of a peer.
      const stream = await openByCpp(cpp, path);
      const reader = new HeaderReader();
      for await (const { header, body } of stream.messages()) {
        const { nodes, buffers, bodyLength } = reader.read(header.bytes);
        assertEquals([nodes.join(), buffers.join(), bodyLength], [
          header.nodes.join(),
          header.buffers.join(),
          header.bodyLength,
        ]);
        assertEquals(body?.bytes().byteLength ?? 0, bodyLength);
        body?.release();
      }
      for (const batch of expected) cpp.cpp_free(batch);
      await settled();
    },
  );
}

peerTest(["arrowCpp"], "device streams of host memory come in and go out", async ({ arrowCpp }) => {
  const cpp = arrowCppLibrary({ arrowCpp });
  using stream = new CStruct("ArrowDeviceArrayStream");
  await exportDeviceStream(table, stream.address);
  const out = new BigUint64Array(1);
  assertEquals(cpp.cpp_import_device_stream(stream.address, new Uint8Array(out.buffer)), 0, cppError(cpp).message);
  assertEquals(cpp.cpp_export_device_stream(out[0], stream.address), 0, cppError(cpp).message);
  cpp.cpp_free_stream(out[0]);
  let rows = 0;
  for await (const batch of (await importDeviceStream(stream.address)).batches()) {
    assertEquals([batch.device.space, batch.device.deviceType, batch.device.syncEvent], ["host", 1, 0n]);
    using arrow = batch.toRecordBatch();
    assertEquals(arrow.getChild("s")?.get(3), `value ${rows / 10} 3`);
    rows += arrow.numRows;
  }
  assertEquals(rows, 100);
  await settled();
});

Deno.test("a read that is cancelled does not wait for a library that does not answer", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isClosed = false;
  async function* slow(): AsyncGenerator<RecordBatch> {
    try {
      yield table.batches[0];
      await promise;
      yield table.batches[1];
    } finally {
      isClosed = true;
    }
  }
  using stream = new CStruct("ArrowArrayStream");
  await exportStream(slow(), stream.address, { schema: table.schema });
  const abort = new AbortController();
  const imported = await importStream(stream.address, { signal: abort.signal });
  (await imported.next())![Symbol.dispose]();
  const pending = imported.next();
  await assertDipcError("invalid_argument", "await it first", () => imported.next());
  setTimeout(() => abort.abort("enough"), 20);
  const error = await assertDipcError("cancelled", "imported stream was cancelled", () => pending);
  assertEquals(error.cause, "enough");
  await assertDipcError("cancelled", "", () => imported.next());
  resolve();
  await imported.cancel();
  await settled();
  assert(isClosed);
});

Deno.test("a stream is read on this thread on request, and one without callbacks is refused", async () => {
  using stream = new CStruct("ArrowArrayStream");
  await exportStream(table, stream.address);
  let rows = 0;
  for await (using batch of await importStream(stream.address, { blocking: true })) rows += batch.numRows;
  assertEquals(rows, table.numRows);
  await exportStream(table, stream.address);
  const words = new BigInt64Array(
    Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(stream.address)!, 40) as ArrayBuffer,
  );
  words[1] = 0n; // get_next
  await assertDipcError("invalid_data", "callbacks is missing", () => importStream(stream.address));
  assert(stream.isReleased);
  await assertDipcError("invalid_argument", "released or moved", () => importStream(stream.address));
  await assertDipcError("invalid_argument", "no such option", () => importStream(1n, { isBlocking: true } as never));
  await assertDipcError("invalid_argument", "no such option", () => exportStream(table, 1n, { schem: 1 } as never));
  await settled();
});
