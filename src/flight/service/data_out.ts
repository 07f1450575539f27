/**
 * Sends a dataset as the answer of a DoGet.
 *
 * @module
 */
import type { IpcMessage } from "../../ipc/message.ts";
import type { Dataset } from "../../sources/dataset.ts";
import { fromDataset } from "../../tell_peer.ts";
import { encodeFrame, frameOfMessage } from "../data.ts";
import type { ServerCall } from "../../grpc/server_call.ts";

/** What was sent. */
export interface SentData {
  /** Record batches. */
  batches: number;
  /** Bytes of bodies. */
  bodyBytes: number;
  /** Bytes of metadata. */
  metadataBytes: number;
}

/**
 * Sends schema and messages; never reads further ahead than one message.
 *
 * @param call The call
 * @param dataset What to send; left open
 * @param onFirstBody Called before the first message with a body, or at the end where there is none
 * @param sent Counts what was sent, also where this fails
 * @throws {DipcError} what reading the dataset throws, `timeout`, `cancelled`, `limit_exceeded`
 */
export async function sendDataset(
  call: ServerCall,
  dataset: Dataset,
  onFirstBody: () => void,
  sent: SentData,
): Promise<void> {
  const run = await fromDataset(async () => await dataset.open({ signal: call.signal }));
  try {
    const { bytes } = await fromDataset(() => dataset.schema);
    await call.write(encodeFrame({ header: bytes }));
    sent.metadataBytes += bytes.byteLength;
    let isFirst = true;
    for (;;) {
      call.signal.throwIfAborted();
      const next = fromDataset(() => run.next());
      if (next instanceof Promise) await flushMeanwhile(call, next);
      const message = await next;
      if (isFirst) {
        isFirst = false;
        try {
          onFirstBody();
        } catch (error) {
          message?.body?.release();
          throw error;
        }
      }
      if (message === null) break;
      try {
        await call.write(encodeFrame(frameOfMessage(message)));
      } finally {
        message.body?.release();
      }
      const { header } = message;
      sent.metadataBytes += header.bytes.byteLength;
      sent.bodyBytes += header.bodyLength;
      if (header.kind === "batch") sent.batches++;
    }
  } finally {
    await fromDataset(() => run.close());
  }
}

/** Sends what was held back while the dataset makes its next message; where that fails, the message is not lost. */
async function flushMeanwhile(call: ServerCall, next: Promise<IpcMessage | null>): Promise<void> {
  // Whoever awaits it is told; until then its failure must not count as nobody's, which would end the process.
  next.catch(() => {});
  try {
    await call.flush();
  } catch (error) {
    (await next.catch(() => null))?.body?.release();
    throw error;
  }
}
