/**
 * Arrays in the memory of a GPU cross the C interface with their event, in place: from a batch of dipc to the structure, and back.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Dictionary, Field, Int32, LargeUtf8, List, Table, Utf8, vectorFromArray } from "apache-arrow";
import { CStruct, exportDeviceBatch, importDeviceBatch, importSchema } from "../../c_data.ts";
import { connectCuda, deviceBatch, type DeviceRecordBatch } from "../../cuda.ts";
import { serve } from "../../mod.ts";
import { readAddress } from "../../src/c_data/raw.ts";
import { C_LAYOUT } from "../../src/c_data/structs.ts";
import { assertDipcError } from "../support/assert.ts";
import { settled } from "../support/c_data.ts";
import { deviceTest } from "../device/support/device_tests.ts";

const AT = C_LAYOUT.ArrowDeviceArray;

function makeTable(): Table {
  return new Table({
    n: vectorFromArray([1, null, 3, 4], new Int32()),
    s: vectorFromArray(["a", "bc", null, "def"], new LargeUtf8()),
    d: vectorFromArray(["x", "y", "x", null], new Dictionary(new Utf8(), new Int32(), 7)),
    l: vectorFromArray([[1], [], [2, 3], null], new List(new Field("item", new Int32(), true))),
  });
}

async function onDevice(table: Table): Promise<DeviceRecordBatch> {
  await using server = await serve({ datasets: { d: table } });
  await using stream = await connectCuda(server.datasets[0].uris, { memory: "cuda:0" });
  for await (const batch of stream) return batch;
  throw new Error("there is no batch");
}

deviceTest("a batch in device memory goes out and comes in with its event, without a copy", async () => {
  const table = makeTable();
  const batch = await onDevice(table);
  using array = new CStruct("ArrowDeviceArray");
  using schema = new CStruct("ArrowSchema");
  exportDeviceBatch(batch, array.address, schema.address);
  const addresses = batch.columns.map(({ data, children }) => (data ?? children[0].data)!.address);
  batch[Symbol.dispose](); // its memory stays until the structure is released
  const header = importSchema(schema.address);
  const event = readAddress(readAddress(array.address + BigInt(AT.sync_event)));
  assert(event !== 0n);
  const foreign = await importDeviceBatch(array.address, header);
  const { space, deviceType, deviceId, syncEvent } = foreign.device;
  assertEquals([space, deviceType, deviceId, readAddress(syncEvent)], ["cuda:0", 2, 0n, event]);
  assertEquals(foreign.columns.map(({ data, children }) => (data ?? children[0].data)!.address), addresses);
  // The offsets are in device memory, and tell how many bytes of text there are.
  assertEquals(foreign.columns[1].data?.byteLength, 6);
  assertEquals(foreign.columns[2].dictionary?.data?.byteLength, 2);
  assertDipcError("unsupported", "use columns", () => foreign.toRecordBatch());
  assertDipcError("unsupported", "use columns", () => foreign.toMessages());
  const [, , dictionary] = foreign.columns;
  const again = deviceBatch({
    schema: header,
    device: "cuda:0",
    rows: foreign.numRows,
    columns: foreign.columns,
    dictionaries: new Map([[dictionary.dictionaryId!, dictionary.dictionary!]]),
    event,
  });
  await again.ready();
  foreign[Symbol.dispose]();
  await settled();
  using host = await again.toHost();
  again[Symbol.dispose]();
  assertEquals(host.toArray().map((row) => JSON.stringify(row)), table.toArray().map((row) => JSON.stringify(row)));
});
