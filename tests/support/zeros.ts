/**
 * Datasets of zeros, as large as a test needs: their pages are never written, so that they cost next to no memory here.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { fromTable } from "../../mod.ts";
import { patchBatch } from "../../src/ipc/batch_patch.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import type { Dataset } from "../../src/sources/dataset.ts";

/** Schema, and a batch of one column `n` of so many floats, all of them 0. */
export async function zeros(rows: number): Promise<{ schema: MessageHeader; batch: IpcMessage }> {
  const small = await fromTable(tableFromArrays({ n: Float64Array.of(0) }));
  const run = await small.open();
  const { header, body } = (await run.next())!;
  const bodyLength = bodyBytesOf(rows);
  const metadata = patchBatch(header.bytes, {
    rows,
    nodes: Float64Array.of(rows, 0),
    offsets: Float64Array.of(0, 0),
    lengths: Float64Array.of(0, 8 * rows),
    bodyLength,
  });
  const { schema } = small;
  const batch = {
    header: HeaderReader.continuing(schema).read(metadata),
    body: hostPool().acquire(bodyLength).toBody(bodyLength),
  };
  body?.release();
  await run.close();
  await small.close();
  return { schema, batch };
}

/** A dataset of such batches, one for each number of rows. */
export async function zerosDataset(...rows: number[]): Promise<Dataset> {
  const { schema, batch } = await zeros(1);
  batch.body!.release();
  return {
    schema,
    readOnce: false,
    largestBodyBytes: Math.max(...rows.map(bodyBytesOf)),
    open() {
      let index = 0;
      return {
        next: async () => index < rows.length ? (await zeros(rows[index++])).batch : null,
        close() {},
      };
    },
    close() {},
  };
}

function bodyBytesOf(rows: number): number {
  return Math.ceil(rows / 8) * 64;
}
