/**
 * A stream of another library of this process as a dataset, which can be read once.
 *
 * @module
 */
import type { ForeignStream } from "../c_data/foreign_stream.ts";
import { importStream } from "../c_data/import.ts";
import { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";

/**
 * Takes a stream over as a dataset.
 *
 * @param address Address of an `ArrowArrayStream`
 * @throws {DipcError} As `importStream` does
 */
export async function fromCStream(address: bigint): Promise<Dataset> {
  return new CStreamDataset(await importStream(address));
}

class CStreamDataset implements Dataset {
  readonly schema: MessageHeader;
  readonly readOnce = true;
  readonly #stream: ForeignStream;
  #isTaken = false;

  constructor(stream: ForeignStream) {
    this.#stream = stream;
    this.schema = stream.schemaHeader;
  }

  open({ signal }: { signal?: AbortSignal } = {}): MessageStream {
    if (this.#isTaken) {
      throw new DipcError("busy", "cannot read the stream: it can be read only once, and was taken already");
    }
    this.#isTaken = true;
    const stream = this.#stream;
    const messages = stream.messages();
    const onAbort = (): void => void stream.cancel(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    return {
      async next() {
        for (;;) {
          const { done, value } = await messages.next();
          if (done) return null;
          if (value.header.kind !== "schema") return value;
        }
      },
      async close() {
        signal?.removeEventListener("abort", onAbort);
        // Ends a read that waits for the library.
        await stream.cancel();
        await messages.return(undefined);
      },
    };
  }

  async close(): Promise<void> {
    await this.#stream.cancel();
  }
}
