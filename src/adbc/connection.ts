/**
 * Connections: queries, ingestion, transactions, and what a database says of its contents.
 *
 * @module
 */
import type { AdbcFunctionName } from "../../ffi/adbc.ts";
import type { ForeignStream } from "../c_data/foreign_stream.ts";
import { DipcError } from "../errors.ts";
import { checkOptionNames, oneOf } from "../options.ts";
import type { Arena } from "../c_data/arena.ts";
import { AdbcConfigurable } from "./configurable.ts";
import type { AdbcArgument } from "./driver.ts";
import {
  type AdbcIngestOptions,
  type AdbcObjectFilter,
  type AdbcObjectOptions,
  type AdbcQueryOptions,
  type AdbcStatisticOptions,
  CONNECTION_KEYS,
} from "./connection_options.ts";
import { type CallOptions, Handle, unwatch } from "./handle.ts";
import { type AdbcInfo, infoCode, readInfo } from "./info.ts";
import { type AdbcOptions, setOptions } from "./options.ts";
import { openResult, signalOf, untilAborted } from "./result.ts";
import { type AdbcSchema, fetchSchema } from "./schema.ts";
import { type AdbcSource, AdbcStatement } from "./statement.ts";

/** Depths by ADBC's numbers. */
const DEPTHS = ["all", "catalogs", "dbSchemas", "tables"] as const;
const MODES = ["create", "append", "replace", "create_append"] as const;

/**
 * A connection. Its calls run one after another, on other threads. Statements and streams are closed with it.
 */
export class AdbcConnection extends AdbcConfigurable implements AsyncDisposable {
  readonly #handle: Handle;

  /** @ignore Use `connect` of a database. */
  constructor(handle: Handle) {
    super(handle);
    this.#handle = handle;
  }

  /**
   * Makes a statement, for what is executed many times or needs its options.
   *
   * @param options Options of the statement
   * @throws {DipcError} What the driver reports; `closed`
   */
  async createStatement(options: AdbcOptions = {}): Promise<AdbcStatement> {
    const { driver } = this.#handle;
    const handle = await Handle.create("Statement", driver, this.#handle, "make a statement", async (handle) => {
      await setOptions(handle, options);
    });
    return new AdbcStatement(handle);
  }

  /**
   * Executes a query, and gives its rows.
   *
   * @param sql The query, in the database's own dialect of SQL
   * @param options Parameters, cancellation
   * @returns The rows; dispose the stream unless it is read to its end
   * @throws {DipcError} What the driver reports; `cancelled`, `closed`
   */
  async query(sql: string, options: AdbcQueryOptions = {}): Promise<ForeignStream> {
    await using statement = await this.#prepared("query", sql, options);
    return await statement.query({ signal: options.signal });
  }

  /**
   * Executes what gives no rows.
   *
   * @param sql The statement, in the database's own dialect of SQL
   * @param options Parameters, cancellation
   * @returns Rows that it has affected, `null` if the driver does not say
   * @throws {DipcError} What the driver reports; `cancelled`, `closed`
   */
  async execute(sql: string, options: AdbcQueryOptions = {}): Promise<number | null> {
    await using statement = await this.#prepared("execute", sql, options);
    return await statement.execute({ signal: options.signal });
  }

  async #prepared(call: string, sql: string, queryOptions: AdbcQueryOptions): Promise<AdbcStatement> {
    checkOptionNames(call, queryOptions, CONNECTION_KEYS.query);
    const { parameters, options } = queryOptions;
    const statement = await this.createStatement(options);
    try {
      await statement.setSqlQuery(sql);
      if (parameters !== undefined) {
        await statement.prepare().catch(allowUnsupported);
        await statement.bind(parameters);
      }
    } catch (error) {
      await statement.close();
      throw error;
    }
    return statement;
  }

  /**
   * Writes rows into a table, without copying them on this side.
   *
   * @param table Name of the table
   * @param source A batch, or a stream of batches
   * @param options What to do about the table, its place
   * @returns Rows that were written, `null` if the driver does not say
   * @throws {DipcError} What the driver reports; `cancelled`, `closed`
   */
  async ingest(table: string, source: AdbcSource, options: AdbcIngestOptions = {}): Promise<number | null> {
    checkOptionNames("ingest", options, CONNECTION_KEYS.ingest);
    const { mode = "create", catalog, dbSchema, temporary = false, schema, signal } = options;
    // A statement of its own: some drivers keep the table for what it executes later.
    await using statement = await this.createStatement({
      "adbc.ingest.target_table": table,
      "adbc.ingest.mode": `adbc.ingest.mode.${oneOf("mode", mode, MODES)}`,
      "adbc.ingest.target_catalog": catalog,
      "adbc.ingest.target_db_schema": dbSchema,
      "adbc.ingest.temporary": temporary || undefined,
    });
    await statement.bind(source, { schema });
    return await statement.execute({ signal });
  }

  /**
   * Reads one part of a result, which another connection may have made.
   *
   * @param partition Its name, from `executePartitions`
   * @param options Cancels it
   * @throws {DipcError} `unsupported`; what the driver reports; `cancelled`, `closed`
   */
  async readPartition(partition: Uint8Array, options: CallOptions = {}): Promise<ForeignStream> {
    const signal = signalOf("readPartition", options);
    return await this.#stream("ConnectionReadPartition", "read the partition", { signal }, (out, arena) => [
      arena.bytes(partition),
      BigInt(partition.byteLength),
      out,
    ]);
  }

  /**
   * The catalogs, schemas, tables, columns and constraints of the database, as the tree of ADBC's `GetObjects`.
   *
   * @param options What to look for, and how deep
   * @throws {DipcError} What the driver reports; `cancelled`, `closed`
   */
  async getObjects(options: AdbcObjectOptions = {}): Promise<ForeignStream> {
    checkOptionNames("getObjects", options, CONNECTION_KEYS.getObjects);
    const { depth = "all", catalog, dbSchema, table, tableTypes, column } = options;
    const number = DEPTHS.indexOf(oneOf("depth", depth, DEPTHS));
    return await this.#stream("ConnectionGetObjects", "list the objects of the database", options, (out, arena) => [
      number,
      ...filterOf(arena, catalog, dbSchema, table),
      tableTypes === undefined
        ? 0n
        : arena.words([...tableTypes.map((type) => arena.text("a type of tables", type)), 0n]),
      arena.optionalText("the column", column),
      out,
    ]);
  }

  /**
   * The schema of a table.
   *
   * @param table Its name
   * @param place Its catalog and the schema of the database that it is in
   * @throws {DipcError} `not_found`; what the driver reports; `closed`
   */
  async tableSchema(table: string, place: Omit<AdbcObjectFilter, "table"> = {}): Promise<AdbcSchema> {
    checkOptionNames("tableSchema", place, CONNECTION_KEYS.tableSchema);
    const { catalog, dbSchema } = place;
    return await fetchSchema(this.#handle, "ConnectionGetTableSchema", "read the schema of the table", (out, arena) => [
      ...filterOf(arena, catalog, dbSchema, table),
      out,
    ]);
  }

  /** The types of tables that the database has, such as `"table"` and `"view"`. @throws {DipcError} What the driver reports */
  async tableTypes(): Promise<string[]> {
    const stream = await this.#stream("ConnectionGetTableTypes", "list the types of tables", {}, (out) => [out]);
    const types: string[] = [];
    for await (using batch of stream) types.push(...batch.getChildAt(0)!);
    return types;
  }

  /**
   * What the driver says of itself and of its database.
   *
   * @param names Names such as `"vendorName"`, or numbers of the driver's own; default: all
   * @throws {DipcError} `invalid_argument` for a name that there is not; what the driver reports; `closed`
   */
  async info(names?: readonly (string | number)[]): Promise<AdbcInfo> {
    const codes = names === undefined ? null : Uint32Array.from(names, codeOf);
    const stream = await this.#stream("ConnectionGetInfo", "read what the driver says of itself", {}, (out, arena) => [
      codes === null ? 0n : arena.bytes(new Uint8Array(codes.buffer)),
      BigInt(codes?.length ?? 0),
      out,
    ]);
    return await readInfo(stream);
  }

  /**
   * Statistics of tables and columns, as the tree of ADBC's `GetStatistics`.
   *
   * @param options What to look for
   * @throws {DipcError} `unsupported`; what the driver reports; `cancelled`, `closed`
   */
  async getStatistics(options: AdbcStatisticOptions = {}): Promise<ForeignStream> {
    checkOptionNames("getStatistics", options, CONNECTION_KEYS.getStatistics);
    const { catalog, dbSchema, table, approximate = true } = options;
    return await this.#stream("ConnectionGetStatistics", "read statistics", options, (out, arena) => [
      ...filterOf(arena, catalog, dbSchema, table),
      approximate ? 1 : 0,
      out,
    ]);
  }

  /** Keys of the driver's own statistics, by name. @throws {DipcError} `unsupported`; what the driver reports; `closed` */
  async statisticNames(): Promise<ReadonlyMap<string, number>> {
    const action = "list the names of statistics";
    const names = new Map<string, number>();
    for await (using batch of await this.#stream("ConnectionGetStatisticNames", action, {}, (out) => [out])) {
      const [texts, keys] = [batch.getChildAt(0)!, batch.getChildAt(1)!];
      for (let i = 0; i < batch.numRows; i++) names.set(texts.get(i), Number(keys.get(i)));
    }
    return names;
  }

  /**
   * Switches transactions: without autocommit one begins with the next statement, and ends with `commit` or `rollback`.
   *
   * @param isOn Whether each statement is a transaction of its own, as a connection begins
   * @throws {DipcError} What the driver reports; `closed`
   */
  setAutocommit(isOn: boolean): Promise<void> {
    return this.setOption("adbc.connection.autocommit", isOn);
  }

  /** Commits the transaction. @throws {DipcError} What the driver reports, such as that there is none; `closed` */
  commit(): Promise<void> {
    return this.#handle.call("ConnectionCommit", "commit the transaction");
  }

  /** Rolls the transaction back. @throws {DipcError} What the driver reports, such as that there is none; `closed` */
  rollback(): Promise<void> {
    return this.#handle.call("ConnectionRollback", "roll the transaction back");
  }

  /** Cancels the call of the connection that is under way. @throws {DipcError} What the driver reports; `unsupported` */
  async cancel(): Promise<void> {
    this.#handle.checkOpen("cancel the connection");
    await this.#handle.interrupt();
  }

  /** Closes the connection, after its statements and streams; what is under way is cancelled. Idempotent. */
  close(): Promise<void> {
    unwatch(this.#handle);
    return this.#handle.close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #stream(
    name: AdbcFunctionName,
    action: string,
    { signal }: CallOptions,
    argsOf: (stream: bigint, arena: Arena) => readonly AdbcArgument[],
  ): Promise<ForeignStream> {
    const opened = openResult(this.#handle, name, action, argsOf, { signal });
    return untilAborted(opened, action, signal, (stream) => void stream.cancel());
  }
}

function filterOf(arena: Arena, catalog: string | undefined, dbSchema: string | undefined, table: string | undefined) {
  return [
    arena.optionalText("the catalog", catalog),
    arena.optionalText("the schema", dbSchema),
    arena.optionalText("the table", table),
  ];
}

/** Some drivers bind parameters without preparing. */
function allowUnsupported(error: unknown): void {
  if (!(error instanceof DipcError) || error.code !== "unsupported") throw error;
}

function codeOf(name: string | number): number {
  const code = infoCode(name);
  if (code !== undefined && Number.isInteger(code) && code >= 0 && code < 2 ** 32) return code;
  throw new DipcError(
    "invalid_argument",
    `cannot read what the driver says of itself: ${name} is not one of its names`,
  );
}
