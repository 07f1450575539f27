/** Isolates that fail or stop while they hold connections of a server, and what becomes of those. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, DipcError, fromTable, releaseTransports, serve, type Server } from "../../mod.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { assertDipcError } from "../support/assert.ts";
import { tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { descriptorCount } from "../support/proc.ts";
import { until } from "../support/time.ts";
import { endless, readAll, StartedWorkers, wholeOf } from "./support/isolates.ts";

/** Errors that a server reports, those of the isolates themselves with the connection 0. */
function errorsOf(server: Server): { connection: number; dataset?: string; code: string; message: string }[] {
  const errors: { connection: number; dataset?: string; code: string; message: string }[] = [];
  server.addEventListener("error", ({ detail: { connection, dataset, error } }) => {
    errors.push({ connection, dataset, code: error!.code, message: error!.message });
  });
  return errors;
}

const portOf = (uri: string): number => Number(/:(\d+)\//.exec(uri)![1]);

/** The URI of a dataset at one of the ports. */
function uriAt(server: Server, name: string, port: number): string {
  return server.datasets.find((each) => each.name === name)!.uris.find((uri) => portOf(uri) === port)!;
}

for (const kind of ["lent", "in memory"] as const) {
  testNeeding(
    [needsUcx],
    `an error in an isolate ends its streams and no others, and it is replaced: ${kind}`,
    async () => {
      using workers = new StartedWorkers();
      const table = await fromTable(tripsTable(3000));
      const server = await serve({
        isolates: 2,
        windowBatches: 4,
        datasets: { endless: await endless(), table, small: tripsTable(2) },
      });
      const errors = errorsOf(server);
      const [firstPort, otherPort] = server.datasets[0].uris.map(portOf);
      const name = kind === "lent" ? "endless" : "table";
      const failing = await connect(uriAt(server, name, firstPort));
      const other = await connect(uriAt(server, name, otherPort));
      const next = async (reader: typeof failing): Promise<number> => {
        using batch = (await reader.next()).value!;
        return batch.numRows;
      };
      for (let i = 0; i < 5; i++) assertEquals([await next(failing), await next(other)], [1000, 1000]);

      const before = server.datasets.map(({ uris }) => uris);
      workers.crash(0);
      let failure: unknown = null;
      try {
        for (;;) await next(failing);
      } catch (error) {
        failure = error;
      }
      assert(failure instanceof DipcError, String(failure));
      assert(["internal", "connection_lost"].includes(failure.code), `${failure.code}: ${failure.message}`);
      assert(!failure.message.includes("no such message"), "a peer learns only the code");
      for (let i = 0; i < 50; i++) assertEquals(await next(other), 1000);

      // The new one is at the old port.
      await until(() => workers.all.length === 3);
      const again = await until(
        () => readAll(uriAt(server, "small", firstPort)).catch(() => null),
        (read) => read !== null,
      );
      assertEquals(again, wholeOf(2));
      assertEquals(server.datasets.map(({ uris }) => uris), before);
      assertEquals(await readAll(server.datasets[2].uris), wholeOf(2));
      const ofIsolate = errors.filter(({ connection }) => connection === 0);
      assertEquals(ofIsolate.map(({ code }) => code), ["internal"]);
      assertStringIncludes(ofIsolate[0].message, "isolate 1 of the server: an error was not caught");
      assertStringIncludes(ofIsolate[0].message, "no such message");
      assertEquals(errors.filter(({ dataset }) => dataset === name).map(({ code }) => code), ["internal"]);

      await other.cancel();
      await until(() => server.stats.activeConnections, (active) => active === 0);
      assertEquals(server.stats.failed, 2);
      await server.shutdown();
      await table.close();
      await releaseTransports();
      assertEquals(hostPool().stats.blocksOut, 0);
    },
  );
}

testNeeding([needsUcx], "isolates that fail again and again leave neither descriptors nor memory behind", async () => {
  using workers = new StartedWorkers();
  const datasets = { endless: await endless() };
  // What is opened once and kept.
  await (await serve({ isolates: 2, datasets })).shutdown();
  await releaseTransports();
  const before = descriptorCount("self");
  const server = await serve({ isolates: 2, datasets });
  for (let round = 0; round < 4; round++) {
    const reader = await connect(server.datasets[0].uris);
    (await reader.next()).value![Symbol.dispose]();
    const started = workers.all.length;
    workers.crash(started - 2);
    workers.crash(started - 1);
    while (await reader.next().then(({ value }) => (value![Symbol.dispose](), true), () => false));
    await until(() => workers.all.length === started + 2);
    await until(() => connect(server.datasets[0].uris).then((next) => next.cancel().then(() => true), () => false));
    await releaseTransports();
    await until(() => server.stats.activeConnections, (active) => active === 0);
  }
  await server.shutdown();
  await releaseTransports();
  const after = await until(() => descriptorCount("self"), (count) => count <= before);
  console.log(`descriptors ${before} before, ${after} after`);
  assertEquals(hostPool().stats.blocksOut, 0);
});

testNeeding([needsUcx], "an isolate that was terminated is noticed and replaced at another port", async () => {
  // Its pings come every 5 s: here sooner.
  const { setInterval } = globalThis;
  globalThis.setInterval = ((work: () => void, ms: number) =>
    setInterval(work, ms === 5_000 ? 400 : ms)) as typeof setInterval;
  try {
    using workers = new StartedWorkers();
    const server = await serve({ isolates: 2, datasets: { endless: await endless(), small: tripsTable(2) } });
    const errors = errorsOf(server);
    const [firstPort, otherPort] = server.datasets[0].uris.map(portOf);
    const reader = await connect(uriAt(server, "endless", firstPort), { timeoutMs: 2_000 });
    (await reader.next()).value![Symbol.dispose]();
    workers.all[0].terminate();
    await until(() => errors.length === 2);
    assertEquals(errors.map(({ connection, dataset, code }) => ({ connection, dataset, code })), [
      { connection: 1, dataset: "endless", code: "internal" },
      { connection: 0, dataset: undefined, code: "internal" },
    ]);
    assertStringIncludes(errors[1].message, "isolate 1 of the server: it does not answer any more");
    assertEquals(server.stats.activeConnections, 0);
    await until(() =>
      server.datasets[1].uris.every((uri) => portOf(uri) !== firstPort) && server.datasets[1].uris.length === 2
    );
    assert(server.datasets[1].uris.some((uri) => portOf(uri) === otherPort));
    for (const uri of server.datasets[1].uris) assertEquals(await readAll(uri), wholeOf(2));
    await reader.cancel();
    await server.shutdown();
    await releaseTransports();
  } finally {
    globalThis.setInterval = setInterval;
  }
});

testNeeding([needsUcx], "shutdown lets the streams of all isolates end, and aborts those that do not", async () => {
  // An isolate that was terminated keeps what it had borrowed.
  const lost = hostPool().stats.blocksOut;
  const server = await serve({ isolates: 2, datasets: { table: tripsTable(200), endless: await endless() } });
  const ends: string[] = [];
  for (const type of ["end", "error"] as const) {
    server.addEventListener(
      type,
      ({ detail }) => ends.push(`${type} ${detail.dataset} ${detail.error?.code ?? ""}`.trim()),
    );
  }
  const whole = await Promise.all(server.datasets[0].uris.map((uri) => connect(uri)));
  const cut = await Promise.all(server.datasets[1].uris.map((uri) => connect(uri)));
  for (const reader of [...whole, ...cut]) (await reader.next()).value![Symbol.dispose]();
  const stopped = server.shutdown({ timeoutMs: 1_500 });
  for (const reader of whole) {
    let rows = 1000;
    for await (using batch of reader) rows += batch.numRows;
    assertEquals(rows, 200_000);
  }
  for (const reader of cut) {
    let error: unknown = null;
    try {
      for await (using _ of reader);
    } catch (caught) {
      error = caught;
    }
    assert(error instanceof DipcError && error.code === "closed", String(error));
    assertStringIncludes(error.message, "shutting down");
  }
  await stopped;
  assertEquals(ends.toSorted(), ["end table", "end table", "error endless closed", "error endless closed"]);
  assertEquals(server.stats.activeConnections, 0);
  await releaseTransports();
  assertEquals(hostPool().stats.blocksOut, lost);
});

testNeeding([needsUcx], "an isolate that never starts to listen is an error of the start", async () => {
  const { Worker, setTimeout } = globalThis;
  const ended: Worker[] = [];
  globalThis.Worker = class extends Worker {
    override postMessage(): void {} // so that it waits forever
    override terminate(): void {
      ended.push(this);
      super.terminate();
    }
  };
  // It gets 120 s: here less.
  globalThis.setTimeout = ((work: () => void, ms: number) => setTimeout(work, ms === 120_000 ? 500 : ms)) as never;
  try {
    await assertDipcError(
      "internal",
      "isolate 1 of the server: it has not started within 120 s",
      () => serve({ isolates: 2, datasets: { small: tripsTable(2) } }),
    );
    assertEquals(ended.length, 2);
  } finally {
    Object.assign(globalThis, { Worker, setTimeout });
  }
});
