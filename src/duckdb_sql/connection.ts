/**
 * Connections of clients to DuckDB.
 *
 * @module
 */
import type {
  EngineCallOptions,
  EngineConnection,
  EngineIngest,
  EngineRowSource,
  EngineStatement,
} from "../flight_sql/engine.ts";
import { NativeConnection, type NativeDatabase } from "../duckdb/native.ts";
import { forClient } from "./failure.ts";
import { ingest } from "./ingest.ts";
import { DuckDbStatement } from "./statement.ts";

/** A connection. */
export class DuckDbSqlConnection implements EngineConnection {
  readonly #native: NativeConnection;
  readonly #isReadOnly: boolean;

  private constructor(native: NativeConnection, isReadOnly: boolean) {
    this.#native = native;
    this.#isReadOnly = isReadOnly;
  }

  /**
   * Opens a connection.
   *
   * @param searchPath Schemas in which names without a schema are looked for
   * @throws {DipcError} `closed`; what DuckDB reports
   */
  static async open(
    database: NativeDatabase,
    isReadOnly: boolean,
    searchPath: string,
  ): Promise<DuckDbSqlConnection> {
    const native = await NativeConnection.open(database);
    try {
      const connection = new DuckDbSqlConnection(native, isReadOnly);
      await connection.#execute(`set search_path = '${searchPath}'`);
      return connection;
    } catch (error) {
      await native.close();
      throw error;
    }
  }

  prepare(sql: string, options: EngineCallOptions): Promise<EngineStatement> {
    return forClient(() => DuckDbStatement.prepare(this.#native, sql, this.#isReadOnly, options));
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

  ingest(target: EngineIngest, rows: EngineRowSource, options: EngineCallOptions): Promise<number> {
    return forClient(() => ingest(this.#native, target, rows, this.#isReadOnly, options));
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

  async #execute(sql: string): Promise<void> {
    const action = `${sql.split(" ")[0]} the transaction`;
    await forClient(() => this.#native.run(action, undefined, () => this.#native.execute(action, sql)));
  }
}
