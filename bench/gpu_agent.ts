/**
 * One end of the benchmark of GPU memory, as a separate process: serves or fetches on command, and measures copies.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { connect, type Dataset, fromBatches, resident, serve, type Server } from "../mod.ts";
import { connectCuda, releaseDevices } from "../cuda.ts";
import { repeat } from "../tests/support/repeat.ts";
import { openGpu } from "../src/device/devices.ts";
import { deviceResident } from "../src/device/upload.ts";
import type { Staging } from "../src/device/staging.ts";
import type { Gpu } from "../src/memory/cuda/device.ts";
import type { DeviceEvent } from "../src/memory/cuda/device_event.ts";
import { answerCommands, type Command } from "./commands.ts";

type Space = "host" | `cuda:${number}`;

/** Value `i` of the column that is sent. */
function valueAt(i: number): number {
  return i * 1.5;
}

async function makeDataset(bytes: number, count: number, memory: Space): Promise<Dataset> {
  const table = tableFromArrays({ value: Float64Array.from({ length: bytes / 8 }, (_, i) => valueAt(i)) });
  const source = await fromBatches(table.batches);
  if (memory === "host") return repeat(await resident(source), count);
  const placed = await deviceResident(source, memory);
  await source.close();
  return repeat(placed, count);
}

let server: Server | null = null;
let dataset: Dataset | null = null;

async function stop(): Promise<void> {
  await server?.shutdown();
  await dataset?.close();
  server = dataset = null;
}

/** Reads a stream; the time counts from the schema to the moment when the last value is in its memory. */
async function read(uri: string, memory: Space, staging: Staging, verify: boolean) {
  const common = { timeoutMs: 120_000 };
  if (memory === "host") {
    await using stream = await connect(uri, common);
    const start = performance.now();
    for await (using batch of stream) {
      if (verify) check(batch.getChildAt(0)!.toArray() as Float64Array);
    }
    const seconds = (performance.now() - start) / 1000;
    const { bodyBytes, transports } = stream.stats;
    return { seconds, bytes: bodyBytes, transports, staged: null, stagingReason: "" };
  }
  await using stream = await connectCuda(uri, { ...common, memory, staging });
  const start = performance.now();
  let last: DeviceEvent | null = null;
  for await (using batch of stream) {
    last = batch.event;
    if (!verify) continue;
    using host = await batch.toHost();
    check(host.getChildAt(0)!.toArray() as Float64Array);
  }
  await last?.done();
  const seconds = (performance.now() - start) / 1000;
  const { bodyBytes, transports, staged, stagingReason } = stream.stats;
  return { seconds, bytes: bodyBytes, transports, staged, stagingReason };
}

function check(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== valueAt(i)) throw new Error(`value ${i} is ${values[i]}, expected ${valueAt(i)}`);
  }
}

/** The fastest of some copies in bytes a second, `count` of them in a row each time. */
async function copySpeed(device: Gpu, kind: string, bytes: number, count: number): Promise<number> {
  const { copies, pinned, pool } = device;
  const host = pinned.acquire(bytes);
  const [one, two] = [pool.acquire(bytes), pool.acquire(bytes)];
  host.bytes().fill(1, 0, bytes);
  const copy = (): DeviceEvent => {
    if (kind === "h2d") return copies.copyToDevice(one.address, host.address, bytes, { uses: [one, host] });
    if (kind === "d2h") return copies.copyToHost(host.address, one.address, bytes, { uses: [one, host] });
    return copies.copyOnDevice(two.address, one.address, bytes, { uses: [one, two] });
  };
  try {
    await copies.copyToDevice(one.address, host.address, bytes, { uses: [one, host] }).done();
    let best = 0;
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      let last: DeviceEvent | null = null;
      for (let i = 0; i < count; i++) last = copy();
      await last!.done();
      best = Math.max(best, bytes * count / ((performance.now() - start) / 1000));
    }
    return best;
  } finally {
    for (const block of [host, one, two]) block.release();
  }
}

await answerCommands({
  async serve(command: Command) {
    await stop();
    const { bytes, count, memory, staging } = command as {
      bytes: number;
      count: number;
      memory: Space;
      staging?: Staging;
    };
    dataset = await makeDataset(bytes, count, memory);
    server = await serve({ datasets: { d: dataset }, staging });
    const [{ uris, staged, stagingReason }] = server.datasets;
    return { uri: uris[0], staged: staged ?? null, stagingReason: stagingReason ?? "" };
  },
  read: ({ uri, memory, staging, verify }) =>
    read(uri as string, memory as Space, (staging ?? "auto") as Staging, verify === true),
  async copies({ bytes, count, memory }) {
    const device = openGpu(memory as string);
    const speeds: Record<string, number> = {};
    for (const kind of ["h2d", "d2h", "d2d"]) {
      speeds[kind] = await copySpeed(device, kind, bytes as number, count as number);
    }
    return speeds;
  },
  about({ memory }) {
    const device = openGpu(memory as string);
    return Promise.resolve({ driver: device.driver.version, library: device.driver.library.path, ...device.info });
  },
});
await stop();
await releaseDevices();
