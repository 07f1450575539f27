/**
 * The place of names without a catalog or a schema, of a connection.
 *
 * @module
 */
import { identifier, literal } from "../duckdb/identifiers.ts";
import type { NativeConnection } from "../duckdb/native.ts";
import type { EnginePlace } from "../flight_sql/engine.ts";

/** The schema that every database of DuckDB has. */
export const MAIN = "main";

/** The place of a connection. */
export class ConnectionPlace {
  readonly #connection: NativeConnection;
  readonly #default: string;
  readonly #catalog: string;
  /** The statement that has set it. */
  #current = "";

  /** @param catalogs Catalogs in which names are looked for by default, in order */
  constructor(connection: NativeConnection, catalogs: readonly string[]) {
    this.#connection = connection;
    this.#catalog = catalogs[0];
    const path = catalogs.map((catalog) => `${identifier(catalog)}.${MAIN}`).join(",");
    this.#default = `set search_path = ${literal(path)}`;
  }

  /**
   * Sets it, unless it is the one. Within `run` of the connection, with what looks for names.
   *
   * @param place The place; `undefined` for the default
   * @throws {DipcError} What DuckDB reports
   */
  async use(place: EnginePlace | undefined): Promise<void> {
    const sql = place === undefined
      ? this.#default
      : `use ${identifier(place.catalog ?? this.#catalog)}.${identifier(place.schema ?? MAIN)}`;
    if (sql === this.#current) return;
    await this.#connection.execute("choose the catalog and the schema", sql);
    this.#current = sql;
  }
}
