/**
 * Opens databases by their ADBC drivers.
 *
 * @module
 */
import { checkOptionNames } from "../options.ts";
import { AdbcConfigurable } from "./configurable.ts";
import { AdbcConnection } from "./connection.ts";
import { Driver } from "./driver.ts";
import type { AdbcVersion } from "./driver.ts";
import { findDriver } from "./find_driver.ts";
import { Handle, unwatch } from "./handle.ts";
import { type AdbcOptions, setOptions } from "./options.ts";

/** Which entry point of a driver {@linkcode openDatabase} takes. */
export interface AdbcDriverOptions {
  /**
   * Name of the function that initialises the driver, such as `"duckdb_adbc_init"`.
   *
   * @default That of the manifest, else `AdbcDriverNameInit` for `libadbc_driver_name.so`, else `AdbcDriverInit`
   */
  entrypoint?: string;
}

/**
 * Opens a database by its ADBC driver.
 *
 * @example Usage
 * ```ts ignore
 * import { openDatabase } from "@arrow-ucx/dipc/adbc";
 *
 * await using database = await openDatabase("adbc_driver_sqlite", { uri: ":memory:" });
 * await using connection = await database.connect();
 * for await (using batch of await connection.query("select 1 as one")) console.log(batch.numRows);
 * ```
 *
 * @param driver Path of the driver's shared object or of its manifest; or a name, which is looked up in the folders of
 * `ADBC_DRIVER_PATH`, of the active environment, of the user and of the system
 * @param options Options of the database, such as `uri`, `username` and `password`; the driver's documentation has them
 * @param driverOptions Which entry point
 * @throws {DipcError} `library_not_found` naming all that was looked for; what the driver reports; `permission_denied`
 */
export async function openDatabase(
  driver: string,
  options: AdbcOptions = {},
  driverOptions: AdbcDriverOptions = {},
): Promise<AdbcDatabase> {
  checkOptionNames("openDatabase", driverOptions, DRIVER_KEYS);
  const { entrypoint } = driverOptions;
  const { path, init } = findDriver(driver, entrypoint);
  const started = await Driver.start(path, init);
  const handle = await Handle.create("Database", started, null, ACTION, async (handle) => {
    await setOptions(handle, options);
    await handle.call("DatabaseInit", ACTION);
  });
  return new AdbcDatabase(handle);
}

const DRIVER_KEYS: Record<keyof AdbcDriverOptions, true> = { entrypoint: true };
const ACTION = "open the database";

/** A database. Connections to it may be used concurrently; they are closed with it. */
export class AdbcDatabase extends AdbcConfigurable implements AsyncDisposable {
  readonly #handle: Handle;

  /** @ignore Use {@linkcode openDatabase}. */
  constructor(handle: Handle) {
    super(handle);
    this.#handle = handle;
  }

  /** The newest revision of ADBC that the driver has. */
  get version(): AdbcVersion {
    return this.#handle.driver.version;
  }

  /** The shared object of the driver, as it was opened. */
  get driver(): string {
    return this.#handle.driver.path;
  }

  /**
   * Opens a connection.
   *
   * @param options Options of the connection
   * @throws {DipcError} What the driver reports; `closed`
   */
  async connect(options: AdbcOptions = {}): Promise<AdbcConnection> {
    const action = "connect to the database";
    const database = this.#handle;
    const { driver } = database;
    const handle = await Handle.create("Connection", driver, database, action, async (handle) => {
      await setOptions(handle, options);
      // The driver uses the database meanwhile.
      const initialise = (): Promise<void> => driver.call("ConnectionInit", action, [handle.address, database.address]);
      await handle.task(action, () => database.task(action, initialise));
    });
    return new AdbcConnection(handle);
  }

  /** Closes the database, after its connections and all that uses them. Idempotent. */
  close(): Promise<void> {
    unwatch(this.#handle);
    return this.#handle.close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
