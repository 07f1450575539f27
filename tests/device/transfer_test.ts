/**
 * Streams between host and device memory, over real UCX and the simulated driver: every gold file and large data, in all
 * combinations, whole and unchanged.
 */
import { assert, assertEquals } from "@std/assert";
import { connect, serve } from "../../mod.ts";
import { connectCuda } from "../../cuda.ts";
import { copyToHost } from "../../src/device/record_batch.ts";
import { cuda } from "../support/cuda_sim.ts";
import { type CopiedMessage, copyMessage } from "../support/datasets.ts";
import { deviceSpaces, deviceTest } from "./support/device_tests.ts";
import { deviceColumns, expectedOf, goldFiles, isCompressed } from "./support/gold_files.ts";
import { fetchAndCompare } from "../support/fetched.ts";
import { generated } from "../support/generated.ts";
import { needsGold } from "../support/needs.ts";
import { needsPython } from "../support/python.ts";

/** Metadata and bodies, one after the other, as they arrived. */
async function hostMessages(uris: readonly string[]): Promise<CopiedMessage[]> {
  await using stream = await connect(uris);
  const messages: CopiedMessage[] = [];
  for await (const message of stream.messages()) messages.push(copyMessage(message));
  return messages.slice(1);
}

async function deviceMessages(uris: readonly string[], memory: `cuda:${number}`): Promise<CopiedMessage[]> {
  await using stream = await connectCuda(uris, { memory });
  const messages: CopiedMessage[] = [];
  for await (const { header, body } of stream.messages()) {
    if (body === null) continue;
    assertEquals(body.space, body.byteLength === 0 ? "host" : memory);
    messages.push(copyMessage({ header, body: await copyToHost(stream._gpu, body, null) }));
    body.release();
  }
  return messages;
}

deviceTest("every gold file goes between host and device memory in all combinations, unchanged", async () => {
  const files = [...goldFiles(/\.stream$/), ...goldFiles(/\.arrow_file$/)];
  assertEquals(files.length, 54);
  const spaces = deviceSpaces();
  const [memory] = spaces;
  const other = spaces.at(-1)!;
  const onHost = Object.fromEntries(files.map(({ name, path }) => [name, path]));
  const onDevice = Object.fromEntries(files.map(({ name, path }) => [name, { source: path, memory }]));
  await using host = await serve({ datasets: onHost });
  await using device = await serve({ datasets: onDevice });
  assert(
    device.datasets.every((each) => each.memory === memory && each.staged !== undefined),
    JSON.stringify(device.datasets),
  );
  for (const [i, file] of files.entries()) {
    const expected = await expectedOf(file.path);
    const [hostUris, deviceUris] = [host.datasets[i].uris, device.datasets[i].uris];
    assertEquals(await hostMessages(deviceUris), expected.messages, `${file.name}: device to host`);
    if (!isCompressed(file)) {
      assertEquals(await deviceMessages(hostUris, memory), expected.messages, `${file.name}: host to device`);
      assertEquals(await deviceMessages(deviceUris, other), expected.messages, `${file.name}: device to device`);
    }
    assertEquals(await deviceColumns(hostUris, other), expected.columns, `${file.name}: host to device and back`);
    assertEquals(await deviceColumns(deviceUris, memory), expected.columns, `${file.name}: device to device and back`);
  }
}, [needsGold]);

deviceTest("every gold stream goes from device to device in two processes, compared by pyarrow", async () => {
  const memory = ["--memory", "cuda:0"];
  const files = goldFiles(/\.stream$/);
  // Processes on the simulated driver exit with status 86 if it has a complaint or a leak.
  const env = cuda!.env as Record<string, string>;
  const results = await fetchAndCompare("Arrow's gold streams, device to device", files, env, memory, memory);
  const bad = results.filter((result) => !result.equal || (result.bytes === "other" && !isCompressed(result as never)));
  assertEquals(bad.map(({ name, reason }) => `${name}: ${reason}`), []);
}, [needsGold, needsPython]);

/** Reads a stream of {@linkcode generated} batches from device memory and checks each. */
async function checkGenerated(uris: readonly string[], memory: `cuda:${number}`, batches: number, rows: number) {
  await using stream = await connectCuda(uris, { memory });
  let seen = 0;
  for await (using batch of stream) {
    assertEquals(batch.numRows, rows);
    using host = await batch.toHost();
    const values = host.getChildAt(0)!.toArray() as BigInt64Array;
    assertEquals([values.length, values[0], values[1], values[rows - 1]], [rows, BigInt(seen), 1n, BigInt(rows - 1)]);
    seen++;
  }
  assertEquals([seen, stream.stats.rows], [batches, batches * rows]);
}

for (
  const [title, batches, rows] of [["many bodies of 2 MiB", 128, 1 << 18], ["bodies of 96 MiB", 2, 12 << 20]] as const
) {
  deviceTest(`${title} go from device to device, and from and to host memory`, async () => {
    const [memory] = deviceSpaces();
    const source = generated(batches, rows);
    await using server = await serve({ datasets: { host: source, device: { source, memory } } });
    const [host, device] = server.datasets;
    await checkGenerated(host.uris, memory, batches, rows);
    await checkGenerated(device.uris, memory, batches, rows);
    await using stream = await connect(device.uris);
    let seen = 0n;
    for await (using batch of stream) {
      const values = batch.getChildAt(0)!.toArray() as BigInt64Array;
      assertEquals([values[0], values[rows - 1]], [seen++, BigInt(rows - 1)]);
    }
    assertEquals(seen, BigInt(batches));
  });
}
