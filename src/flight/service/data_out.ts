/**
 * Sends a dataset as the answer of a DoGet.
 *
 * @module
 */
import type { Dataset } from "../../sources/dataset.ts";
import { encodeFrame, frameOfMessage } from "../data.ts";
import type { ServerCall } from "./call.ts";

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
  const run = await dataset.open({ signal: call.signal });
  try {
    await call.write(encodeFrame({ header: dataset.schema.bytes }));
    sent.metadataBytes += dataset.schema.bytes.byteLength;
    let isFirst = true;
    for (;;) {
      call.signal.throwIfAborted();
      const next = run.next();
      if (next instanceof Promise) await call.flush();
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
    await run.close();
  }
}
