/**
 * Arrow's Flight integration scenarios with a gateway between client and server.
 *
 * @module
 */
import { SCENARIOS } from "../../../tools/flight_integration/scenarios.ts";
import { runTester, startTester, type Tester } from "../../flight/support/testers.ts";
import { byFlight } from "./gateways.ts";

/** Client and server. */
type Pair = readonly [client: Tester, server: Tester];

/** What arrow-go's testers do not have; the default scenario needs data, and its calls are in the others. */
const LEFT_OUT: readonly string[] = ["do_exchange:echo", ""];

/** Those of Flight SQL, which ours does not have. */
const SQL = ["flight_sql", "flight_sql:extension", "flight_sql:ingestion"];

/** The scenarios, and between whom each is run. */
export const scenarios: readonly [name: string, pairs: readonly Pair[]][] = [
  ...SCENARIOS.filter((name) => !LEFT_OUT.includes(name)).map((name): [string, Pair[]] => [
    name,
    [["arrow-go", "dipc"], ["dipc", "arrow-go"]],
  ]),
  ...SQL.map((name): [string, Pair[]] => [name, [["arrow-go", "arrow-go"]]]),
];

/** Runs a scenario for a pair. @returns what went wrong; empty if it passes */
export async function throughGateway(scenario: string, [client, server]: Pair): Promise<string> {
  await using engine = await startTester(server, scenario);
  await using gateway = await byFlight(`grpc://127.0.0.1:${engine.port}`);
  const { code, stderr } = await runTester(client, scenario, gateway.port);
  return code === 0 ? "" : `${client} → ${server}, ${scenario}: ${stderr.slice(-2000)}`;
}
