/**
 * Our gateway, as a separate process: one for each engine that it is given on command.
 *
 * @module
 */
import { type Gateway, type GatewayOptions, serveGateway } from "../flight.ts";
import { answerCommands } from "./commands.ts";

const running: Gateway[] = [];

async function stop(): Promise<void> {
  for (const gateway of running.splice(0)) await gateway.shutdown();
}

await answerCommands({
  async serve({ options }) {
    await stop();
    if (options === undefined) return {};
    const gateway = await serveGateway(options as GatewayOptions);
    running.push(gateway);
    return { location: gateway.location };
  },
});
await stop();
