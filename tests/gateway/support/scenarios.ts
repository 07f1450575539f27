/**
 * Arrow's Flight integration scenarios with a gateway between client and server.
 *
 * @module
 */
import { SCENARIOS } from "../../../tools/flight_integration/scenarios.ts";
import { runTester, startTester, type Tester } from "../../flight/support/testers.ts";
import { byFlight } from "./gateways.ts";

/** What arrow-go's testers do not have; the default scenario needs data, and its calls are in the others. */
const LEFT_OUT: readonly string[] = ["do_exchange:echo", ""];

/** The scenarios that both testers have. */
export const scenarioNames: readonly string[] = SCENARIOS.filter((name) => !LEFT_OUT.includes(name));

/** Runs scenarios: Go's client at our server and ours at Go's, and says how each went. */
export async function throughGateway(
  scenarios: readonly string[],
): Promise<{ rows: string[][]; failures: string[] }> {
  const pairs: readonly [client: Tester, server: Tester][] = [["arrow-go", "dipc"], ["dipc", "arrow-go"]];
  const rows = [["scenario", ...pairs.map((pair) => pair.join(" → gateway → "))]];
  const failures: string[] = [];
  for (const scenario of scenarios) {
    const cells = await Promise.all(pairs.map(async ([client, server]) => {
      await using engine = await startTester(server, scenario);
      await using gateway = await byFlight(`grpc://127.0.0.1:${engine.port}`);
      const { code, stderr } = await runTester(client, scenario, gateway.port);
      if (code !== 0) failures.push(`${client} → ${server}, ${scenario}: ${stderr.slice(-2000)}`);
      return code === 0 ? "passes" : "FAILS";
    }));
    rows.push([scenario, ...cells]);
  }
  return { rows, failures };
}
