/**
 * The server's part of the scenario `do_exchange:echo`.
 *
 * @module
 */
import { DipcError, type FlightServerExchange } from "../../flight.ts";

/**
 * Sends everything back as it came.
 *
 * @param exchange An exchange whose command is `echo`
 * @throws {DipcError} `invalid_argument` for another one, and what the exchange ends with
 */
export async function echo(exchange: FlightServerExchange): Promise<void> {
  const { descriptor } = exchange;
  if (descriptor === null || !("command" in descriptor) || new TextDecoder().decode(descriptor.command) !== "echo") {
    throw new DipcError("invalid_argument", "the only exchange here is echo");
  }
  let hasBegun = false;
  for await (const { message, appMetadata } of exchange) {
    if (!hasBegun && exchange.schema !== null) {
      hasBegun = true;
      await exchange.begin(exchange.schema);
    }
    if (message !== null) await exchange.write(message, appMetadata ?? undefined);
    else if (appMetadata !== null) await exchange.writeMetadata(appMetadata);
  }
}
