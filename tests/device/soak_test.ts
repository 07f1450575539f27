/**
 * Many batches and many streams that end early: memory is allocated from the driver at the start only, and all of it is freed.
 */
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { Table, tableFromArrays, tableToIPC } from "apache-arrow";
import { DipcError, fromBatches, serve } from "../../mod.ts";
import { connectCuda, deviceResident } from "../../cuda.ts";
import { repeat } from "../support/repeat.ts";
import { openGpu } from "../../src/device/devices.ts";
import { delay, until } from "../support/time.ts";
import { assertDipcError } from "../support/assert.ts";
import { LoopbackTransport } from "../support/loopback.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import type { Transport } from "../../src/wire/transport.ts";
import { cuda, onSimulator } from "../support/cuda_sim.ts";
import { deviceTest } from "./support/device_tests.ts";
import { generated } from "../support/generated.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { serve as serveProcess, startDipc } from "../support/processes.ts";
import { type Random, seed, seededRandom } from "../support/random.ts";

const BATCHES = 10_000;
const ROWS = 256;
const STREAMS = 1_000;

function allocations(): number[] {
  return [openGpu("cuda:0").pool.stats.allocations, openGpu("cuda:0").pinned.stats.allocations];
}

deviceTest(`${BATCHES} batches through the pools: no driver allocation after the first ones`, async () => {
  const source = generated(BATCHES, ROWS);
  await using server = await serve({ datasets: { host: source, device: { source, memory: "cuda:0" } } });
  for (const { name, uris } of server.datasets) {
    await using stream = await connectCuda(uris, { memory: "cuda:0" });
    let seen = 0;
    let after: number[] = [];
    for await (using batch of stream) {
      assertEquals(batch.numRows, ROWS);
      // The first tenth finds out how much is under way at a time.
      if (++seen === BATCHES / 10) after = allocations();
    }
    assertEquals([seen, allocations()], [BATCHES, after], name);
    console.log(
      `${name}: ${after[0]} allocations of device memory and ${after[1]} of pinned memory for ${seen} batches`,
    );
    assertLess(after[0] + after[1], 40);
  }
});

/** A transport whose channels can be cut. */
function cuttable(transport: Transport): { transport: Transport; cut(): Promise<void> } {
  const channels: { close(): Promise<void> }[] = [];
  return {
    transport: {
      connect: async (...args) => {
        const channel = await transport.connect(...args);
        channels.push(channel);
        return channel;
      },
      listen: (options) => transport.listen(options),
      close: () => Promise.resolve(),
    },
    async cut() {
      for (const channel of channels.splice(0)) await channel.close();
    },
  };
}

deviceTest(`${STREAMS} streams that are cancelled or cut: device memory is back to what it was`, async () => {
  const random = seededRandom();
  // UCX takes a tenth of a second for each stream that does not end well.
  await endEarly(await ucxTransport(), STREAMS / 10, random);
  await endEarly(new LoopbackTransport({ seed }), STREAMS - STREAMS / 10, random);
});

/** Starts streams of device memory and cancels each in one of four ways. */
async function endEarly(carrier: Transport, streams: number, random: Random): Promise<void> {
  const { transport, cut } = cuttable(carrier);
  const source = generated(200, 1 << 10); // more than is read ahead, 8 KiB a body
  await using server = await serve({ datasets: { d: { source, memory: "cuda:0" } }, transport });
  const { uris } = server.datasets[0];
  const level = () => {
    const device = openGpu("cuda:0");
    return [device.pool.stats.bytesOut, device.pinned.stats.bytesOut, device.copies.inFlight];
  };
  const start = level();
  const used: number[] = [];
  for (let i = 0; i < streams; i++) {
    const stop = new AbortController();
    const stream = await connectCuda(uris, { memory: "cuda:0", transport, signal: stop.signal });
    const taken = random.below(12);
    for (let k = 0; k < taken; k++) {
      const { value } = await stream.next();
      value?.[Symbol.dispose]();
    }
    const way = i % 4;
    if (way === 0) {
      await stream.cancel();
    } else if (way === 1) {
      const pending = stream.next();
      stop.abort();
      await pending.then(
        ({ value }) => value?.[Symbol.dispose](),
        (error) => assert(error instanceof DipcError, String(error)),
      );
    } else if (way === 2) {
      for await (using _batch of stream) break;
    } else {
      await cut();
      await assertRejects(async () => {
        for await (using _batch of stream);
      }, DipcError);
    }
    await stream[Symbol.asyncDispose]();
    if (i % (streams / 10) === 0) used.push(openGpu("cuda:0").pool.stats.allocatedBytes);
  }
  await until(() => server.stats.activeConnections === 0);
  await until(() => level().join() === start.join());
  assertEquals(level(), start);
  assertEquals(used.at(-1), used[1], `device memory allocated after each tenth of the streams: ${used}`);
  onSimulator("what the driver itself holds", (control) => {
    assert(control.live("bytes") <= Math.max(...used), `${control.live("bytes")} bytes live, ${used} before`);
    assertEquals(control.complaints, []);
  });
  await server.shutdown({ timeoutMs: 0 });
  await carrier.close();
}

deviceTest(
  "clients that are killed leave no device memory behind in the server, nor does a killed server in a client",
  async () => {
    const placed = repeat(
      await deviceResident(await fromBatches([...int64Table(16, 1 << 15).batches]), "cuda:0"),
      Infinity,
    );
    const device = openGpu("cuda:0");
    {
      await using server = await serve({ datasets: { d: placed } });
      const level = device.pool.stats.bytesOut;
      for (let i = 0; i < 8; i++) {
        const args = ["get", server.datasets[0].uris[0], "--json", ...(i % 2 === 0 ? ["--memory", "cuda:0"] : [])];
        await using client = startDipc(args, { env: cuda!.env });
        const { requests } = server.stats;
        await until(() => server.stats.requests > requests);
        await delay(20 * i); // into the middle of the stream
        client.kill("SIGKILL");
        await client.outcome;
      }
      await until(() => server.stats.activeConnections === 0);
      assertEquals([server.stats.failed, server.stats.completed], [8, 0]);
      await until(() => device.pinned.stats.bytesOut === 0);
      assertEquals([device.pool.stats.bytesOut, device.pinned.stats.bytesOut], [level, 0]);
    }
    await placed.close();
    using folder = new TemporaryFolder();
    Deno.writeFileSync(folder.file("big.arrow"), tableToIPC(int64Table(200, 1 << 16), "file"));
    for (let i = 0; i < 3; i++) {
      await using server = await serveProcess([folder.file("big.arrow"), "--memory", "cuda:0"], { env: cuda!.env });
      await using stream = await connectCuda(server.uri("big"), { memory: "cuda:0" });
      await assertDipcError("connection_lost", "", async () => {
        for await (using _batch of stream) server.running.kill("SIGKILL");
      });
    }
    await until(() => device.pinned.stats.bytesOut === 0);
    assertEquals([device.pool.stats.bytesOut, device.pinned.stats.bytesOut], [0, 0]);
  },
);

/** Batches of one column of integers. */
function int64Table(batches: number, rows: number): Table {
  const values = BigInt64Array.from({ length: rows }, (_, i) => BigInt(i));
  const [batch] = tableFromArrays({ values }).batches;
  return new Table(Array.from({ length: batches }, () => batch));
}
