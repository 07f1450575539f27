/**
 * A driver that fails at any call: every transfer ends soon, with an error that says so, and gives everything back.
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { Dictionary, Int32, Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { type Dataset, DipcError, fromTable, serve } from "../../mod.ts";
import { connectCuda, releaseDevices } from "../../cuda.ts";
import { openGpu } from "../../src/device/devices.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import type { Transport } from "../../src/wire/transport.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { deviceTest } from "./support/device_tests.ts";
import { deviceTransport } from "./support/device_transport.ts";

/** Calls that fail, one after the other. */
const CALLS = 500;
/** Longest time of one transfer. */
const LIMIT_MS = 20_000;
/** `CUDA_ERROR_OUT_OF_MEMORY`, `_ILLEGAL_ADDRESS`, `_LAUNCH_FAILED`, `_UNKNOWN`. */
const RESULTS = [2, 700, 719, 999];

/** Batches with a dictionary and nulls, an empty one, and one with so many rows. */
function mixedTable(rows: number): Table {
  const sizes = [10, 0, rows, 3, 100, 5, ...Array(20).fill(17)];
  const length = sizes.reduce((sum, size) => sum + size);
  const text = vectorFromArray(
    Array.from({ length }, (_, i) => i % 7 === 0 ? null : `value ${i % 5}`),
    new Dictionary(new Utf8(), new Int32()),
  );
  const values = Float64Array.from({ length }, (_, i) => i / 4);
  const [all] = (tableFromArrays as (columns: unknown) => Table)({ values, text }).batches;
  let start = 0;
  return new Table(sizes.map((size) => all.slice(start, start += size)));
}

/** What a transfer came to. */
interface Outcome {
  rows: number;
  error: DipcError | null;
}

/**
 * Uploads on the server, sends, receives, copies back, and when staged copies in between; all of it may fail.
 *
 * @param way `direct` puts a transport that takes device memory over the one given
 */
async function transfer(source: Dataset, transport: Transport, way: "staged" | "direct"): Promise<Outcome> {
  const inner: Transport = {
    connect: (...args) => transport.connect(...args),
    listen: (options) => transport.listen(options),
    close: () => Promise.resolve(),
  };
  let rows = 0;
  try {
    const shared = way === "staged" ? inner : deviceTransport(inner, openGpu("cuda:0")).transport;
    await using server = await serve({ datasets: { d: { source, memory: "cuda:0" } }, transport: shared });
    await using stream = await connectCuda(server.datasets[0].uris, {
      memory: way === "staged" ? "cuda:1" : "cuda:0",
      transport: shared,
      timeoutMs: 5_000,
    });
    for await (using batch of stream) {
      using host = await batch.toHost();
      rows += host.numRows;
    }
    return { rows, error: null };
  } catch (error) {
    assert(error instanceof DipcError, `not a DipcError: ${error}`);
    return { rows, error };
  }
}

/** Fails rather than waiting forever. */
async function within<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer!);
  }
}

/** Has one call of a transfer fail after the other. @returns how many of them ended it */
async function failEach(
  table: Table,
  calls: Iterable<number>,
  way: "staged" | "direct" = "staged",
): Promise<number> {
  const control = cuda!.control!;
  const source = await fromTable(table);
  const transport = await ucxTransport();
  let failed = 0;
  try {
    const before = control.calls;
    const whole = await transfer(source, transport, way);
    assertEquals([whole.error, whole.rows], [null, table.numRows]);
    await releaseDevices();
    console.log(`a whole transfer makes ${control.calls - before} driver calls`);
    for (const call of calls) {
      assert(call <= control.calls - before, "a call that a whole transfer does not reach");
      control.failAfter(call, RESULTS[call % RESULTS.length]);
      const { rows, error } = await within(`the transfer whose call ${call} fails`, transfer(source, transport, way));
      await releaseDevices().catch((error) => assert(error instanceof DipcError, String(error)));
      control.failAfter(0, 0);
      if (error === null) {
        // Giving something back is tried twice, so that one failure of it changes nothing.
        assertEquals(rows, whole.rows);
      } else {
        failed++;
        const text = `call ${call}: ${error.code}: ${error.message}`;
        assert(
          /CUDA_ERROR_|CUDA driver|reading the dataset failed|the server failed to answer \(/.test(error.message),
          text,
        );
        assert(!/undefined|\[object/.test(error.message), text);
      }
      const left = Object.entries(control.all).filter(([, count]) => count > 0);
      assertEquals([left, control.complaints], [[], []], `after call ${call} failed: ${error?.message}`);
    }
  } finally {
    control.failAfter(0, 0);
    await transport.close();
    await source.close();
  }
  return failed;
}

deviceTest(`each of the first ${CALLS} driver calls of a transfer fails: a clear error, no leak, no hang`, async () => {
  const failed = await failEach(mixedTable(300), Array.from({ length: CALLS }, (_, i) => i + 1));
  console.log(`${failed} of ${CALLS} failures ended the transfer, the others were overcome`);
  assertGreater(failed, CALLS / 2);
}, [needsSimulator]);

deviceTest("driver calls of a transfer with a body that is copied in pieces fail: the same", async () => {
  const calls = Array.from({ length: 24 }, (_, i) => 40 + 30 * i);
  const failed = await failEach(mixedTable(600_000), calls); // 7 MB, more than one piece
  assertGreater(failed, calls.length / 3);
}, [needsSimulator]);

deviceTest(
  "driver calls of a transfer without staging, and of finding out that it works, fail: the same",
  async () => {
    const calls = Array.from({ length: 60 }, (_, i) => 1 + 7 * i);
    const failed = await failEach(mixedTable(300), calls, "direct");
    assertGreater(failed, calls.length / 4);
  },
  [needsSimulator],
);
