/**
 * Connections of clients to DuckDB.
 *
 * @module
 */
import type {
  EngineConnection,
  EngineIngest,
  EnginePlaceOptions,
  EngineRowSource,
  EngineStatement,
} from "../flight_sql/engine.ts";
import { NativeConnection, type NativeDatabase } from "../duckdb/native.ts";
import { forClient } from "./failure.ts";
import { ingest } from "./ingest.ts";
import { ConnectionPlace } from "./place.ts";
import { DuckDbStatement, type StatementOptions } from "./statement.ts";

/** A connection. */
export class DuckDbSqlConnection implements EngineConnection {
  readonly #native: NativeConnection;
  readonly #isReadOnly: boolean;
  readonly #place: ConnectionPlace;

  private constructor(native: NativeConnection, isReadOnly: boolean, catalogs: readonly string[]) {
    this.#native = native;
    this.#isReadOnly = isReadOnly;
    this.#place = new ConnectionPlace(native, catalogs);
  }

  /**
   * Opens a connection.
   *
   * @param catalogs Catalogs in which names without one are looked for, in order
   * @throws {DipcError} `closed`; what DuckDB reports
   */
  static async open(
    database: NativeDatabase,
    isReadOnly: boolean,
    catalogs: readonly string[],
  ): Promise<DuckDbSqlConnection> {
    const native = await NativeConnection.open(database);
    try {
      const connection = new DuckDbSqlConnection(native, isReadOnly, catalogs);
      await native.run("connect", undefined, () => connection.#place.use(undefined));
      return connection;
    } catch (error) {
      await native.close();
      throw error;
    }
  }

  prepare(sql: string, options: EnginePlaceOptions): Promise<EngineStatement> {
    return forClient(() => DuckDbStatement.prepare(this.#native, sql, this.#within(options)));
  }

  async begin(): Promise<void> {
    await this.#execute("begin");
  }

  async commit(): Promise<void> {
    await this.#execute("commit");
  }

  async rollback(): Promise<void> {
    await this.#execute("rollback");
  }

  ingest(target: EngineIngest, rows: EngineRowSource, options: EnginePlaceOptions): Promise<number> {
    return forClient(() => ingest(this.#native, target, rows, this.#within(options)));
  }

  progress(): number | null {
    if (this.#native.isClosed) return null;
    const bytes = this.#native.library.symbols.duckdb_query_progress(this.#native.handle);
    const percentage = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
    return percentage >= 0 && percentage <= 100 ? percentage / 100 : null;
  }

  close(): Promise<void> {
    return this.#native.close();
  }

  #within({ signal, place }: EnginePlaceOptions): StatementOptions {
    return { signal, isReadOnly: this.#isReadOnly, usePlace: () => this.#place.use(place) };
  }

  async #execute(sql: string): Promise<void> {
    const action = `${sql.split(" ")[0]} the transaction`;
    await forClient(() => this.#native.run(action, undefined, () => this.#native.execute(action, sql)));
  }
}
