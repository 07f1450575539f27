/**
 * What the tests of the gateway have in common.
 *
 * @module
 */
import { type Gateway, type GatewayOptions, serveGateway } from "../../../flight.ts";
import { type Running, startDipc } from "../../support/processes.ts";

/** A gateway that passes calls on alone. */
export function byFlight(engines: GatewayOptions["engines"], options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  return serveGateway({ engines, ucx: "off", ...options });
}

/** A gateway as `dipc gateway` starts it, in a process of its own. */
export interface GatewayProcess extends AsyncDisposable {
  readonly running: Running;
  readonly location: string;
  readonly ucxPort: number;
}

/** Starts `dipc gateway`. */
export async function startGateway(args: readonly string[], timeoutMs = 120_000): Promise<GatewayProcess> {
  const running = startDipc(["gateway", ...args, "--json"], { timeoutMs });
  const line = await running.firstLine;
  if (line === null) throw new Error(`the gateway did not start:\n${(await running.outcome).stderr}`);
  const { flight: location, ucxPort } = JSON.parse(line);
  return { running, location, ucxPort, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}
