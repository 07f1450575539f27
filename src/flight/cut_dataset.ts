/**
 * A dataset whose batches are cut so that other clients and servers take them: gRPC's libraries refuse messages of more than 4
 * MiB by default.
 *
 * @module
 */
import type { IpcMessage } from "../ipc/message.ts";
import { slicesOf } from "../ipc/slice_batch.ts";
import { hostPool } from "../memory/host_pool.ts";
import { integerIn } from "../options.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";

/** Longest message that gRPC's libraries take by default, in bytes. */
const GRPC_DEFAULT_BYTES = 4 * 2 ** 20;
/** Bytes of a message besides metadata and body: tags and lengths. */
const OVERHEAD_BYTES = 64;

/**
 * The longest message of a dataset, in bytes.
 *
 * @param dataset Dataset to send
 * @param option What the caller says: bytes, or `false` for batches as they are
 * @returns `null` if its batches stay as they are
 * @throws {DipcError} `invalid_argument`
 */
function maxBytesOf(dataset: Dataset, option: number | false | undefined): number | null {
  if (option === false) return null;
  if (option === undefined) return dataset.hasFreeBatches === true ? GRPC_DEFAULT_BYTES : null;
  return integerIn("maxBatchBytes", option, 1024);
}

/**
 * The dataset with batches that are small enough.
 *
 * @param dataset Dataset to send
 * @param option Longest message in bytes, `false` for batches as they are; by default only those are cut whose size this package
 * has chosen
 * @throws {DipcError} `invalid_argument`
 */
export function cutDataset(dataset: Dataset, option: number | false | undefined): Dataset {
  const maxBytes = maxBytesOf(dataset, option);
  if (maxBytes === null) return dataset;
  return {
    schema: dataset.schema,
    readOnce: dataset.readOnce,
    rows: dataset.rows,
    memory: dataset.memory,
    async open(options) {
      return new CutRun(dataset, await dataset.open(options), maxBytes - OVERHEAD_BYTES);
    },
    close: () => dataset.close(),
  };
}

class CutRun implements MessageStream {
  readonly #dataset: Dataset;
  readonly #run: MessageStream;
  readonly #maxBytes: number;
  #slices: Generator<IpcMessage, undefined> | null = null;

  constructor(dataset: Dataset, run: MessageStream, maxBytes: number) {
    this.#dataset = dataset;
    this.#run = run;
    this.#maxBytes = maxBytes;
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    const slice = this.#slices?.next();
    if (slice?.done === false) return slice.value;
    this.#slices = null;
    const message = this.#run.next();
    return message instanceof Promise ? message.then(this.#cut) : this.#cut(message);
  }

  async close(): Promise<void> {
    this.#slices?.return(undefined);
    this.#slices = null;
    await this.#run.close();
  }

  #cut = (message: IpcMessage | null): IpcMessage | null => {
    if (message === null) return null;
    const maxBytes = this.#maxBytes - (message.appMetadata?.byteLength ?? 0);
    const { header, body } = message;
    if (header.kind !== "batch" || header.bytes.byteLength + (body?.byteLength ?? 0) <= maxBytes) return message;
    this.#slices = slicesOf(this.#dataset.schema, message, maxBytes, hostPool());
    // Never empty: a batch that is too large has rows, or comes as it is.
    return this.#slices.next().value!;
  };
}
