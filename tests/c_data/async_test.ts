/**
 * Asynchronous device streams to and from Arrow C++ and C: back-pressure, cancellation, errors and release at every point.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { RecordBatch } from "apache-arrow";
import {
  type AsyncForeignStream,
  CStruct,
  exportAsyncStream,
  importAsyncStream,
  type StreamSource,
} from "../../c_data.ts";
import { DipcError } from "../../src/errors.ts";
import { reclaimAbandoned } from "../../src/c_data/async_out.ts";
import { AsyncInput } from "../../src/c_data/async_input.ts";
import type { AsyncReader } from "../../src/c_data/async_reader.ts";
import { ASYNC_MACHINE_CODE, ASYNC_SOURCE_HASH } from "../../src/c_data/async_machine_code.ts";
import { taskCount } from "../../src/c_data/task_slots.ts";
import { assertDipcError } from "../support/assert.ts";
import { firstOf, KIT_SCHEMA, kitBatch, kitStream } from "../support/async_dipc.ts";
import { type AsyncPeer, loadArrowCpp, loadSample, PeerConsumer } from "../support/async_sample.ts";
import { settled } from "../support/c_data.ts";
import { peers, peerTest } from "../support/peers.ts";
import { sourceHash } from "../../tools/machine_code.ts";

Deno.test("the machine code of asynchronous streams is that of the C file, for both processors", async () => {
  assertEquals(await sourceHash("c_data/async.c"), ASYNC_SOURCE_HASH, "run tools/machine_code.ts");
  const [first, second] = Object.values(ASYNC_MACHINE_CODE).map(({ functions }) => Object.keys(functions).sort());
  assertEquals(first, second);
});

/** `extract_data` of an `ArrowAsyncTask`. */
const EXTRACT = { parameters: ["buffer", "usize"], result: "i32" } as const;

/** First values of the batches of a stream, and the error that ended it. */
async function firstsOf(stream: AsyncForeignStream): Promise<{ firsts: number[]; errno: number }> {
  const firsts: number[] = [];
  try {
    for await (using batch of stream) firsts.push(Number(firstOf(batch)));
  } catch (error) {
    return { firsts, errno: (error as DipcError).foreign?.status ?? -1 };
  }
  return { firsts, errno: 0 };
}

function expectedFirsts(count: number): number[] {
  return Array.from({ length: count }, (_, i) => 4 * i);
}

/** A producer and consumer of others. */
interface Other {
  readonly name: string;
  readonly load: () => AsyncPeer;
  /** Batches that its consumer requests ahead of the reader. */
  readonly ahead: number;
}

const OTHERS: readonly Other[] = [
  { name: "C", load: () => loadSample(peers.compiler!), ahead: 4 },
  // Its queue of 4 is followed by a generator that reads 32 ahead, and holds one.
  { name: "Arrow C++", load: () => loadArrowCpp(peers.arrowCpp!), ahead: 37 },
];
const needs = ["compiler", "arrowCpp"] as const;

for (const { name, load, ahead } of OTHERS) {
  peerTest(needs, `${name} produces: all batches come in order, at every size of the window`, async () => {
    const peer = load();
    for (const count of [0, 1, 5, 40]) {
      for (const window of [1, 3, 64]) {
        for (const [delayUs, blocking] of [[0n, false], [0n, true], [200n, false]] as const) {
          const start = (handler: bigint) => peer.async_produce(handler, BigInt(count), -1n, delayUs);
          const stream = await importAsyncStream(start, { window, blocking });
          assertEquals(await firstsOf(stream), { firsts: expectedFirsts(count), errno: 0 }, `${count} ${window}`);
        }
      }
    }
    await settled();
  });

  peerTest(needs, `${name} produces: a reader that leaves at any point cancels it`, async () => {
    const peer = load();
    for (let taken = 0; taken <= 6; taken++) {
      for (const delayUs of [0n, 300n]) {
        let isProduced = false;
        // Returns when the handler was released.
        const start = (handler: bigint) =>
          peer.async_produce(handler, 1_000_000n, -1n, delayUs).then(() => isProduced = true);
        const stream = await importAsyncStream(start);
        for (let i = 0; i < taken; i++) (await stream.next())![Symbol.dispose]();
        await stream.cancel();
        await assertDipcError("cancelled", "was cancelled", () => stream.next());
        for (let i = 0; i < 400 && !isProduced; i++) await new Promise((resolve) => setTimeout(resolve, 5));
        assert(isProduced, `after ${taken} batches`);
      }
    }
    await settled();
  });

  peerTest(needs, `${name} produces: an error at any point follows the batches before it`, async () => {
    const peer = load();
    for (const failAfter of [1, 2, 5, 9]) {
      const stream = await importAsyncStream((handler) => peer.async_produce(handler, 10n, BigInt(failAfter), 0n));
      const { firsts, errno } = await firstsOf(stream);
      assertEquals(firsts, expectedFirsts(failAfter));
      assert(errno > 0, `errno ${errno}`);
      await assertDipcError(errno === 22 ? "invalid_data" : "io", "planned failure", () => stream.next());
    }
    await settled();
  });

  peerTest(needs, `${name} consumes: all batches of every source come in order`, async () => {
    const peer = load();
    for (const count of [0, 1, 5, 40]) {
      const batches = Array.from({ length: count }, (_, i) => kitBatch(i));
      const sources: StreamSource[] = [batches, kitStream(count), kitStream(count, -1, 200)];
      for (const source of sources) {
        const consumer = new PeerConsumer(peer);
        const exported = exportAsyncStream(source, consumer.handler, { schema: KIT_SCHEMA });
        const { firsts, errno } = await consumer.readAll();
        assertEquals([firsts.map(Number), errno], [expectedFirsts(count), 0]);
        assertEquals(await exported, { end: "complete", batches: count });
        await consumer.close();
      }
    }
    assertEquals(taskCount(), 0);
    await settled();
  });

  peerTest(needs, `${name} consumes: no batch is fetched beyond what is requested, and the one after it`, async () => {
    const peer = load();
    let fetched = 0;
    async function* endless(): AsyncGenerator<RecordBatch> {
      for (;;) yield kitBatch(fetched++);
    }
    const stop = new AbortController();
    const consumer = new PeerConsumer(peer);
    const exported = exportAsyncStream(endless(), consumer.handler, { schema: KIT_SCHEMA, signal: stop.signal });
    for (let read = 1; read <= 20; read++) {
      assertEquals(await consumer.read(), BigInt(4 * (read - 1)));
      await new Promise((resolve) => setTimeout(resolve, 2));
      // One is being read, and one is fetched before it is requested.
      assert(fetched <= read + ahead + 2, `${fetched} fetched, ${read} read`);
    }
    stop.abort();
    const { end, error } = await exported;
    assertEquals([end, error?.code], ["failed", "cancelled"]);
    assertEquals((await consumer.readAll()).errno, 125);
    await consumer.close();
    reclaimAbandoned(); // Arrow C++ drops what it has queued
    assertEquals(taskCount(), 0);
    await settled();
  });

  peerTest(needs, `${name} consumes: an error of the source at any point arrives`, async () => {
    const peer = load();
    for (const failAfter of [0, 1, 4, 9]) {
      const consumer = new PeerConsumer(peer);
      const exported = exportAsyncStream(kitStream(10, failAfter), consumer.handler, { schema: KIT_SCHEMA });
      const { firsts, errno } = await consumer.readAll();
      // Arrow C++ gives the error as soon as it comes, and drops what it has queued.
      assert(firsts.length <= failAfter, `${firsts.length} batches`);
      assertEquals(errno, 5);
      const { end, error } = await exported;
      assertEquals([end, error?.code], ["failed", "io"]);
      await consumer.close();
    }
    reclaimAbandoned();
    assertEquals(taskCount(), 0);
    await settled();
  });
}

peerTest(["compiler", "arrowCpp"], "a consumer in C that leaves at any point cancels dipc", async ({ compiler }) => {
  const sample = loadSample(compiler);
  let isClosed = false;
  async function* endless(): AsyncGenerator<RecordBatch> {
    try {
      for (let i = 0;; i++) yield kitBatch(i);
    } finally {
      isClosed = true;
    }
  }
  for (let taken = 0; taken <= 6; taken++) {
    isClosed = false;
    const consumer = new PeerConsumer(sample);
    const exported = exportAsyncStream(endless(), consumer.handler, { schema: KIT_SCHEMA });
    for (let i = 0; i < taken; i++) assertEquals(await consumer.read(), BigInt(4 * i));
    await consumer.close();
    const { end } = await exported;
    // Before the schema has come, there is nothing to cancel, and it is refused.
    assert(end === "cancelled" || (taken === 0 && end === "refused"), end);
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(isClosed, end === "cancelled");
  }
  assertEquals(taskCount(), 0);
  await settled();
});

peerTest(["compiler", "arrowCpp"], "100,000 tasks come from another thread, and go to one", async ({ compiler }) => {
  const sample = loadSample(compiler);
  const start = (handler: bigint) => sample.async_produce(handler, 100_000n, -1n, 0n);
  const stream = await importAsyncStream(start, { window: 64, blocking: true });
  let count = 0, sum = 0;
  for await (using batch of stream.batches()) {
    sum += batch.numRows;
    count++;
  }
  assertEquals([count, sum], [100_000, 400_000]);
  const consumer = new PeerConsumer(sample);
  function* repeated(): Generator<RecordBatch> {
    const batch = kitBatch(0);
    for (let i = 0; i < 20_000; i++) yield batch;
  }
  const exported = exportAsyncStream({ [Symbol.iterator]: repeated }, consumer.handler, { schema: KIT_SCHEMA });
  const { firsts } = await consumer.readAll();
  assertEquals([firsts.length, (await exported).batches], [20_000, 20_000]);
  await consumer.close();
  assertEquals(taskCount(), 0);
  await settled();
});

Deno.test("dipc reads what dipc produces, with metadata, errors and dictionaries", async () => {
  const metadata = new Map([["rows", "12"], ["", "é"]]);
  let result;
  const stream = await importAsyncStream((handler) => {
    result = exportAsyncStream(kitStream(3), handler, { metadata });
  });
  assertEquals([...stream.metadata], [...metadata]);
  for await (const batch of stream.batches()) {
    assertEquals(batch.metadata.size, 0);
    batch[Symbol.dispose]();
  }
  assertEquals(await result, { end: "complete", batches: 3 });
  const failing = await importAsyncStream((handler) => void exportAsyncStream(kitStream(3, 2), handler));
  assertEquals((await firstsOf(failing)).firsts, [0, 4]);
  const error = await failing.next().catch((error) => error);
  assert(error instanceof DipcError);
  assertEquals([error.code, error.foreign?.metadata?.get("dipc.code")], ["io", "io"]);
  await settled();
});

Deno.test("what cannot be started is an error at once, and nothing waits", async () => {
  await assertDipcError("invalid_argument", "address is 0", () => exportAsyncStream([], 0n));
  const misspelt = { windows: 1 } as never;
  await assertDipcError("invalid_argument", "windows", () => importAsyncStream(() => {}, misspelt));
  await assertDipcError("invalid_argument", "windows", () => exportAsyncStream([], 0n, misspelt));
  await assertDipcError("invalid_argument", "window", () => importAsyncStream(() => {}, { window: 0 }));
  const boom = new Error("boom");
  const failed = await importAsyncStream(() => {
    throw boom;
  }).catch((error) => error);
  assertEquals(failed, boom);
  assertEquals(await importAsyncStream(() => Promise.reject(boom)).catch((error) => error), boom);
  const signal = AbortSignal.timeout(20);
  await assertDipcError("cancelled", "was cancelled", () => importAsyncStream(() => {}, { signal }));
  await assertDipcError(
    "cancelled",
    "was cancelled",
    () => importAsyncStream(() => {}, { signal: AbortSignal.abort() }),
  );
  // The source cannot be opened: the consumer learns it.
  const opening = importAsyncStream((handler) => void exportAsyncStream([], handler));
  assertStringIncludes(((await opening.catch((error) => error)) as DipcError).message, "give the schema");
  const waiting = await importAsyncStream((handler) =>
    void exportAsyncStream(kitStream(9, -1, 5_000_000), handler, { schema: KIT_SCHEMA })
  );
  const next = assertDipcError("cancelled", "was cancelled", () => waiting.next());
  await waiting.cancel();
  await next;
  await settled();
});

peerTest(
  ["compiler", "arrowCpp"],
  "a worker that ends in the middle of a stream leaves the producer waiting, and nothing else",
  async ({ compiler }) => {
    loadSample(compiler); // stays loaded, as it has threads of its own
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(import.meta.resolve("./support/async_worker.ts"), { type: "module" });
      const answer = Promise.withResolvers<unknown>();
      worker.onmessage = ({ data }) => answer.resolve(data);
      worker.onerror = (event) => answer.reject(event.error ?? new Error(event.message));
      worker.postMessage(compiler);
      assertEquals(await answer.promise, "three");
      worker.terminate();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const stream = await importAsyncStream((handler) => loadSample(compiler).async_produce(handler, 5n, -1n, 0n));
    assertEquals((await firstsOf(stream)).firsts, expectedFirsts(5));
  },
);

Deno.test("an end that comes while it is looked at hides nothing that came before it", async () => {
  const failure = new DipcError("io", "cannot go on: planned failure");
  let looks = 0, tasks = 1;
  // Everything comes after the first look at anything.
  const reader = {
    get schema(): bigint | null {
      return looks++ > 0 ? 0n : null;
    },
    get hasTask(): boolean {
      return looks++ > 0 && tasks > 0;
    },
    get hasEnded(): boolean {
      return false;
    },
    get failure(): DipcError | null {
      return looks++ > 0 ? failure : null;
    },
    take: () => --tasks,
  } as unknown as AsyncReader;
  // There is no schema at address 0, but it is looked for.
  await assertDipcError("invalid_argument", "address is 0", () => new AsyncInput(reader, true).schema());
  looks = 0;
  const input = new AsyncInput(reader, true);
  await input.next(0n);
  assertEquals(tasks, 0);
  await assertDipcError("io", "planned failure", () => input.next(0n));
});

peerTest(
  ["compiler", "arrowCpp"],
  "the data of a task are extracted once, and not after they were taken back",
  async ({ compiler }) => {
    const sample = loadSample(compiler);
    const consumer = new PeerConsumer(sample);
    const extracted: number[] = [];
    const tasks: Uint8Array<ArrayBuffer>[] = [];
    const extract = (task: Uint8Array<ArrayBuffer>): number => {
      using out = new CStruct("ArrowDeviceArray");
      const pointer = Deno.UnsafePointer.create<typeof EXTRACT>(new BigUint64Array(task.buffer)[0])!;
      return new Deno.UnsafeFnPointer(pointer, EXTRACT).call(task, out.address);
    };
    // In place of the consumer's own callback.
    const callback = Deno.UnsafeCallback.threadSafe(
      { parameters: ["usize", "usize", "usize"], result: "i32" },
      (_self, task) => {
        if (BigInt(task) === 0n) return 0;
        const copy = new Uint8Array(128);
        Deno.UnsafePointerView.copyInto(Deno.UnsafePointer.create(BigInt(task))!, copy.subarray(0, 16));
        tasks.push(copy);
        if (tasks.length === 1) extracted.push(extract(copy), extract(copy));
        return 0;
      },
    );
    const address = new BigUint64Array([BigInt(Deno.UnsafePointer.value(callback.pointer))]);
    const memory = Deno.UnsafePointerView.getArrayBuffer(
      Deno.UnsafePointer.create(consumer.handler)!,
      48,
    ) as ArrayBuffer;
    new BigUint64Array(memory)[1] = address[0];
    const { end, batches } = await exportAsyncStream(kitStream(10, 3), consumer.handler, { schema: KIT_SCHEMA });
    callback.close();
    assertEquals([end, batches, tasks.length, taskCount()], ["failed", 3, 3, 2]);
    assertEquals(extracted, [0, 22]);
    assertEquals([extract(tasks[1]), taskCount()], [0, 1]);
    reclaimAbandoned();
    assertEquals([extract(tasks[2]), taskCount()], [22, 0]);
    await consumer.close();
    await settled();
  },
);

Deno.test("a stream opens no library that the one before it has opened", async () => {
  const run = async (): Promise<void> => {
    const stream = await importAsyncStream((handler) => void exportAsyncStream(kitStream(2), handler));
    assertEquals((await firstsOf(stream)).firsts, [0, 4]);
  };
  await run();
  const { dlopen } = Deno;
  try {
    Deno.dlopen = () => {
      throw new Error("a library was opened");
    };
    await run();
  } finally {
    Deno.dlopen = dlopen;
  }
  await settled();
});
