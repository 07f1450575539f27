/** Reads a dataset with one large body in a process of its own, and prints what that costs. Arguments: location, route, pool, "limited". */
import { FlightClient } from "../../../flight.ts";
import { connect } from "../../../mod.ts";
import { DipcError } from "../../../src/errors.ts";
import type { IpcMessage } from "../../../src/ipc/message.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";
import { peakResidentBytes, residentBytes } from "../../support/proc.ts";

/** Address space that is left to a limited process, in bytes. */
const LEFT_BYTES = 1.2e9;

const [location, route, pool, limited] = Deno.args;

async function* messages(dataset: string): AsyncGenerator<IpcMessage, undefined> {
  if (route === "ucx" || pool === "pool") {
    await using stream = await connect(`${location}/${dataset}`, { route: route as "ucx" | "flight" });
    yield* stream.messages();
    return;
  }
  await using client = await FlightClient.connect(location);
  await using reader = await client.doGet(dataset);
  yield* reader.messages();
}

async function rowsOf(dataset: string): Promise<number> {
  if (route === "action") return await answerOf(dataset);
  let rows = 0;
  for await (const { header, body } of messages(dataset)) {
    if (header.kind === "batch") rows += header.rows;
    body?.release();
  }
  return rows;
}

/** Length of an action's only answer, in rows of 8 bytes. */
async function answerOf(body: string): Promise<number> {
  await using client = await FlightClient.connect(location);
  let bytes = 0;
  for await (const answer of client.doAction("answer", body)) {
    bytes += answer.byteLength;
    (answer.buffer as ArrayBuffer).transfer(0);
  }
  return bytes / 8;
}

// Everything that reading loads is there before.
await rowsOf("small");
const baseBytes = residentBytes("self");
let outcome: { rows: number; error?: string; message?: string };
try {
  if (limited !== undefined) {
    const used = Number(/VmSize:\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]) * 1024;
    const { success } = new Deno.Command("prlimit", {
      args: [`--pid=${Deno.pid}`, `--as=${Math.round(used + LEFT_BYTES)}`],
    }).outputSync();
    if (!success) throw new Error("prlimit has failed");
  }
  outcome = { rows: await rowsOf("x") };
} catch (error) {
  outcome = { rows: 0, error: error instanceof DipcError ? error.code : "none", message: String(error) };
}
console.log(JSON.stringify({
  baseBytes,
  peakBytes: peakResidentBytes("self"),
  releasedBytes: residentBytes("self"),
  retainedBytes: hostPool().stats.retainedBytes,
  ...outcome,
}));
Deno.exit(0);
