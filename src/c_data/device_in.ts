/**
 * Imports what another library of this process exports as `ArrowDeviceArray`, and streams of them.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import { readArrays } from "./array_in.ts";
import { readDevice, withDevice } from "./device_access.ts";
import { ForeignBatch } from "./foreign_batch.ts";
import { ForeignMemory, takeBoth } from "./foreign_memory.ts";
import { type ForeignSchema, foreignSchema } from "./foreign_schema.ts";
import { type ForeignStream, type ImportStreamOptions, openStream, type StreamKind } from "./foreign_stream.ts";
import { readSchema } from "./schema_in.ts";

/**
 * Imports a record batch in the memory of a device, without copying it. A batch that the host can read (`device.space` is `"host"`)
 * is as one of `importRecordBatch`; of any other the `columns` have its addresses.
 *
 * Waits for the event of the structure only if the host has to read the memory: for the offsets of text, binary and list columns, and
 * for bitmaps whose nulls are not counted. Whoever reads the columns waits for `device.syncEvent`.
 *
 * @param array Address of the `ArrowDeviceArray` of a struct, whose children are the columns
 * @param schema Address of its `ArrowSchema`, or the schema if it is known
 * @throws {DipcError} As `importRecordBatch`; what the driver of the device reports
 */
export async function importDeviceBatch(array: bigint, schema: bigint | MessageHeader): Promise<ForeignBatch> {
  const memory = takeBoth("ArrowDeviceArray", array, schema);
  return await batchOf(memory, () => foreignSchema(typeof schema === "bigint" ? readSchema(schema) : schema));
}

/**
 * Imports a stream of record batches in the memory of a device, without copying them.
 *
 * @param stream Address of an `ArrowDeviceArrayStream`
 * @throws {DipcError} As `importStream`; what the driver of the device reports
 */
export function importDeviceStream(stream: bigint, options: ImportStreamOptions = {}): Promise<ForeignStream> {
  return openStream(DEVICE_STREAM, stream, options);
}

const DEVICE_STREAM: StreamKind = {
  stream: "ArrowDeviceArrayStream",
  item: "ArrowDeviceArray",
  take: takeDeviceBatch,
};

/**
 * Takes an array with a known schema over.
 *
 * @param metadata What came with it
 */
export function takeDeviceBatch(
  array: bigint,
  schema: ForeignSchema,
  metadata?: ReadonlyMap<string, string>,
): Promise<ForeignBatch> {
  return batchOf(new ForeignMemory("ArrowDeviceArray", array), () => schema, metadata);
}

async function batchOf(
  memory: ForeignMemory,
  schemaOf: () => ForeignSchema,
  metadata?: ReadonlyMap<string, string>,
): Promise<ForeignBatch> {
  try {
    const schema = schemaOf();
    const device = readDevice(memory.address);
    const arrays = await withDevice(device, (copy) => readArrays(schema.shape, memory.address, copy));
    return new ForeignBatch(schema, arrays, memory, device, metadata);
  } catch (error) {
    memory.drop();
    throw error;
  }
}
