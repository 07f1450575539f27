/**
 * Our Flight client in a process of its own. A line of standard input is JSON `{location, call, timeoutMs}`; for each it prints
 * what came of it: `{code, message, milliseconds, growthBytes}`.
 *
 * @module
 */
import { connect, DipcError, fromTable } from "../../../mod.ts";
import { FlightClient } from "../../../flight.ts";
import { tableFromArrays } from "apache-arrow";
import { peakResidentBytes, residentBytes } from "../../support/proc.ts";

interface Task {
  location: string;
  call: "get" | "list" | "info" | "action" | "put";
  timeoutMs: number;
}

async function perform({ location, call, timeoutMs }: Task): Promise<void> {
  if (call === "get") {
    await using stream = await connect(location, { ticket: "x", timeoutMs });
    for await (const message of stream.messages()) message.body?.release();
    return;
  }
  await using client = await FlightClient.connect(location, { timeoutMs, maxMessageBytes: 4 * 2 ** 20 });
  const options = { timeoutMs: 3 * timeoutMs };
  if (call === "info") {
    await client.getFlightInfo({ path: "x" }, options);
  } else if (call === "list") {
    for await (const _ of client.listFlights("", options));
  } else if (call === "action") {
    for await (const _ of client.doAction("x", "", options));
  } else {
    const table = await fromTable(tableFromArrays({ n: new Float64Array(2 ** 17) }));
    await using writer = await client.doPut({ path: "x" }, table);
    for (;;) {
      const run = await table.open();
      await writer.write((await run.next())!);
      await run.close();
    }
  }
}

async function outcomeOf(task: Task): Promise<Record<string, unknown>> {
  // What was the peak before is forgotten (proc(5), clear_refs).
  Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  const before = residentBytes("self");
  const started = performance.now();
  let found: { code: string; message: string };
  try {
    await perform(task);
    found = { code: "none", message: "" };
  } catch (error) {
    const code = error instanceof DipcError ? error.code : (error as Error).name;
    found = { code, message: (error as Error).message };
  }
  return {
    ...found,
    milliseconds: performance.now() - started,
    growthBytes: Math.max(0, peakResidentBytes("self") - before),
  };
}

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
let rest = "";
for await (const chunk of lines) {
  const parts = (rest + chunk).split("\n");
  rest = parts.pop()!;
  for (const line of parts) console.log(JSON.stringify(await outcomeOf(JSON.parse(line))));
}
