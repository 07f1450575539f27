/**
 * Finds out that a Flight server is one of Flight SQL, for commands that have nothing to fetch there.
 *
 * @module
 */
import type { FlightClient, FlightClientOptions } from "../../flight.ts";
import { DipcError } from "../errors.ts";
import { parseFlightLocation } from "../flight/location.ts";

/** An action that every server of Flight SQL lists, and no other. */
const SQL_ACTION = "CreatePreparedStatement";
/** Longest look, in milliseconds: it only improves a message. */
const LOOK_MS = 2000;

/**
 * What to say of a server of Flight SQL.
 *
 * @param client A client of the server
 * @returns `null` if it is none, as far as it says
 */
export async function sqlHint(client: FlightClient): Promise<string | null> {
  try {
    for await (const { type } of client.listActions({ timeoutMs: LOOK_MS })) {
      if (type !== SQL_ACTION) continue;
      const { uri } = client.location;
      return `it is a Flight SQL server; run dipc sql ${uri} 'select …', or dipc sql ${uri} --tables`;
    }
  } catch {
    // A server that does not list its actions says nothing of the kind.
  }
  return null;
}

/**
 * The error of a fetch, which says so if the server has no flights because it is one of Flight SQL.
 *
 * @param error What was thrown
 * @param uri URI of the server
 * @param options How to connect to it
 */
export async function withSqlHint(error: unknown, uri: string, options: FlightClientOptions): Promise<unknown> {
  if (!(error instanceof DipcError) || error.foreign?.system !== "grpc") return error;
  try {
    const { FlightClient } = await import("../../flight.ts");
    const base = parseFlightLocation(uri).uri;
    await using client = await FlightClient.connect(base, { ...options, timeoutMs: LOOK_MS });
    return hinted(error, await sqlHint(client));
  } catch {
    return error;
  }
}

/** The error with the hint at its end. */
export function hinted(error: unknown, hint: string | null): unknown {
  if (!(error instanceof DipcError) || hint === null) return error;
  return new DipcError(error.code, `${error.message}; ${hint}`, { cause: error.cause, foreign: error.foreign });
}
