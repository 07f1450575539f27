/**
 * `--put-into adbc:DRIVER?uri=…`: uploads to `dipc serve` as rows of tables of a database.
 *
 * @module
 */
import type { AdbcIngestMode } from "../adbc/connection_options.ts";
import type { AdbcDatabase } from "../adbc/database.ts";
import type { UploadTarget } from "../serving/ingest_uploads.ts";
import { choiceRefusal } from "../options.ts";
import { requestDriverVariables } from "./adbc_source.ts";
import { UsageError } from "./args.ts";
import { parseDatabaseText, queryFault } from "./query_text.ts";

const FORM = "--put-into 'adbc:DRIVER?uri=URI', with &mode=append, create, replace or create_append";
const MODES = ["create_append", "append", "create", "replace"] as const satisfies readonly AdbcIngestMode[];

/** A database into whose tables uploads go. */
export interface UploadDatabase {
  readonly driver: string;
  readonly entrypoint: string | undefined;
  readonly options: Readonly<Record<string, string>>;
  /** What to do about the table. */
  readonly mode: AdbcIngestMode;
}

/** Reads the value of the option. @throws {UsageError} */
export function parseUploadDatabase(text: string): UploadDatabase {
  if (!/^adbc:[^?]/i.test(text)) throw queryFault(text, FORM, "it names no driver of ADBC");
  const { name: driver, options: { entrypoint, mode = "create_append", ...options } } = parseDatabaseText(text, FORM);
  const known = MODES.find((each) => each === mode);
  if (known === undefined) throw new UsageError(choiceRefusal("mode of --put-into", mode, MODES));
  return { driver, entrypoint, options, mode: known };
}

/** The tables of a database, each upload on a connection of its own. */
export class UploadTables implements UploadTarget, AsyncDisposable {
  readonly #database: AdbcDatabase;
  readonly #mode: AdbcIngestMode;

  private constructor(database: AdbcDatabase, mode: AdbcIngestMode) {
    this.#database = database;
    this.#mode = mode;
  }

  /** @throws {DipcError} As `openDatabase` does */
  static async open({ driver, entrypoint, options, mode }: UploadDatabase): Promise<UploadTables> {
    requestDriverVariables(driver);
    const { openDatabase } = await import("../adbc/database.ts");
    return new UploadTables(await openDatabase(driver, options, { entrypoint }), mode);
  }

  /** Writes the rows of an upload into a table. @throws {DipcError} What the driver reports */
  async ingest(table: string, upload: Parameters<UploadTarget["ingest"]>[1]): Promise<void> {
    await using connection = await this.#database.connect();
    await connection.ingest(table, upload, { mode: this.#mode });
  }

  /** Closes the database. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#database.close();
  }
}
