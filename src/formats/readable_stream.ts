/**
 * Messages as the bytes of an Arrow IPC stream, for consumers of a `ReadableStream`.
 *
 * @module
 */
import { END_OF_STREAM, frameMetadata } from "../ipc/frame.ts";
import type { IpcMessage } from "../ipc/message.ts";

/**
 * An Arrow IPC stream made of `messages`. Messages are read on demand; cancelling the stream ends the iteration.
 *
 * @param messages The schema, then dictionaries and batches; their bodies are released
 * @param onCancel Called when the stream is cancelled, because a generator that has not started yet is not notified
 * @returns A stream of chunks that the reader owns
 */
export function arrowReadableStream(
  messages: AsyncIterator<IpcMessage>,
  onCancel?: (reason: unknown) => Promise<void>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const next = await messages.next();
      if (next.done) {
        controller.enqueue(END_OF_STREAM.slice());
        controller.close();
        return;
      }
      const { header, body } = next.value;
      controller.enqueue(frameMetadata(header));
      if (body !== null && body.byteLength > 0) controller.enqueue(body.bytes().slice());
      body?.release();
    },
    async cancel(reason) {
      await messages.return?.();
      await onCancel?.(reason);
    },
  }, { highWaterMark: 0 });
}
