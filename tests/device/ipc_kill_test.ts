/** Processes that share memory of a GPU and are killed at random moments: the other side goes on, and nothing is left of them. */
import { assert, assertEquals } from "@std/assert";
import { connectCuda } from "../../cuda.ts";
import { DipcError, serve } from "../../mod.ts";
import type { DeviceRecordBatch } from "../../src/device/record_batch.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { resident, rowsOf } from "../support/generated.ts";
import { seededRandom } from "../support/random.ts";
import { delay, until } from "../support/time.ts";
import { deviceTest } from "./support/device_tests.ts";
import { Server, start } from "./support/ipc_processes.ts";

const ROWS = rowsOf(1 << 18), BATCHES = 20;
/** Processes that are killed in each test. */
const KILLS = Number(Deno.env.get("DIPC_IPC_KILLS") ?? 2);
/** Latest time of a kill after the process has begun, in milliseconds. */
const LATEST_MS = 300;

deviceTest("a server takes everything back from clients that are killed at random moments", async () => {
  const random = seededRandom();
  await using server = await serve({
    datasets: { d: { source: resident(BATCHES, ROWS), memory: "cuda:0", share: true } },
  });
  const [uri] = server.datasets[0].uris;
  for (let kill = 0; kill < KILLS; kill++) {
    await using client = start("ipc_reader.ts", String(random.uint32()), {}, uri);
    assertEquals(await client.firstLine, "reading");
    await delay(random.below(LATEST_MS));
    assert(!client.ended, (await Promise.race([client.outcome, { stderr: "" }])).stderr);
    client.kill("SIGKILL");
    await until(() => server.sharing!.clients === 0);
  }
});

deviceTest(
  "a client of servers that are killed at random moments gets whole batches or an error, and leaves nothing open",
  async () => {
    const random = seededRandom(1);
    for (let kill = 0; kill < KILLS; kill++) {
      await using server = await Server.start({ generated: { made: [BATCHES, ROWS] } });
      const killed = delay(random.below(LATEST_MS)).then(() => server.kill());
      const held: [batch: DeviceRecordBatch, number: number][] = [];
      try {
        for (;;) {
          await using stream = await connectCuda(server.uris.made, { timeoutMs: 5_000 });
          let number = 0;
          for await (const batch of stream) {
            held.push([batch, number++]);
            if (held.length > random.below(8)) held.splice(random.below(held.length), 1)[0][0][Symbol.dispose]();
          }
        }
      } catch (error) {
        assert(error instanceof DipcError, String(error));
        assert(["connection_lost", "unreachable", "timeout"].includes(error.code), `${error.code}: ${error.message}`);
      }
      await killed;
      for (const [batch, number] of held) {
        using host = await batch.toHost();
        assertEquals(host.getChildAt(0)!.get(0), BigInt(number));
        batch[Symbol.dispose]();
      }
      assertEquals(cuda!.control!.live("imports"), 0);
    }
  },
  [needsSimulator],
);
