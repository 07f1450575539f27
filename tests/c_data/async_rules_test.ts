/**
 * The rules of the asynchronous device stream: dipc keeps each of them, and survives
 * whoever breaks one.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { exportAsyncStream, importAsyncStream } from "../../c_data.ts";
import { exportedCount } from "../../src/c_data/cells.ts";
import { taskCount } from "../../src/c_data/task_slots.ts";
import type { DipcError } from "../../src/errors.ts";
import { checkHere, loadKit, rulesOf } from "../../tools/async_kit.ts";
import { KIT_SCHEMA, kitStream, useDipc } from "../support/async_dipc.ts";
import { loadSample, PeerConsumer } from "../support/async_sample.ts";
import { settled } from "../support/c_data.ts";
import { peerTest } from "../support/peers.ts";

peerTest(
  ["compiler", "arrowCpp"],
  "dipc keeps every rule for producers and consumers",
  async ({ compiler }, context) => {
    const kit = loadKit(compiler);
    const rules = rulesOf(kit);
    assert(rules.filter(({ role }) => role === "producer").length >= 30);
    assert(rules.length >= 60);
    for (const isBlocking of [false, true]) {
      using _ = useDipc(kit, isBlocking);
      for (const rule of rules) {
        if (isBlocking && rule.role === "producer") continue;
        const name = `${rule.role} ${rule.name}${isBlocking ? ", extracting on this thread" : ""}`;
        await context.step(name, async () => assertEquals(await checkHere(kit, rule), null));
      }
    }
    await settled();
    assertEquals([taskCount(), exportedCount()], [0, 0]);
  },
);

peerTest(["compiler", "arrowCpp"], "dipc survives producers that break the rules", async ({ compiler }) => {
  const sample = loadSample(compiler);
  const outcomes: [number, string][] = [];
  // The third one sends more or less, as it happens, and the fourth one calls a handler that no longer exists.
  for (const mistake of [0, 1, 2, 5, 6, 7, 8]) {
    sample.sample_mistake(mistake);
    const failAfter = mistake === 7 ? 3n : -1n;
    try {
      const stream = await importAsyncStream((handler) => sample.async_produce(handler, 10n, failAfter, 0n));
      const batches = await Array.fromAsync(stream);
      outcomes.push([mistake, `${batches.length} batches`]);
      batches.forEach((batch) => batch[Symbol.dispose]());
    } catch (error) {
      const { code, message } = error as DipcError;
      outcomes.push([mistake, `${code}: ${message.split(": ")[1]}`]);
    }
  }
  sample.sample_mistake(0);
  assertEquals(outcomes, [
    [0, "10 batches"],
    [1, "protocol: it called on_schema without a producer; the library that produces it is at fault"],
    [2, "protocol: it sent more tasks than were requested; the library that produces it is at fault"],
    [5, "10 batches"],
    [6, "10 batches"],
    [7, "io: planned failure (errno 5); see the library that exported it"],
    [8, "10 batches"],
  ]);
  await settled();
});

peerTest(["compiler", "arrowCpp"], "dipc survives consumers that break the rules", async ({ compiler }) => {
  const sample = loadSample(compiler);
  const outcomes: [number, string, number][] = [];
  // The others break the memory of this process, or keep their data.
  for (const mistake of [0, 11, 14, 16, 18]) {
    sample.sample_mistake(mistake);
    const consumer = new PeerConsumer(sample);
    const failAfter = mistake === 14 ? 3 : -1;
    const exported = exportAsyncStream(kitStream(10, failAfter), consumer.handler, { schema: KIT_SCHEMA });
    const { firsts } = await consumer.readAll();
    outcomes.push([mistake, (await exported).end, firsts.length]);
    await consumer.close();
  }
  sample.sample_mistake(0);
  assertEquals(outcomes, [[0, "complete", 10], [11, "failed", 0], [14, "failed", 3], [16, "complete", 10], [
    18,
    "complete",
    10,
  ]]);
  await settled();
});
