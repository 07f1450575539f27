/**
 * Gives streams up in every way and at every step, and counts what is left.
 *
 *     cancel_program.ts URIS_AS_JSON SEED
 *
 * Prints one JSON object: what came of each way, and what the process held before and after.
 *
 * @module
 */
import { connect, type DissociatedStreamReader, releaseTransports } from "../../../mod.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";
import { liveEndpoints } from "../../../src/wire/ucx/endpoint.ts";
import { liveWorkers } from "../../../src/wire/ucx/worker.ts";
import { delay } from "../../support/time.ts";
import { descriptorCount } from "../../support/proc.ts";
import { Random } from "../../support/random.ts";

const uris = JSON.parse(Deno.args[0]) as string[];
const random = new Random(Number(Deno.args[1]));

/** Takes some batches, releasing each. */
async function take(reader: DissociatedStreamReader, batches: number): Promise<void> {
  for (let i = 0; i < batches; i++) (await reader.next()).value?.[Symbol.dispose]();
}

/** Answers with the code of what `work` throws. */
async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

const some = (): number => random.below(40);

/** Each way: what it answers must be what the test expects. */
const ways: Record<string, () => Promise<string>> = {
  "signal aborted before": () => codeOf(connect(uris, { signal: AbortSignal.abort() })),
  "signal while connecting": async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), random.below(4));
    try {
      await using reader = await connect(uris, { signal: controller.signal });
      await delay(10);
      return await codeOf(reader.toTable());
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  },
  "break": async () => {
    const reader = await connect(uris);
    let left = some();
    for await (using _ of reader) if (left-- <= 0) break;
    return await codeOf(reader.next());
  },
  "dispose without a batch": async () => {
    const reader = await connect(uris);
    await reader[Symbol.asyncDispose]();
    return await codeOf(reader.next());
  },
  "throw in the loop": async () => {
    const reader = await connect(uris);
    let left = some();
    return await codeOf((async () => {
      for await (using _ of reader) if (left-- <= 0) throw Object.assign(new Error("mine"), { code: "mine" });
    })());
  },
  "signal in the loop": async () => {
    const controller = new AbortController();
    const reader = await connect(uris, { signal: controller.signal });
    await take(reader, some());
    setTimeout(() => controller.abort(), random.below(5));
    return await codeOf((async () => {
      for await (using _ of reader);
    })());
  },
  "cancel": async () => {
    const reader = await connect(uris);
    await take(reader, some());
    await reader.cancel("enough");
    await reader.cancel("twice");
    return await codeOf(reader.next());
  },
  "cancel while a read waits": async () => {
    const reader = await connect(uris);
    await take(reader, some());
    const reading = codeOf((async () => {
      for (;;) (await reader.next()).value?.[Symbol.dispose]();
    })());
    await delay(random.below(5));
    await reader.cancel();
    return await reading;
  },
  "raw messages": async () => {
    const reader = await connect(uris);
    let left = some();
    for await (const message of reader.messages()) {
      message.body?.release();
      if (left-- <= 0) break;
    }
    return await codeOf(reader.next());
  },
  "readable stream": async () => {
    const reader = await connect(uris);
    const stream = reader.toReadableStream().getReader();
    for (let left = some(); left > 0; left--) await stream.read();
    await stream.cancel();
    return await codeOf(reader.next());
  },
  "table": async () => {
    const controller = new AbortController();
    const reader = await connect(uris, { signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    return await codeOf(reader.toTable());
  },
};

interface Held {
  descriptors: number;
  blocksOut: number;
  workers: number;
  endpoints: number;
}

const held = (): Held => ({
  descriptors: descriptorCount("self"),
  blocksOut: hostPool().stats.blocksOut,
  workers: liveWorkers,
  endpoints: liveEndpoints(),
});

const results: Record<string, string[]> = {};
for (const way of Object.values(ways)) await way();
const before = held();
for (const [name, way] of Object.entries(ways)) {
  results[name] = [];
  for (let i = 0; i < 5; i++) results[name].push(await way());
}
// A cancelled table had batches that were never disposed: their memory is released when they are collected.
for (let tries = 0; tries < 50 && hostPool().stats.blocksOut > 0; tries++) {
  (globalThis as { gc?: () => void }).gc?.();
  await delay(20);
}
const after = held();
await releaseTransports();
const released = held();
console.log(JSON.stringify({ results, before, after, released }));
