/**
 * Record batches go from Arrow C++ to dipc and back in every layout of slices, and without a copy.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { CStruct, exportRecordBatch, importRecordBatch } from "../../c_data.ts";
import { exportedCount } from "../../src/c_data/cells.ts";
import {
  arrowCppLibrary,
  type ArrowCppPeer,
  assertCppEqual,
  cppBatches,
  cppError,
  cppPointer,
} from "../support/c_peers.ts";
import { goldStreams } from "../support/gold_streams.ts";
import { peerTest } from "../support/peers.ts";

function addressesOf(cpp: ArrowCppPeer, batch: bigint): bigint[] {
  const found = new BigUint64Array(1000);
  const count = Number(cpp.cpp_addresses(batch, new Uint8Array(found.buffer), 1000n));
  return [...found.subarray(0, count)];
}

/** Exports a slice of a batch, imports it here, exports it again, and imports it there; to be freed. */
function thereAndBack(cpp: ArrowCppPeer, batch: bigint, how: number, offset: bigint, length: bigint): bigint {
  using array = new CStruct("ArrowArray");
  using schema = new CStruct("ArrowSchema");
  if (cpp.cpp_export(batch, how, offset, length, array.address, schema.address) !== 0) throw cppError(cpp);
  const imported = importRecordBatch(array.address, schema.address);
  assert(array.isReleased && schema.isReleased);
  exportRecordBatch(imported, array.address, schema.address);
  return cppPointer(cpp, cpp.cpp_import(array.address, schema.address));
}

for (const { name, path } of goldStreams()) {
  peerTest(["arrowCpp"], `${name} from Arrow C++ and back is equal, and was not copied`, ({ arrowCpp }) => {
    const cpp = arrowCppLibrary({ arrowCpp });
    const batches = cppBatches(cpp, path);
    for (const batch of batches) {
      const back = thereAndBack(cpp, batch, 0, 0n, 0n);
      assertCppEqual(cpp, batch, back);
      // An empty column has no values that could be copied; the single offset that it may have is another one.
      if (cpp.cpp_rows(batch) > 0) assertEquals(addressesOf(cpp, back), addressesOf(cpp, batch));
      cpp.cpp_free(back);
      const rows = cpp.cpp_rows(batch);
      for (const how of [1, 2, 3]) {
        for (const [offset, length] of [[1n, rows - 1n], [3n, 4n], [8n, rows - 9n], [rows, 0n]]) {
          if (offset + length > rows || length < 0n) continue;
          const back = thereAndBack(cpp, batch, how, offset, length);
          assertCppEqual(cpp, batch, back, { offset, length, withMetadata: how < 2 });
          cpp.cpp_free(back);
        }
      }
    }
    for (const batch of batches) cpp.cpp_free(batch);
    assertEquals(exportedCount(), 0);
  });
}
