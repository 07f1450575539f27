/**
 * A command's use of a Flight client: connects, runs, closes, and distinguishes Ctrl-C from a failure.
 *
 * @module
 */
import type { FlightClient } from "../../flight.ts";
import { withPeerCheck } from "../routes/peer_check.ts";
import type { ParsedArgs } from "./args.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { endedBy } from "./failure.ts";
import { flightOptionsOf } from "./flight_options.ts";
import { catchInterrupt } from "./interrupt.ts";
import { connecting, requireForCommand } from "./permissions.ts";

/**
 * Runs `use` with a client.
 *
 * @param command Name of the command, for messages
 * @param uri URI of the server
 * @param args The parsed command line
 * @param use Work with the client; it passes the signal to its calls
 * @returns exit status
 */
export async function withFlightClient(
  command: string,
  uri: string,
  args: ParsedArgs,
  use: (client: FlightClient, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  requireForCommand(command, connecting(uri));
  const options = flightOptionsOf(args);
  using interrupt = catchInterrupt();
  const { signal } = interrupt;
  const { FlightClient } = await import("../../flight.ts");
  try {
    await withPeerCheck(uri, { signal }, async (signal) => {
      await using client = await FlightClient.connect(uri, { ...options, signal });
      await use(client, signal!);
    });
    return EXIT_OK;
  } catch (error) {
    throw endedBy(interrupt.caught, error);
  }
}
