/** Datasets in the memory of a GPU that clients in other processes read in place: whole, given back, and sent if that cannot be. */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { connect, type DipcError, serve } from "../../mod.ts";
import { connectCuda } from "../../cuda.ts";
import type { DeviceRecordBatch } from "../../src/device/record_batch.ts";
import { collect } from "../../src/memory/collector.ts";
import { cuda, needsSimulator } from "../support/cuda_sim.ts";
import { assertDipcError } from "../support/assert.ts";
import { resident, rowsOf } from "../support/generated.ts";
import { needsGold } from "../support/needs.ts";
import type { Running } from "../support/processes.ts";
import { seededRandom } from "../support/random.ts";
import { until } from "../support/time.ts";
import { deviceTest } from "./support/device_tests.ts";
import { deviceColumns, expectedOf, goldFiles } from "./support/gold_files.ts";
import type { IpcClientFacts } from "./support/ipc_client.ts";
import { Server, start } from "./support/ipc_processes.ts";
import type { IpcServerTask } from "./support/ipc_server.ts";

const MEMORY = "cuda:0";
/** Rows of a batch of 1 MiB. */
const ROWS = rowsOf(1 << 20);
const BATCHES = 4;

/** A client in another process, which holds its last batch. */
async function startClient(uri: string, env: Record<string, string> = {}): Promise<[Running, IpcClientFacts]> {
  const client = start("ipc_client.ts", uri, env);
  const line = await client.firstLine;
  if (line === null) throw new Error((await client.outcome).stderr);
  return [client, JSON.parse(line)];
}

async function endClient(client: Running): Promise<void> {
  await client.closeStdin();
  const { code, stderr } = await client.outcome;
  assertEquals([code, stderr], [0, ""], "the client");
}

const TASK: IpcServerTask = { generated: { made: [BATCHES, ROWS] } };

async function assertValues(batch: DeviceRecordBatch, number: number): Promise<void> {
  using host = await batch.toHost();
  const values = host.getChildAt(0)!.toArray() as BigInt64Array;
  assertEquals([values.length, values[0]], [ROWS, BigInt(number)]);
  for (let row = 1; row < ROWS; row++) if (values[row] !== BigInt(row)) throw new Error(`row ${row}: ${values[row]}`);
}

const imports = () => cuda!.control?.live("imports") ?? 0;

deviceTest(
  "a client in another process reads a dataset in place: opened once, closed with its last batch",
  async () => {
    await using server = await Server.start(TASK);
    const held: DeviceRecordBatch[] = [];
    const before = cuda!.control?.callsOf("cuIpcOpenMemHandle_v2") ?? 0;
    await using first = await connectCuda(server.uris.made);
    await using second = await connectCuda(server.uris.made);
    for (const stream of [first, second]) {
      let number = 0;
      for await (const batch of stream) {
        await assertValues(batch, number++);
        if (number === BATCHES) held.push(batch);
        else batch[Symbol.dispose]();
      }
      const { batches, bodyBytes, sharedBytes, sharingReason } = stream.stats;
      assertEquals([batches, sharedBytes, sharingReason], [BATCHES, bodyBytes, ""]);
    }
    // Both read the same memory.
    assertEquals(held[0].address, held[1].address);
    if (cuda!.control) assertEquals([cuda!.control.callsOf("cuIpcOpenMemHandle_v2") - before, imports()], [1, 1]);
    assertEquals((await server.sharing()).clients, 2);
    held[0][Symbol.dispose]();
    await until(async () => (await server.sharing()).clients === 1);
    await assertValues(held[1], BATCHES - 1);
    held[1][Symbol.dispose]();
    assertEquals(imports(), 0);
    await until(async () => (await server.sharing()).clients === 0);
  },
);

deviceTest("a reader that leaves early, and batches that are only dropped, give everything back", async () => {
  await using server = await Server.start(TASK);
  {
    await using stream = await connectCuda(server.uris.made);
    for await (using batch of stream) {
      await assertValues(batch, 0);
      break;
    }
  }
  assertEquals(imports(), 0);
  await (async () => {
    const stream = await connectCuda(server.uris.made);
    for await (const batch of stream) await batch.ready();
  })();
  await until(() => {
    collect("all");
    return imports() === 0;
  });
  await until(async () => (await server.sharing()).clients === 0);
});

deviceTest("every gold stream is read in place, dictionaries and compressed bodies, too", async () => {
  const files = goldFiles(/\.stream$/);
  await using server = await Server.start({
    files: Object.fromEntries(files.map(({ name, path }) => [name, path])),
    minBodyBytes: 0,
  });
  let shared = 0;
  for (const { name, path } of files) {
    assertEquals(await deviceColumns(server.uris[name], MEMORY), (await expectedOf(path)).columns, name);
    await using stream = await connectCuda(server.uris[name]);
    for await (using _ of stream);
    const { sharedBytes, sharingReason } = stream.stats;
    assertEquals(sharingReason, "", name);
    shared += sharedBytes;
  }
  assertGreater(shared, 0);
}, [needsGold]);

deviceTest("a flight is read in place by its location of UCX", async () => {
  await using server = await Server.start({ ...TASK, flight: true });
  await using stream = await connectCuda(`${server.uris.flight}/made`);
  let number = 0;
  for await (using batch of stream) await assertValues(batch, number++);
  assertEquals([number, stream.stats.sharedBytes, stream.stats.sharingReason], [BATCHES, stream.stats.bodyBytes, ""]);
});

deviceTest("bodies are sent, and the reason is known, to who cannot read the memory of that GPU", async () => {
  await using server = await serve({
    datasets: { device: { source: resident(BATCHES, ROWS), memory: MEMORY, share: true } },
  });
  await using ofHost = await Server.start({ ...TASK, memory: "host" });
  const [device, host] = [server.datasets[0].uris[0], ofHost.uris.made];
  const cases: [about: string, open: () => ReturnType<typeof connect | typeof connectCuda>, reason: string][] = [
    [
      "in one process",
      () => connectCuda(device),
      "the server is this process, and CUDA opens memory in other processes",
    ],
    ["by the CPU", () => connect(device), "in the memory of cuda:0, which a client reads that receives into that GPU"],
    [
      "a dataset of the CPU",
      () => connectCuda(host),
      "it is in host memory, and the client receives into that of a GPU",
    ],
    ["the option", () => connectCuda(device, { share: false }), "the option share is off"],
  ];
  for (const [about, open, reason] of cases) {
    await using stream = await open();
    const table = await stream.toTable();
    assertEquals([table.numRows, table.getChildAt(0)!.get(ROWS)], [BATCHES * ROWS, 1n], about);
    assertEquals([stream.stats.batches, stream.stats.sharedBytes], [BATCHES, 0], about);
    assertStringIncludes(stream.stats.sharingReason!, reason, about);
  }
});

/** Results of the driver. */
const NOT_SUPPORTED = 801, INVALID_CONTEXT = 201;

deviceTest("a driver that refuses to share or to open memory costs nothing but the reason", async () => {
  const read = async (uri: string): Promise<string> => {
    await using stream = await connectCuda(uri);
    let number = 0;
    for await (using batch of stream) await assertValues(batch, number++);
    assertEquals([number, stream.stats.sharedBytes], [BATCHES, 0]);
    return stream.stats.sharingReason!;
  };
  for (const name of ["cuIpcGetMemHandle", "cuIpcGetEventHandle"]) {
    const env = { CUDA_SIM_FAIL_FUNCTION: name, CUDA_SIM_FAIL_WITH: "CUDA_ERROR_NOT_SUPPORTED" };
    await using server = await Server.start(TASK, env);
    assertStringIncludes(await read(server.uris.made), "its driver refuses that (CUDA_ERROR_NOT_SUPPORTED)");
  }
  await using server = await Server.start(TASK);
  const control = cuda!.control!;
  for (const [name, result] of [["cuIpcOpenMemHandle_v2", NOT_SUPPORTED], ["cuIpcOpenEventHandle", INVALID_CONTEXT]]) {
    control.failFunction(name as string, result as number);
    assertStringIncludes(await read(server.uris.made), "of another process on cuda:0: the CUDA driver reports");
    control.clear();
    assertEquals(imports(), 0);
    await until(async () => (await server.sharing()).clients === 0);
  }
  assertEquals(
    (await (async () => {
      await using stream = await connectCuda(server.uris.made);
      for await (using _ of stream);
      return stream.stats;
    })()).sharingReason,
    "",
  );
}, [needsSimulator]);

deviceTest("batches stay as they are when the server dies, and nothing is left of it", async () => {
  await using server = await Server.start(TASK);
  const held: DeviceRecordBatch[] = [];
  await using stream = await connectCuda(server.uris.made);
  for await (const batch of stream) held.push(batch);
  await held[0].ready();
  server.kill();
  for (const [number, batch] of held.entries()) await assertValues(batch, number);
  for (const batch of held) batch[Symbol.dispose]();
  assertEquals(imports(), 0);
}, [needsSimulator]);

deviceTest("memory is freed when the server has ended and the last client has left, killed or not", async () => {
  for (const how of ["leaves", "is killed"]) {
    const server = await serve({
      datasets: { d: { source: resident(BATCHES, ROWS), memory: MEMORY, share: true } },
    });
    const [client, facts] = await startClient(server.datasets[0].uris[0]);
    await using _ = client;
    const firsts = Array.from({ length: BATCHES }, (_, i) => String(i));
    assertEquals(facts, { firsts, bodyBytes: facts.bodyBytes, sharedBytes: facts.bodyBytes, sharingReason: "" });
    assertEquals(server.sharing!.clients, 1);
    await server.shutdown({ timeoutMs: 0 });
    const events = cuda!.control?.live("events") ?? 0;
    assert(cuda!.control === null || cuda!.control.live("bytes") >= facts.bodyBytes, "freed while a client has it");
    if (how === "leaves") await endClient(client);
    else client.kill("SIGKILL");
    // The event that marks when it was filled goes with it.
    await until(() => cuda!.control === null || cuda!.control.live("events") < events);
  }
});

deviceTest("a client that is killed gives everything back while the server goes on", async () => {
  await using server = await serve({
    datasets: { d: { source: resident(BATCHES, ROWS), memory: MEMORY, share: true } },
  });
  for (let round = 0; round < 2; round++) {
    const [client] = await startClient(server.datasets[0].uris[0]);
    await using _ = client;
    assertEquals(server.sharing!.clients, 1);
    client.kill("SIGKILL");
    await until(() => server.sharing!.clients === 0);
  }
});

/** Streams that are read; `DIPC_IPC_STREAMS` for longer runs. */
const STREAMS = Number(Deno.env.get("DIPC_IPC_STREAMS") ?? 8);

deviceTest(
  "a batch that was disposed throws, those in hand stay right, with collections at random moments",
  async () => {
    const random = seededRandom();
    await using server = await Server.start({ generated: { one: [BATCHES, ROWS], two: [BATCHES, ROWS] } });
    const held: [batch: DeviceRecordBatch, number: number][] = [];
    const release = async (): Promise<void> => {
      const [[batch, number]] = held.splice(random.below(held.length), 1);
      if (random.chance(0.5)) await assertValues(batch, number);
      // Some are only dropped.
      if (random.chance(0.2)) return;
      // A copy that was requested before is whole, or was too late.
      const copy = random.chance(0.3) ? batch.toHost().catch((error: DipcError) => error.code) : null;
      for (let times = random.chance(0.2) ? 2 : 1; times > 0; times--) batch[Symbol.dispose]();
      for (
        const use of [
          () => batch.columns,
          () => batch.address,
          () => batch.waitOn(0n),
          () => batch.usedBy({ stream: 0n }),
        ]
      ) {
        assertDipcError("closed", "it was disposed", use);
      }
      await assertDipcError("closed", "it was disposed", () => batch.toHost());
      const host = await copy;
      if (typeof host === "string") assertEquals(host, "closed");
      else if (host !== null) assertEquals(host.getChildAt(0)!.get(0), BigInt(number));
      if (typeof host === "object") host?.[Symbol.dispose]();
    };
    const read = async (uri: string): Promise<void> => {
      await using stream = await connectCuda(uri);
      let number = 0;
      for await (const batch of stream) {
        held.push([batch, number++]);
        while (held.length > random.below(6)) await release();
        if (random.chance(0.3)) collect(random.pick(["all", "young"]));
        if (random.chance(0.05)) break;
      }
      assertEquals(stream.stats.sharingReason, "");
    };
    for (let i = 0; i < STREAMS; i++) await read(server.uris[random.pick(["one", "two"])]);
    while (held.length > 0) await release();
    await until(() => {
      collect("all");
      return imports() === 0;
    });
    await until(async () => (await server.sharing()).clients === 0);
  },
);
