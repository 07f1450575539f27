/**
 * A batch whose content leads out of its buffers, as a peer may send it, is not handed to a library that trusts it.
 *
 * @module
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { Data, type DataType, Field, RecordBatch, Schema, Struct } from "apache-arrow";
import { CStruct, exportRecordBatch, exportStream } from "../../c_data.ts";
import { DipcError } from "../../src/errors.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { BatchEncoder } from "../../src/ipc/encode.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { settled } from "../support/c_data.ts";
import { arrowCppLibrary, type ArrowCppPeer, cppBatches, cppError, cppPointer } from "../support/c_peers.ts";
import { allTypes, randomColumn } from "../support/ipc_columns.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { runPython } from "../support/python.ts";
import { type Random, seededRandom } from "../support/random.ts";

/** Damaged bodies of each type. */
const DAMAGES = 30;
/** Faults that Arrow C++ finds, but that lead nowhere. */
const HARMLESS =
  /UTF8|does not fit|whole number of days|null_count|null count|acceptable range|Map array|should have no nulls|inlined prefix|padding|non-monotonic/;

function makeBatch(type: DataType, random: Random): RecordBatch {
  const schema = new Schema([new Field("c", type, true)]);
  const column = randomColumn(type, 40, random);
  return new RecordBatch(schema, new Data(new Struct(schema.fields), 0, 40, 0, undefined, [column]));
}

/** Exports to Arrow C++, which must find no fault that matters. @returns whether it was exported */
function isTaken(cpp: ArrowCppPeer, batch: RecordBatch, what: string): boolean {
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  try {
    exportRecordBatch(batch, array.address, schema.address);
  } catch (error) {
    assert(error instanceof DipcError && error.code === "invalid_data", `${what}: ${(error as Error).stack}`);
    return false;
  }
  const found = cpp.cpp_import(array.address, schema.address);
  if (found === 0n) {
    const { message } = cppError(cpp);
    assert(HARMLESS.test(message), `${what}: ${message}`);
  } else cpp.cpp_free(found);
  return true;
}

peerTest(["arrowCpp"], "a damaged body is exported only if Arrow C++ can use it", async ({ arrowCpp }) => {
  const cpp = arrowCppLibrary({ arrowCpp });
  const random = seededRandom();
  let refused = 0, taken = 0;
  for (const type of allTypes()) {
    const batch = makeBatch(type, random);
    for (let i = 0; i < DAMAGES; i++) {
      const encoder = new BatchEncoder(batch.schema, hostPool());
      const messages = encoder.encode(batch);
      const decoder = new BatchDecoder(encoder.schemaHeader);
      const [damaged] = messages.slice(-1);
      const bytes = damaged.body!.bytes();
      if (i > 0 && bytes.byteLength > 0) bytes[random.below(bytes.byteLength)] = random.pick([0, 1, 127, 128, 255]);
      const decoded = messages.map((message) => decoder.decode(message)).at(-1)!;
      if (isTaken(cpp, decoded, `${type}`)) taken++;
      else {
        refused++;
        assert(i > 0, `${type} is refused as it is`);
      }
      decoded[Symbol.dispose]();
    }
  }
  console.log(`${taken} bodies were exported, ${refused} refused`);
  assertGreater(refused, 50);
  await settled();
});

peerTest(
  ["arrowCpp", "python"],
  "so it is for types that apache-arrow lacks, in a stream of messages",
  async (peers) => {
    const cpp = arrowCppLibrary(peers);
    const random = seededRandom(1);
    using folder = new TemporaryFolder();
    const path = folder.file("all.arrows");
    await runPython("make_all_types.py", [path]);
    const [whole, empty] = cppBatches(cpp, path);
    cpp.cpp_free(whole);
    cpp.cpp_free(empty);
    let refused = 0;
    for (let i = 0; i < 100; i++) {
      const dataset = await openPath(path);
      const run = await dataset.open();
      const next = async () => {
        const message = await run.next();
        const bytes = message?.body?.bytes();
        if (bytes !== undefined && message!.header.kind === "batch" && bytes.byteLength > 0) {
          for (let k = 0; k < 3; k++) bytes[random.below(bytes.byteLength)] = random.pick([0, 1, 127, 128, 255]);
        }
        return message;
      };
      using stream = new CStruct("ArrowArrayStream");
      await exportStream({ schema: dataset.schema, open: () => ({ next, close: () => run.close() }) }, stream.address);
      const reader = cppPointer(cpp, cpp.cpp_import_stream(stream.address));
      for (let batch; (batch = await cpp.cpp_next_later(reader)) !== 0n;) cpp.cpp_free(batch);
      const { message } = cppError(cpp);
      if (message.includes("cannot use column")) refused++;
      else assert(message === "" || HARMLESS.test(message), message);
      cpp.cpp_free_stream(reader);
      await dataset.close();
    }
    console.log(`${refused} of 100 streams were refused`);
    assertGreater(refused, 10);
    assertEquals(refused < 100, true);
    await settled();
  },
);
