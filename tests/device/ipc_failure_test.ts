/** A driver that fails at any call while memory is shared: the stream is whole or ends with an error, and nothing is left. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { connectCuda, releaseDevices } from "../../cuda.ts";
import { DipcError, serve } from "../../mod.ts";
import { releaseTransports } from "../../src/wire/ucx/shared.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { resident, rowsOf } from "../support/generated.ts";
import { seededRandom } from "../support/random.ts";
import { until } from "../support/time.ts";
import { deviceTest } from "./support/device_tests.ts";
import { Server } from "./support/ipc_processes.ts";

const ROWS = rowsOf(1 << 18), BATCHES = 3;
/** `CUDA_ERROR_OUT_OF_MEMORY`, `_ILLEGAL_ADDRESS`, `_NOT_SUPPORTED`, `_UNKNOWN`. */
const RESULTS = [2, 700, 801, 999];
/** One call in so many fails in a usual run; 1 for all of them. */
const STEP = Number(Deno.env.get("DIPC_IPC_FAILURES_STEP") ?? 6);

/**
 * Has one driver call after the other fail.
 *
 * @param work Returns how many rows it has seen; may fail with an error of dipc
 * @returns how many calls it makes, and how many failures ended it
 */
async function failEach(work: () => Promise<number>): Promise<{ calls: number; failed: number }> {
  const control = cuda!.control!;
  const before = control.calls;
  assertEquals(await work(), BATCHES * ROWS);
  await releaseDevices();
  const calls = control.calls - before;
  let failed = 0;
  for (let call = 1 + seededRandom().below(STEP); call <= calls; call += STEP) {
    control.failAfter(call, RESULTS[call % RESULTS.length]);
    try {
      assertEquals(await work(), BATCHES * ROWS, `after call ${call} failed`);
    } catch (error) {
      assert(error instanceof DipcError, `call ${call}: ${error}`);
      failed++;
    }
    await releaseTransports();
    await releaseDevices().catch((error) => assert(error instanceof DipcError, String(error)));
    control.failAfter(0, 0);
    const left = Object.entries(control.all).filter(([, count]) => count > 0);
    assertEquals([left, control.complaints], [[], []], `after call ${call} failed`);
  }
  return { calls, failed };
}

deviceTest(
  "any driver call of a client that reads in place fails: whole or an error, and nothing stays open",
  async () => {
    await using server = await Server.start({ generated: { made: [BATCHES, ROWS] } });
    let shared = 0, sent = 0;
    const { calls, failed } = await failEach(async () => {
      await using stream = await connectCuda(server.uris.made);
      let rows = 0;
      for await (using batch of stream) {
        using host = await batch.toHost();
        rows += host.numRows;
      }
      if (stream.stats.sharedBytes > 0) shared++;
      else sent++;
      return rows;
    });
    console.log(
      `${calls} calls: ${failed} failures ended the stream, else ${shared} read in place and ${sent} did not`,
    );
    assertGreater(failed, 0);
    if (STEP === 1) assertGreater(sent, 0);
    assertGreater(shared, sent);
    await until(async () => (await server.sharing()).clients === 0);
  },
  [needsSimulator],
);

deviceTest(
  "any driver call of a server that shares fails: it serves or does not start, and nothing stays",
  async () => {
    const source = resident(BATCHES, ROWS);
    let refused = 0;
    const { calls, failed } = await failEach(async () => {
      await using server = await serve({ datasets: { d: { source, memory: "cuda:0", share: true } } });
      const [{ rows, sharingReason }] = server.datasets;
      if (sharingReason !== "") refused++;
      return rows!;
    });
    console.log(`${calls} calls: ${failed} failures were errors of the start, ${refused} meant that nothing is shared`);
    assertGreater(failed, 0);
    if (STEP === 1) assertGreater(refused, 0);
  },
  [needsSimulator],
);
