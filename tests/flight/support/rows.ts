/**
 * Fetching by DoGet when only the number of rows matters.
 *
 * @module
 */
import type { FlightClient } from "../../../flight.ts";

/** Fetches everything behind a ticket. @returns the number of rows */
export async function rowsOf(client: FlightClient, ticket: string | Uint8Array): Promise<number> {
  await using reader = await client.doGet(ticket);
  let rows = 0;
  for await (const { batch } of reader) {
    rows += batch?.numRows ?? 0;
    batch?.[Symbol.dispose]();
  }
  return rows;
}
