/**
 * What most scenarios serve: one batch of one column `number`.
 *
 * @module
 */
import { Field, type Int32, RecordBatch, Schema, Struct, type Uint32, vectorFromArray } from "apache-arrow";
import { makeData } from "apache-arrow/data";
import { type Dataset, fromBatches } from "../../mod.ts";
import { frameMetadata } from "../../src/ipc/frame.ts";

/** A dataset of one batch. */
export async function numbers(type: Int32 | Uint32, values: readonly number[]): Promise<Dataset> {
  const schema = new Schema([new Field("number", type, false)]);
  const column = vectorFromArray(values, type).data[0];
  const data = makeData({ type: new Struct(schema.fields), length: values.length, children: [column] });
  return await fromBatches([new RecordBatch(schema, data)]);
}

/** The schema of such a dataset as a FlightInfo carries it. */
export async function numbersSchema(type: Int32 | Uint32): Promise<Uint8Array> {
  const dataset = await numbers(type, [0]);
  await dataset.close();
  return frameMetadata(dataset.schema);
}
