/**
 * A server for programs that read to the end, and whether such a program then ends by itself.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { DipcError, type FlightServer, serveFlight } from "../../../flight.ts";
import { fromTable } from "../../../mod.ts";
import { ROOT } from "../../support/paths.ts";
import { assertSoon, delay, LOADED_MS } from "../../support/time.ts";

/** What `ends_program.ts` can do. */
export const WAYS = ["iterate", "next", "table", "messages", "exchange", "failure", "action"] as const;

/** A server that answers all that the program calls. */
export async function answeringServer(): Promise<FlightServer> {
  return await serveFlight({
    handlers: {
      async doGet(ticket) {
        if (ticket.byteLength > 1) throw new DipcError("not_found", "cannot find it: there is none");
        await delay(50);
        return await fromTable(tableFromArrays({ n: Int32Array.of(1) }));
      },
      async doExchange(exchange) {
        await delay(50);
        await exchange.writeMetadata(new Uint8Array(1));
      },
      actions: { x: { run: () => delay(50) } },
    },
  });
}

/** Runs the program, and asserts that it ends soon after it has closed its client. */
export async function assertEnds(location: string, ways: readonly string[]): Promise<void> {
  const program = `${ROOT}/tests/flight/support/ends_program.ts`;
  const args = ["run", "-A", "--no-check", "--quiet", program, location, ways.join()];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "inherit" }).spawn();
  const reader = child.stdout.getReader();
  let printed = "";
  while (!printed.includes("closed")) {
    const { value, done } = await reader.read();
    if (done) break;
    printed += new TextDecoder().decode(value);
  }
  const closedMs = performance.now();
  const kill = setTimeout(() => child.kill("SIGKILL"), 2 * LOADED_MS);
  const { success } = await child.status;
  clearTimeout(kill);
  await reader.cancel();
  assertEquals([printed.trim(), success], ["closed", true]);
  // The client's time-out is 30 s.
  assertSoon(`a program that has done ${ways.join()} ends`, closedMs);
}
