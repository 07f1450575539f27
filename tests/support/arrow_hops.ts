/**
 * Sends Arrow streams through libraries in C, which give each batch back, and through databases, which give a table back.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { AdbcConnection } from "../../adbc.ts";
import {
  CStruct,
  exportRecordBatch,
  exportStream,
  type ForeignBatch,
  type ForeignBuffer,
  type ForeignColumn,
  type ForeignStream,
  importRecordBatch,
  importStream,
} from "../../c_data.ts";
import { cStringAt } from "../../ffi/c_string.ts";
import { arrowReadableStream } from "../../src/formats/readable_stream.ts";
import { zeroAddress } from "../../src/c_data/raw.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { type ArrowCppPeer, cppError, cppPointer, type Guard } from "./c_peers.ts";

/** Hands a batch to a library, which hands it back. */
export type Hop = (batch: ForeignBatch) => ForeignBatch;

/** A hop through Arrow C++, which imports, validates and exports. */
export function cppHop(cpp: ArrowCppPeer): Hop {
  return (batch) => {
    using array = new CStruct("ArrowArray");
    using schema = new CStruct("ArrowSchema");
    exportRecordBatch(batch, array.address, schema.address);
    const there = cppPointer(cpp, cpp.cpp_import(array.address, schema.address));
    if (cpp.cpp_export(there, 0, 0n, 0n, array.address, schema.address) !== 0) throw cppError(cpp);
    cpp.cpp_free(there);
    return importRecordBatch(array.address, schema.address);
  };
}

/** A hop through nanoarrow, which validates the array and copies its schema. */
export function nanoarrowHop(guard: Guard): Hop {
  return (batch) => {
    using array = new CStruct("ArrowArray");
    using schema = new CStruct("ArrowSchema");
    using passedArray = new CStruct("ArrowArray");
    using passedSchema = new CStruct("ArrowSchema");
    exportRecordBatch(batch, array.address, schema.address);
    const code = guard.nano_pass(array.address, schema.address, passedArray.address, passedSchema.address);
    assertEquals(code, 0, cStringAt(guard.guard_error())!);
    return importRecordBatch(passedArray.address, passedSchema.address);
  };
}

/** The buffers of columns that have bytes, with those of dictionaries; not the only offset of a column without rows. */
function buffersOf(columns: readonly ForeignColumn[]): ForeignBuffer[] {
  return columns.flatMap((column) => {
    const { validity, offsets, sizes, typeIds, data, variadic, children, dictionary } = column;
    const own = [validity, offsets, sizes, typeIds, data, ...variadic].filter((each) => each !== null);
    return [...own, ...buffersOf([...children, ...dictionary === null ? [] : [dictionary]])];
  }).filter(({ byteLength, address }) => byteLength > 0 && address !== zeroAddress());
}

/** The places of the bodies of the messages of a file; what was decompressed cannot be in them. */
class Bodies {
  readonly #ranges: (readonly [first: bigint, end: bigint])[] = [];
  isCompressed = false;

  add({ header, body }: IpcMessage): void {
    if (header.compression !== "none") this.isCompressed = true;
    if (body !== null) this.#ranges.push([body.address, body.address + BigInt(body.byteLength)]);
  }

  has({ address, byteLength }: ForeignBuffer): boolean {
    return this.#ranges.some(([first, end]) => first <= address && address + BigInt(byteLength) <= end);
  }
}

/**
 * Sends each batch of an Arrow stream through a library, and writes what came back.
 *
 * @param path The stream
 * @param target Path of the stream that is written
 * @returns How many of the buffers have left their place: the messages of the file, and the address before the hop
 */
export async function throughLibrary(path: string, target: string, hop: Hop): Promise<number> {
  const dataset = await openPath(path);
  const bodies = new Bodies();
  const open = async () => {
    const run = await dataset.open();
    const next = async (): Promise<IpcMessage | null> => {
      const message = await run.next();
      if (message !== null) bodies.add(message);
      return message;
    };
    return { next, close: () => run.close() };
  };
  using out = new CStruct("ArrowArrayStream");
  await exportStream({ schema: dataset.schema, open }, out.address);
  const stream = await importStream(out.address);
  let moved = 0;
  async function* messages(): AsyncGenerator<IpcMessage> {
    let schema: MessageHeader | null = null;
    for await (const batch of stream.batches()) {
      const before = buffersOf(batch.columns);
      const back = hop(batch);
      const after = buffersOf(back.columns);
      assertEquals(after.length, before.length);
      moved += after.filter(({ address }, i) => address !== before[i].address).length;
      if (!bodies.isCompressed) moved += after.filter((buffer) => !bodies.has(buffer)).length;
      if (schema === null) yield { header: schema = back.schemaHeader, body: null };
      yield* back.toMessages();
    }
    if (schema === null) yield { header: dataset.schema, body: null };
  }
  await Deno.writeFile(target, arrowReadableStream(messages()));
  await dataset.close();
  return moved;
}

/** Writes a stream of a database into a file. */
async function write(path: string, stream: ForeignStream): Promise<void> {
  await Deno.writeFile(path, arrowReadableStream(stream.messages()[Symbol.asyncIterator]()));
}

/**
 * Ingests an Arrow stream into a table of a database, reads the table, and copies it into another one by ingesting what is read.
 *
 * @param connections One that reads the table, and one that writes its copy
 * @param path The stream
 * @param targets Paths of the streams that are written: what the table gives, and what its copy gives
 * @throws {DipcError} What the driver reports of the first table
 */
export async function throughDatabase(
  [first, second]: readonly [AdbcConnection, AdbcConnection],
  path: string,
  [table, copy]: readonly [string, string],
): Promise<void> {
  const dataset = await openPath(path);
  try {
    await first.ingest("hop", dataset);
    await write(table, await first.query("select * from hop"));
    await second.ingest("copy", await first.query("select * from hop"));
    await write(copy, await second.query("select * from copy"));
  } finally {
    await dataset.close();
    for (const name of ["hop", "copy"]) await first.execute(`drop table if exists ${name}`);
  }
}
