/**
 * Datasets that are made while they are read: any length, any size of batch, no memory of their own but one body.
 *
 * @module
 */
import { Field, Int64, makeData, RecordBatch, Schema, Struct, Table } from "apache-arrow";
import type { IpcMessage } from "../../src/ipc/message.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { Dataset, MessageStream } from "../../src/sources/dataset.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { int64Messages } from "./arrow_messages.ts";

/** Rows of int64 in a body of so many bytes. */
export function rowsOf(bodyBytes: number): number {
  return Math.floor(bodyBytes / 8);
}

/**
 * A dataset of `batches` batches, each of one int64 column with `rows` rows; the first value of each batch is the
 * batch's number, the others count up from 1.
 */
export function generated(batches: number, rows: number): Dataset {
  const [schemaMessage, batchMessage] = int64Messages(1, rows);
  const reader = new HeaderReader();
  const schema = reader.read(schemaMessage.metadata);
  const header = reader.read(batchMessage.metadata);
  const bodyBytes = batchMessage.body.byteLength;
  return {
    schema,
    rows: batches * rows,
    batches,
    bodyBytes: batches * bodyBytes,
    readOnce: false,
    open(): MessageStream {
      let sent = 0;
      return {
        next(): IpcMessage | null {
          if (sent === batches) return null;
          const block = hostPool().acquire(bodyBytes);
          const bytes = block.bytes();
          bytes.set(batchMessage.body);
          new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(Number(header.buffers[2]), BigInt(sent++), true);
          return { header, body: block.toBody(bodyBytes) };
        },
        close(): void {},
      };
    },
    close(): void {},
  };
}

/** The same batches, all held in memory. */
export function resident(batches: number, rows: number): Table {
  const field = new Field("n", new Int64(), false);
  const schema = new Schema([field]);
  return new Table(
    schema,
    Array.from({ length: batches }, (_, batch) => {
      const values = BigInt64Array.from({ length: rows }, (_, row) => BigInt(row));
      values[0] = BigInt(batch);
      const data = makeData({ type: new Int64(), length: rows, nullCount: 0, data: values });
      return new RecordBatch(
        schema,
        makeData({ type: new Struct([field]), length: rows, nullCount: 0, children: [data] }),
      );
    }),
  );
}
