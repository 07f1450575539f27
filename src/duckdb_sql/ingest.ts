/**
 * Writes uploaded rows into tables of DuckDB.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { EngineIngest, EngineRowSource, EngineTableName } from "../flight_sql/engine.ts";
import { GrpcStatus } from "../grpc/status.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { identifier, literal } from "../duckdb/identifiers.ts";
import type { NativeConnection } from "../duckdb/native.ts";
import { DuckDbRegistration } from "../duckdb/registration.ts";
import type { StatementOptions } from "./statement.ts";

const ACTION = "write the rows into the table";
/** Name of the view by which DuckDB reads the upload; that of no table. */
const VIEW = "dipc upload";

/**
 * Writes rows into a table, all or none.
 *
 * @returns their number
 * @throws {DipcError} `permission_denied` on a read-only server, `not_found`, `flight` (ALREADY_EXISTS); what DuckDB reports; what the
 * upload throws
 */
export async function ingest(
  connection: NativeConnection,
  target: EngineIngest,
  rows: EngineRowSource,
  { signal, isReadOnly, usePlace }: StatementOptions,
): Promise<number> {
  if (isReadOnly) {
    throw new DipcError(
      "permission_denied",
      `cannot ${ACTION}: this server is read-only; start it with a folder for tables (--sql-write DIR)`,
    );
  }
  const name = nameOf(target);
  const isThere = await connection.run(ACTION, signal, async () => {
    await usePlace();
    return await exists(connection, target.table);
  });
  const statement = statementOf(target, name, isThere);
  // DuckDB does not say how many rows a new table has.
  let count = 0;
  const counted = { schemaHeader: rows.schemaHeader, messages: () => countingRows(rows, (rows) => count += rows) };
  const registration = await connection.run(ACTION, signal, () => DuckDbRegistration.create(connection, VIEW, counted));
  try {
    await connection.run(ACTION, signal, async () => {
      await usePlace();
      await connection.execute(ACTION, statement);
    });
    return count;
  } finally {
    await registration.close();
  }
}

async function* countingRows(
  source: EngineRowSource,
  count: (rows: number) => void,
): AsyncGenerator<IpcMessage, undefined> {
  for await (const message of source.messages()) {
    if (message.header.kind === "batch") count(message.header.rows);
    yield message;
  }
}

function statementOf(
  { table: { table }, ifMissing, ifExists, isTemporary }: EngineIngest,
  name: string,
  isThere: boolean,
) {
  const from = `from ${identifier(VIEW)}`;
  const create = isTemporary ? "temp table" : "table";
  if (!isThere) {
    if (ifMissing === "create") return `create ${create} ${name} as ${from}`;
    throw new DipcError("not_found", `cannot ${ACTION}: there is no table ${identifier(table)}; create it first`);
  }
  switch (ifExists) {
    case "append":
      return `insert into ${name} by name ${from}`;
    case "replace":
      return `create or replace ${create} ${name} as ${from}`;
    case "fail": {
      const text = `cannot ${ACTION}: the table ${
        identifier(table)
      } exists; append to it, replace it, or choose another name`;
      throw new DipcError("flight", text, { foreign: { system: "grpc", status: GrpcStatus.alreadyExists, text } });
    }
  }
}

function nameOf({ table: { catalog, schema, table }, isTemporary }: EngineIngest): string {
  const parts = isTemporary ? ["temp", "main", table] : [catalog, schema, table];
  return parts.filter((part) => part !== null && part !== "").map((part) => identifier(part!)).join(".");
}

/** Whether there is a table of the name. */
async function exists(connection: NativeConnection, { catalog, schema, table }: EngineTableName): Promise<boolean> {
  const conditions = [
    `table_name = ${literal(table)}`,
    `database_name = ${catalog ? literal(catalog) : "current_database()"}`,
    `schema_name = ${schema ? literal(schema) : "current_schema()"}`,
  ];
  const sql = `select 1 from duckdb_tables() where ${conditions.join(" and ")}`;
  return await connection.execute(ACTION, sql, "rows") > 0;
}
