/**
 * Opens DuckDB as an engine. What it needs is loaded only then.
 *
 * @module
 */
import type { DuckDbEngine } from "./engine.ts";
import type { DuckDbEngineOptions } from "./options.ts";

/**
 * Opens DuckDB as the engine of `serve({ flight: { sql } })`. Close it after the server.
 *
 * Clients reach the tables and nothing else: no files, no network, no extensions, no settings.
 *
 * @example Usage
 * ```ts ignore
 * import { duckDbEngine } from "@arrow-ucx/dipc/flight-sql";
 * import { serve } from "@arrow-ucx/dipc";
 *
 * await using engine = await duckDbEngine({ tables: { trips: "trips.parquet" } });
 * await using server = await serve({ datasets: {}, flight: { sql: engine } });
 * console.log(server.flight!.location);
 * ```
 *
 * @throws {DipcError} `invalid_argument`; `library_not_found`; `unsupported`, naming the column, for a type that DuckDB does not have;
 * `not_found`, `permission_denied`, `invalid_data` for a file; what DuckDB reports
 */
export async function duckDbEngine(options: DuckDbEngineOptions): Promise<DuckDbEngine> {
  const { openEngine } = await import("./engine.ts");
  return await openEngine(options);
}
