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

/** Counts of what was sent. */
export interface SentData {
  /** Number of record batches. */
  batches: number;
  /** Size of bodies in bytes. */
  bodyBytes: number;
  /** Size of metadata in bytes. */
  metadataBytes: number;
}

/**
 * Sends schema and messages; never reads further ahead than one message.
 *
 * @param call Call to answer
 * @param dataset Dataset to send; it stays open
 * @param onFirstBody Called before the first message with a body, or at the end if there is none
 * @param sent Updated with what was sent, even if this fails
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
    const { bytes } = await fromDataset(() => run.schema ?? dataset.schema);
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

/** Sends what was held back while the dataset makes its next message; if that fails, the message is released. */
async function flushMeanwhile(call: ServerCall, next: Promise<IpcMessage | null>): Promise<void> {
  // The caller awaits it later; until then a rejection must not count as unhandled, which would end the process.
  next.catch(() => {});
  try {
    await call.flush();
  } catch (error) {
    (await next.catch(() => null))?.body?.release();
    throw error;
  }
}
