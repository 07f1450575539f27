/**
 * What a Flight server has, for a command line that names none of its flights.
 *
 * @module
 */
import { parseFlightLocation } from "../flight/location.ts";
import { UsageError } from "./args.ts";
import type { FlightServerSource } from "./source.ts";
import { sqlHint } from "./sql_hint.ts";

/** Most names in the message. */
const MAX_NAMES = 20;

/** Whether the command line names no flight. */
export function namesNoFlight({ uri, options }: FlightServerSource): boolean {
  const { path, command } = options.flight;
  return path === undefined && command === undefined && parseFlightLocation(uri).path.length === 0;
}

/**
 * The error that names the flights of the server, if it lists them.
 *
 * @param command Name of the command
 * @throws {DipcError} `invalid_uri` if the URI has the wrong scheme, `cancelled`
 */
export async function noFlightNamed(
  command: "get" | "query" | "schema",
  { uri, options }: FlightServerSource,
  signal: AbortSignal,
): Promise<UsageError> {
  const [{ FlightClient }, { withPeerCheck }, { asFailure }] = await Promise.all([
    import("../../flight.ts"),
    import("../routes/peer_check.ts"),
    import("./failure.ts"),
  ]);
  const names: string[] = [];
  let hasMore = false, problem = "";
  let hint: string | null = null;
  const { path: _, command: __, ...call } = options.flight;
  try {
    await withPeerCheck(uri, { signal }, async (signal) => {
      await using client = await FlightClient.connect(uri, { ...call, timeoutMs: options.timeoutMs, signal });
      hint = await sqlHint(client);
      for await (const { descriptor } of client.listFlights("", { signal })) {
        if (descriptor === null || !("path" in descriptor)) continue;
        hasMore = names.length === MAX_NAMES;
        if (hasMore) break;
        names.push(descriptor.path.map(encodeURIComponent).join("/"));
      }
    });
  } catch (error) {
    const { code, message } = asFailure(error);
    if (code === "invalid_uri" || code === "cancelled") throw error;
    // The mistake on the command line comes first; a server that lists nothing is not one.
    if (code !== "unsupported" && code !== "flight") problem = ` (its list cannot be read: ${message})`;
  }
  const { uri: base } = parseFlightLocation(uri);
  const advice = names.length === 0 && hint !== null
    ? hint
    : names.length === 0
    ? `run dipc ${command} ${base}/NAME${problem}`
    : `this server has ${names.join(", ")}${hasMore ? " and more" : ""}; run dipc ${command} ${base}/${names[0]}`;
  const what = command === "schema" ? "show the schema" : "fetch";
  return new UsageError(`cannot ${what}: no flight is named; ${advice}`);
}
