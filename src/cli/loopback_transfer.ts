/**
 * A transfer from this process to itself, over the real transport.
 *
 * @module
 */
import { type RecordBatch, tableFromArrays } from "apache-arrow";
import { DipcError } from "../errors.ts";
import { BatchEncoder } from "../ipc/encode.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";

/** Size in bytes of one batch's column. */
const BATCH_BYTES = 2 ** 20;
/** Batches of the transfer. */
const BATCHES = 512;

/** What a transfer inside this process reached. */
export interface LoopbackResult {
  /** Bytes of bodies. */
  readonly bytes: number;
  /** From the first batch to the end. */
  readonly seconds: number;
  /** `bytes / seconds`. */
  readonly bytesPerSecond: number;
  /** From the start of the connection to the schema. */
  readonly connectSeconds: number;
  /** Transports that UCX chose. */
  readonly transports: readonly string[];
  /** Why they are not the fastest that this machine has; empty if nothing was in the way. */
  readonly transportsReason: string;
}

/** A body that many messages share; its owner releases it. */
function shared(body: Body): Body {
  const { space, byteLength, address } = body;
  return { space, byteLength, address, bytes: () => body.bytes(), release() {} };
}

/** One batch, many times. */
function repeated(message: IpcMessage, schema: Dataset["schema"], times: number): Dataset {
  const { header, body } = message;
  return {
    schema,
    readOnce: false,
    batches: times,
    open(): MessageStream {
      let sent = 0;
      return {
        next: () => sent++ < times ? { header, body: body && shared(body) } : null,
        close() {},
      };
    },
    close: () => body?.release(),
  };
}

/**
 * Serves one batch many times from memory and fetches it.
 *
 * @throws {DipcError} the error of the transfer
 */
export async function loopbackTransfer(): Promise<LoopbackResult> {
  const { connect, serve } = await import("../../mod.ts");
  const values = Float64Array.from({ length: BATCH_BYTES / 8 }, (_, i) => i);
  const table = tableFromArrays({ value: values });
  const batch: RecordBatch = table.batches[0];
  const encoder = new BatchEncoder(batch.schema, hostPool());
  const [message] = encoder.encode(batch);
  const dataset = repeated(message, encoder.schemaHeader, BATCHES);
  try {
    await using server = await serve({ datasets: { probe: dataset } });
    const begin = performance.now();
    await using stream = await connect(server.datasets[0].uris[0], { timeoutMs: 10_000 });
    const connected = performance.now();
    let bytes = 0;
    let first = 0;
    for await (const { header, body } of stream.messages()) {
      if (header.kind === "batch") {
        if (first === 0) first = performance.now();
        const column = new Float64Array(body!.bytes().buffer, body!.bytes().byteOffset, values.length);
        if (column[values.length - 1] !== values.length - 1) {
          throw new DipcError(
            "invalid_data",
            "cannot trust the transport: the loopback transfer delivered other values than were sent",
          );
        }
        bytes += header.bodyLength;
      }
      body?.release();
    }
    const seconds = Math.max(1e-6, (performance.now() - first) / 1000);
    return {
      bytes,
      seconds,
      bytesPerSecond: bytes / seconds,
      connectSeconds: (connected - begin) / 1000,
      transports: [...stream.stats.transports],
      transportsReason: stream.stats.transportsReason,
    };
  } finally {
    await dataset.close();
  }
}
