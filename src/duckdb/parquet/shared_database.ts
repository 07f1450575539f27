/**
 * The database in memory by which all Parquet files of this process are read: its threads are there once.
 *
 * @module
 */
import { duckDbLibrary } from "../library.ts";
import { NativeConnection, NativeDatabase } from "../native.ts";

/** DuckDB's settings: nothing is fetched from a network, and nothing is kept of one file that another could be taken for. */
const CONFIG: Readonly<Record<string, string>> = {
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  enable_external_file_cache: "false",
  // Statistics of some writers are wrong.
  disabled_optimizers: "statistics_propagation",
};

let opening: Promise<NativeDatabase> | null = null;
let users = 0;

/** A use of the database. */
export class SharedDatabase {
  readonly #native: NativeDatabase;
  #isReleased = false;

  private constructor(native: NativeDatabase) {
    this.#native = native;
  }

  /** Opens the database for its first user. @throws {DipcError} `library_not_found`; what DuckDB reports */
  static async acquire(): Promise<SharedDatabase> {
    users++;
    try {
      opening ??= NativeDatabase.open(duckDbLibrary(), null, CONFIG);
      return new SharedDatabase(await opening);
    } catch (error) {
      users--;
      opening = null;
      throw error;
    }
  }

  /** A new connection, which the caller closes. */
  connect(): Promise<NativeConnection> {
    return NativeConnection.open(this.#native);
  }

  /** Runs a call with a connection of its own. */
  async run<T>(action: string, call: (connection: NativeConnection) => Promise<T>): Promise<T> {
    const connection = await this.connect();
    try {
      return await connection.run(action, undefined, () => call(connection));
    } finally {
      await connection.close();
    }
  }

  /** Ends the use; the last one closes the database. Idempotent. */
  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (--users > 0) return;
    opening = null;
    await this.#native.close();
  }
}
