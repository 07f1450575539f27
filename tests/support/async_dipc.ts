/**
 * dipc as an implementation of the asynchronous device stream, for the conformance kit in the same process.
 *
 * @module
 */
import { type RecordBatch, Table, vectorFromArray } from "apache-arrow";
import { type AsyncForeignStream, exportAsyncStream, importAsyncStream } from "../../c_data.ts";
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import type { Kit } from "../../tools/async_kit.ts";

const ROWS = 4n;
/** `sizeof(struct ArrowAsyncDeviceStreamHandler)`. */
const HANDLER_BYTES = 48n;
const EIO = 5;

/** Batch `index` of a stream of the kit. */
export function kitBatch(index: number): RecordBatch {
  const first = ROWS * BigInt(index);
  return new Table({ n: vectorFromArray(BigInt64Array.of(first, first + 1n, first + 2n, first + 3n)) }).batches[0];
}

/** Schema of the streams of the kit. */
export const KIT_SCHEMA = kitBatch(0).schema;

/** First value of a batch of a stream of the kit. */
export function firstOf(batch: RecordBatch): bigint {
  return batch.getChild("n")!.get(0) as bigint;
}

/** A stream of the kit, as its producers send it. */
export async function* kitStream(batches: number, failAfter = -1, delayUs = 0): AsyncGenerator<RecordBatch> {
  for (let i = 0; i < batches; i++) {
    if (delayUs > 0) await new Promise((resolve) => setTimeout(resolve, delayUs / 1000));
    if (i === failAfter) throw new DipcError("io", "cannot go on: planned failure");
    yield kitBatch(i);
  }
}

/** One consumer of the kit. */
interface Consumer {
  readonly stream: Promise<AsyncForeignStream>;
  readonly stop: AbortController;
}

function errnoOf(error: unknown): number {
  return error instanceof DipcError ? error.foreign?.status ?? EIO : EIO;
}

async function readInto(consumer: Consumer, reading: bigint): Promise<void> {
  const memory = Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(reading)!, 16) as ArrayBuffer;
  const [first, status] = [new BigInt64Array(memory), new Int32Array(memory)];
  try {
    using batch = await (await consumer.stream).next();
    if (batch !== null) {
      using arrow = batch.toRecordBatch();
      first[0] = firstOf(arrow);
    }
    Atomics.store(status, 2, batch === null ? 0 : 1);
  } catch (error) {
    Atomics.store(status, 2, -errnoOf(error));
  }
}

/**
 * Gives dipc to the kit.
 *
 * @returns to be disposed after the last rule
 */
export function useDipc(kit: Kit, blocking: boolean): Disposable {
  const consumers = new Map<bigint, Consumer>();
  const produce = Deno.UnsafeCallback.threadSafe(
    { parameters: ["usize", "i64", "i64", "i64"], result: "void" },
    (handler, batches, failAfter, delayUs) => {
      const source = kitStream(Number(batches), Number(failAfter), Number(delayUs));
      void exportAsyncStream(source, BigInt(handler), { schema: KIT_SCHEMA });
    },
  );
  const consume = Deno.UnsafeCallback.threadSafe({ parameters: ["usize"], result: "usize" }, (target) => {
    const stop = new AbortController();
    const start = (handler: bigint) => libc().memcpy(BigInt(target), handler, HANDLER_BYTES);
    const stream = importAsyncStream(start, { signal: stop.signal, blocking });
    stream.catch(() => {});
    const id = BigInt(consumers.size + 1);
    consumers.set(id, { stream, stop });
    return id;
  });
  const beginRead = Deno.UnsafeCallback.threadSafe(
    { parameters: ["usize", "usize"], result: "void" },
    (id, reading) => void readInto(consumers.get(BigInt(id))!, BigInt(reading)),
  );
  const close = Deno.UnsafeCallback.threadSafe(
    { parameters: ["usize"], result: "void" },
    (id) => consumers.get(BigInt(id))!.stop.abort(),
  );
  const callbacks = [produce, consume, beginRead, close];
  kit.kit_use(produce.pointer, consume.pointer, beginRead.pointer, close.pointer);
  return { [Symbol.dispose]: () => callbacks.forEach((callback) => callback.close()) };
}
