/**
 * Arrow's Flight integration tests, played by dipc: `deno run -A tools/flight_integration.ts client|server [--host H]
 * [--port P] [--scenario S] [--path FILE]`.
 *
 * The flags are those of the other implementations' testers, with one or two dashes, so that any of them can be the other
 * side. A client ends with status 0 if every answer was the expected one; a server prints its address and runs until
 * it is stopped.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { runClient } from "./flight_integration/client.ts";
import { isScenario, SCENARIOS } from "./flight_integration/scenarios.ts";
import { startServer } from "./flight_integration/server.ts";

const DEFAULT_PORT = "31337";

async function main(args: string[]): Promise<number> {
  // Go's flags have one dash.
  const options = parseArgs(args.map((arg) => arg.replace(/^-(?=[a-z]{2})/, "--")), {
    string: ["host", "port", "scenario", "path"],
  });
  const [role] = options._;
  const { host = "localhost", port = DEFAULT_PORT, scenario = "", path = "" } = options;
  if ((role !== "client" && role !== "server") || !/^\d{1,5}$/.test(port)) {
    console.error("usage: flight_integration.ts client|server [--host H] [--port P] [--scenario S] [--path FILE]");
    return 2;
  }
  if (!isScenario(scenario)) {
    console.error(
      `there is no scenario "${scenario}"; there are ${SCENARIOS.filter((name) => name !== "").join(", ")}`,
    );
    return 2;
  }
  if (role === "client") {
    try {
      await runClient(scenario, { location: `grpc+tcp://${host}:${port}`, path });
      return 0;
    } catch (error) {
      console.error(error);
      return 1;
    }
  }
  await using server = await startServer(scenario, Number(port));
  console.log(`Server listening on localhost:${server.port}`);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, resolve);
  });
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
