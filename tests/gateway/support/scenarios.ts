/**
 * Arrow's Flight integration scenarios with a gateway between client and server.
 *
 * @module
 */
import { isSqlScenario, SCENARIOS } from "../../../tools/flight_integration/scenarios.ts";
import { runTester, startTester, type Tester } from "../../flight/support/testers.ts";
import { byFlight } from "./gateways.ts";

/** Client and server. */
type Pair = readonly [client: Tester, server: Tester];

/** What arrow-go's testers do not have; the default scenario needs data, and its calls are in the others. */
const LEFT_OUT: readonly string[] = ["do_exchange:echo", ""];

/** The scenarios, and between whom each is run. Of Flight SQL ours is the client alone. */
export const scenarios: readonly [name: string, pairs: readonly Pair[]][] = SCENARIOS
  .filter((name) => !LEFT_OUT.includes(name))
  .map((name) => [name, [["arrow-go", isSqlScenario(name) ? "arrow-go" : "dipc"], ["dipc", "arrow-go"]]]);

/** Runs a scenario for a pair. @returns what went wrong; empty if it passes */
export async function throughGateway(scenario: string, [client, server]: Pair): Promise<string> {
  await using engine = await startTester(server, scenario);
  await using gateway = await byFlight(`grpc://127.0.0.1:${engine.port}`);
  const { code, stderr } = await runTester(client, scenario, gateway.port);
  return code === 0 ? "" : `${client} → ${server}, ${scenario}: ${stderr.slice(-2000)}`;
}
