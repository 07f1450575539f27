/**
 * A dataset whose batches are cut so that other clients and servers take them: gRPC's libraries refuse messages of more than 4
 * MiB by default, and none takes more than 2 GiB.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { MAX_GRPC_MESSAGE_BYTES } from "../grpc/framing.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { slicesOf } from "../ipc/slice_batch.ts";
import { hostPool } from "../memory/host_pool.ts";
import { integerIn } from "../options.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";

/** Longest message that gRPC's libraries take by default, in bytes. */
const GRPC_DEFAULT_BYTES = 4 * 2 ** 20;
/** Bytes of a message besides metadata and body: tags and lengths. */
const OVERHEAD_BYTES = 64;
/** Size of the parts of a batch that nobody would take, in bytes: small, because each is a copy. */
const PART_BYTES = 64 * 2 ** 20;

/** When a batch is cut, and how small its parts are. */
export interface CutSizes {
  /** Longest message that stays as it is, in bytes. */
  readonly maxBytes: number;
  /** Longest part of a longer one, in bytes; if it cannot be cut so small, `maxBytes`. */
  readonly partBytes: number;
}

/**
 * The sizes for a dataset.
 *
 * @param dataset Dataset to send
 * @param option What the caller says: bytes, or `false` for batches as they are
 * @returns `null` if its batches stay as they are
 * @throws {DipcError} `invalid_argument`
 */
function sizesOf(dataset: Dataset, option: number | false | undefined): CutSizes | null {
  if (option === false) return null;
  if (option === undefined && dataset.hasFreeBatches !== true) {
    return { maxBytes: MAX_GRPC_MESSAGE_BYTES, partBytes: PART_BYTES };
  }
  const bytes = option === undefined ? GRPC_DEFAULT_BYTES : integerIn("maxBatchBytes", option, 1024);
  const maxBytes = Math.min(bytes, MAX_GRPC_MESSAGE_BYTES);
  return { maxBytes, partBytes: maxBytes };
}

/**
 * The dataset with batches that are small enough.
 *
 * @param dataset Dataset to send
 * @param option Longest message in bytes, `false` for batches as they are; by default those are cut whose size this package has
 * chosen, and those that nobody would take
 * @throws {DipcError} `invalid_argument`
 */
export function cutDataset(dataset: Dataset, option: number | false | undefined): Dataset {
  const sizes = sizesOf(dataset, option);
  return sizes === null ? dataset : cutTo(dataset, sizes);
}

/**
 * The dataset, cut to given sizes.
 *
 * @param dataset Dataset to send
 * @param sizes When a batch is cut, and how small its parts are
 */
export function cutTo(dataset: Dataset, sizes: CutSizes): Dataset {
  const { largestBodyBytes = Infinity } = dataset;
  return {
    // Only when it is requested: what it throws is the dataset's error, and says so there.
    get schema() {
      return dataset.schema;
    },
    readOnce: dataset.readOnce,
    rows: dataset.rows,
    // The parts of a batch may have other sizes; metadata has less than half.
    bodyBytes: largestBodyBytes <= sizes.maxBytes / 2 ? dataset.bodyBytes : undefined,
    largestBodyBytes: dataset.largestBodyBytes,
    memory: dataset.memory,
    async open(options) {
      const run = await dataset.open(options);
      return new CutRun(run.schema ?? dataset.schema, run, sizes);
    },
    close: () => dataset.close(),
  };
}

/**
 * Reads a dataset that has bodies which Flight cannot carry as they are, to find out whether they can be cut, before anything of
 * it is sent. Costs nothing if it has none.
 *
 * @param dataset Dataset to send, cut already
 * @throws {DipcError} `limit_exceeded` if it cannot be sent whole, and what reading it throws
 */
export async function checkSendable(dataset: Dataset): Promise<void> {
  if (dataset.readOnce || (dataset.largestBodyBytes ?? 0) + OVERHEAD_BYTES <= MAX_GRPC_MESSAGE_BYTES) return;
  const run = await dataset.open();
  try {
    for (let message; (message = await run.next()) !== null;) {
      const bytes = bytesOf(message);
      message.body?.release();
      if (bytes + OVERHEAD_BYTES <= MAX_GRPC_MESSAGE_BYTES) continue;
      throw new DipcError(
        "limit_exceeded",
        `cannot send the dataset by Flight: a message of it has ${bytes} bytes and cannot be cut, other programs take ` +
          `${MAX_GRPC_MESSAGE_BYTES} at most; use smaller batches`,
      );
    }
  } finally {
    await run.close();
  }
}

function bytesOf({ header, body, appMetadata }: IpcMessage): number {
  return header.bytes.byteLength + (body?.byteLength ?? 0) + (appMetadata?.byteLength ?? 0);
}

class CutRun implements MessageStream {
  readonly schema: MessageHeader;
  readonly #run: MessageStream;
  readonly #sizes: CutSizes;
  #slices: Generator<IpcMessage, undefined> | null = null;

  constructor(schema: MessageHeader, run: MessageStream, sizes: CutSizes) {
    this.schema = schema;
    this.#run = run;
    this.#sizes = sizes;
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
    const { maxBytes, partBytes } = this.#sizes;
    if (message.header.kind !== "batch" || bytesOf(message) + OVERHEAD_BYTES <= maxBytes) return message;
    const first = this.#slice(message, partBytes);
    // What is too large for small parts, such as values that every part needs, may fit into large ones.
    return first === message && partBytes < maxBytes ? this.#slice(message, maxBytes) : first;
  };

  #slice(message: IpcMessage, maxBytes: number): IpcMessage {
    const left = maxBytes - OVERHEAD_BYTES - (message.appMetadata?.byteLength ?? 0);
    this.#slices = slicesOf(this.schema, message, left, hostPool());
    // Never empty: a batch that is too large has rows, or comes as it is.
    return this.#slices.next().value!;
  }
}
