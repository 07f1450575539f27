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

/** Whether a server is one of Flight SQL; `null` if it does not list its actions. */
async function speaksSql(client: FlightClient): Promise<boolean | null> {
  try {
    for await (const { type } of client.listActions({ timeoutMs: LOOK_MS })) if (type === SQL_ACTION) return true;
    return false;
  } catch {
    return null;
  }
}

/** What to say of a server of Flight SQL; `null` if it is none, as far as it says. */
export async function sqlHint(client: FlightClient): Promise<string | null> {
  const { uri } = client.location;
  return await speaksSql(client) === true
    ? `it is a Flight SQL server; run dipc sql ${uri} 'select …', or dipc sql ${uri} --tables`
    : null;
}

/** What to say of a server that got a statement of SQL and does not know any; `null` if it has, or does not say. */
export async function noSqlHint(client: FlightClient): Promise<string | null> {
  const { uri } = client.location;
  return await speaksSql(client) === false ? `it is not a Flight SQL server; dipc ls ${uri} lists its flights` : null;
}

/**
 * The error of a fetch, which says so if the server has no flights because it is one of Flight SQL.
 *
 * @param error What was thrown
 * @param uri URI of the server
 * @param options How to connect to it
 */
export async function withSqlHint(error: unknown, uri: string, options: FlightClientOptions): Promise<unknown> {
  // A gateway whose engine cannot be reached may have another one that speaks SQL.
  if (!(error instanceof DipcError) || error.foreign?.system !== "grpc" || error.code === "unreachable") return error;
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
  const message = `${error.message}; ${hint}`;
  return new DipcError(error.code, message, { cause: error.cause, foreign: error.foreign });
}
