/**
 * A command's use of a client of Flight SQL.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { FlightSqlClient } from "../flight_sql/client.ts";
import { choice, type ParsedArgs } from "./args.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { endedBy } from "./failure.ts";
import { flightOptionsOf, locationOptionsOf, maxBatchOf } from "./flight_options.ts";
import { catchInterrupt } from "./interrupt.ts";
import { readerLimitsOf } from "./reader_limits.ts";
import { hinted, noSqlHint } from "./sql_hint.ts";

/** Connects with the options of the command line. @throws {UsageError} */
export async function connectSql(uri: string, args: ParsedArgs, signal: AbortSignal): Promise<FlightSqlClient> {
  const { timeoutMs, ...call } = flightOptionsOf(args);
  const route = choice(args, "route", ["auto", "ucx", "flight"]);
  const { FlightSqlClient } = await import("../flight_sql/client.ts");
  return await FlightSqlClient.connect(uri, {
    ...call,
    ...locationOptionsOf(args),
    limits: readerLimitsOf(args),
    maxBatchBytes: maxBatchOf(args),
    ...(route === undefined ? {} : { route }),
    // Without the option a statement has longer than the connection.
    ...(args.values.has("timeout") ? { timeoutMs, statementTimeoutMs: timeoutMs } : {}),
    signal,
  });
}

/**
 * Runs `use` with a client.
 *
 * @param uri URI of the server
 * @param args The parsed command line
 * @param use Work with the client
 * @returns exit status
 */
export async function withSqlClient(
  uri: string,
  args: ParsedArgs,
  use: (client: FlightSqlClient, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  using interrupt = catchInterrupt();
  try {
    await using client = await connectSql(uri, args, interrupt.signal);
    await use(client, interrupt.signal).catch((error) => refused(client, error));
    return EXIT_OK;
  } catch (error) {
    throw endedBy(interrupt.caught, error);
  }
}

/** Throws the error of a call, which says so if the server has no SQL. */
export async function refused(client: FlightSqlClient, error: unknown): Promise<never> {
  const isAnswer = error instanceof DipcError && error.foreign?.system === "grpc";
  throw isAnswer ? hinted(error, await noSqlHint(client.flight)) : error;
}
