/** Our Flight client and servers that misbehave: a clear error each, soon, and without memory. */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { fromTable } from "../../mod.ts";
import { fakeFlight } from "../support/flight_fake.ts";
import { hostileServers } from "./support/hostile_servers.ts";
import { ROOT } from "../support/paths.ts";
import { mebibytes } from "../support/proc.ts";
import { startDipc } from "../support/processes.ts";
import { printTable } from "../support/table.ts";
import { LOADED_MS } from "../support/time.ts";

/** The client's longest wait. */
const TIMEOUT_MS = 1000;
/** Longest time from the call to its error. */
const CASE_MS = LOADED_MS;
/** Most growth of the client's memory, in bytes. */
const GROWTH_BYTES = 64 * 2 ** 20;

interface Outcome {
  code: string;
  message: string;
  milliseconds: number;
  growthBytes: number;
}

Deno.test("every misbehaving Flight server ends in an error that says so, soon and within 64 MiB", async () => {
  const program = `${ROOT}/tests/flight/support/client_program.ts`;
  await using running = startDipc([], { program, stdin: "piped", timeoutMs: 150_000 });
  const ask = async (task: unknown): Promise<Outcome> => await running.ask(JSON.stringify(task)) as Outcome;

  // What is loaded and compiled once does not count.
  const dataset = await fromTable(tableFromArrays({ n: Int32Array.of(1) }));
  await using good = await fakeFlight(async (call) => {
    if (call.method === "DoGet") await call.data(dataset);
    else if (call.method === "GetFlightInfo") await call.message(new Uint8Array(0));
    call.finish();
  });
  for (const call of ["get", "info", "list", "action"]) {
    assertEquals((await ask({ location: good.location, call, timeoutMs: 10_000 })).code, "none");
  }

  const rows: string[][] = [];
  const failures: string[] = [];
  for (const { name, call, codes, start } of hostileServers) {
    await using server = await start();
    const { code, message, milliseconds, growthBytes } = await ask({
      location: server.location,
      call,
      timeoutMs: TIMEOUT_MS,
    });
    rows.push([name, call, code, `${(milliseconds / 1000).toFixed(2)} s`, mebibytes(growthBytes)]);
    const complain = (what: string) => failures.push(`${name}: ${what} (${code}: ${message})`);
    if (!codes.includes(code)) complain(`expected ${codes.join(" or ")}`);
    if (milliseconds >= CASE_MS) complain(`it took ${milliseconds} ms`);
    if (growthBytes >= GROWTH_BYTES) complain(`memory grew by ${mebibytes(growthBytes)}`);
  }
  printTable("Flight servers that misbehave", ["server", "call", "error", "after", "memory"], rows);
  assertEquals(failures, []);
  assertGreater(rows.length, 20);
  // And the client still works.
  const last = await ask({ location: good.location, call: "get", timeoutMs: 10_000 });
  assertEquals(last.code, "none");
  assertLess(last.milliseconds, CASE_MS);
});
