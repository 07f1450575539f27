/**
 * A web worker that imports a batch, and tries to export it again.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { CStruct, exportRecordBatch, importRecordBatch } from "../../../c_data.ts";
import type { DipcError } from "../../../src/errors.ts";

self.onmessage = ({ data: [array, schema] }: MessageEvent<[bigint, bigint]>): void => {
  using target = new CStruct("ArrowArray");
  using batch = importRecordBatch(array, schema).toRecordBatch();
  let code = "exported";
  try {
    exportRecordBatch(batch, target.address);
  } catch (error) {
    code = (error as DipcError).code;
  }
  self.postMessage([[...batch.getChildAt(0)!.toArray() as Int32Array], code]);
};
