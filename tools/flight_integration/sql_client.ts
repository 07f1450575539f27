/**
 * The client's part of the scenarios of Flight SQL: statements, metadata, transactions and plans, and ingest. The servers of these
 * scenarios check what they are sent; the schemas of their answers are checked here.
 *
 * @module
 */
import { RecordBatch, type Schema, tableFromJSON } from "apache-arrow";
import { type DissociatedStreamReader, FlightSqlClient, type MessageHeader } from "../../flight_sql.ts";
import { describeSchema } from "../../mod.ts";
import { readEncapsulatedSchema } from "../../src/flight/schema_bytes.ts";
import type { SqlExecutor } from "../../src/flight_sql/executor.ts";
import { packMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { RESULT_SCHEMAS } from "../../src/flight_sql/result_schemas.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import { INGEST, PLAN, QUERY, QUERY_IN_TRANSACTION, ROWS_CHANGED, SAVEPOINT, TRANSACTION } from "./sql_scenarios.ts";

function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

/** Names, types and nullability of columns, without their metadata. */
function shapeOf(header: MessageHeader): string {
  const shape = (fields: ReturnType<typeof describeSchema>): unknown[] =>
    fields.map(({ name, type, nullable, children }) => [name, type, nullable, shape(children)]);
  return JSON.stringify(shape(describeSchema(header)));
}

function checkSchema(what: string, found: MessageHeader, expected: Schema): void {
  const wanted = encodeSchema(expected);
  check(shapeOf(found) === shapeOf(wanted), `${what}: expected the schema ${shapeOf(wanted)}, found ${shapeOf(found)}`);
}

/** One row for the parameter. */
function parameters(): RecordBatch {
  const [batch] = tableFromJSON([{ id: 1n }]).batches;
  return new RecordBatch(QUERY, batch.data);
}

async function readRows(what: string, reading: Promise<DissociatedStreamReader>, expected: Schema): Promise<void> {
  await using reader = await reading;
  checkSchema(what, reader.schemaHeader, expected);
  for await (using _ of reader) { /* the schema is what counts */ }
}

/** Every metadata call: its answer, which is empty, and its schema by GetSchema. */
async function checkMetadata(client: FlightSqlClient): Promise<void> {
  const [catalog, dbSchema, table] = ["catalog", "db_schema", "table"];
  const filter = { catalog, dbSchema: "db_schema_filter_pattern" };
  const primary = { catalog: "pk_catalog", dbSchema: "pk_db_schema", table: "pk_table" };
  const foreign = { catalog: "fk_catalog", dbSchema: "fk_db_schema", table: "fk_table" };
  const answers = [
    await client.catalogs(),
    await client.dbSchemas(filter),
    await client.tables({
      ...filter,
      table: "table_filter_pattern",
      tableTypes: ["table", "view"],
      includeSchema: true,
    }),
    await client.tableTypes(),
    await client.primaryKeys({ catalog, dbSchema, table }),
    await client.exportedKeys({ catalog, dbSchema, table }),
    await client.importedKeys({ catalog, dbSchema, table }),
    await client.crossReference(primary, foreign),
    await client.typeInfo(),
  ];
  for (const [i, rows] of answers.entries()) {
    check(rows.length === 0, `call ${i}: expected no rows, found ${rows.length}`);
  }
  await client.info(["FLIGHT_SQL_SERVER_NAME", "FLIGHT_SQL_SERVER_READ_ONLY"]);
  const schemas: [string, Uint8Array, Schema][] = [
    ["catalogs", packMessage(sql.CommandGetCatalogsSchema, {}), RESULT_SCHEMAS.catalogs],
    ["schemas", packMessage(sql.CommandGetDbSchemasSchema, {}), RESULT_SCHEMAS.schemas],
    ["tables", packMessage(sql.CommandGetTablesSchema, {}), RESULT_SCHEMAS.tables],
    [
      "tables with schemas",
      packMessage(sql.CommandGetTablesSchema, { includeSchema: true }),
      RESULT_SCHEMAS.tablesWithSchema,
    ],
    ["types of tables", packMessage(sql.CommandGetTableTypesSchema, {}), RESULT_SCHEMAS.tableTypes],
    ["primary keys", packMessage(sql.CommandGetPrimaryKeysSchema, {}), RESULT_SCHEMAS.primaryKeys],
    ["exported keys", packMessage(sql.CommandGetExportedKeysSchema, {}), RESULT_SCHEMAS.references],
    ["imported keys", packMessage(sql.CommandGetImportedKeysSchema, {}), RESULT_SCHEMAS.references],
    ["cross-reference", packMessage(sql.CommandGetCrossReferenceSchema, {}), RESULT_SCHEMAS.references],
    ["types", packMessage(sql.CommandGetXdbcTypeInfoSchema, {}), RESULT_SCHEMAS.xdbcTypeInfo],
    ["information", packMessage(sql.CommandGetSqlInfoSchema, {}), RESULT_SCHEMAS.sqlInfo],
  ];
  for (const [what, command, expected] of schemas) {
    checkSchema(what, readEncapsulatedSchema(await client.flight.getSchema({ command })), expected);
  }
}

/** The statement's rows, its schema, and the rows that another changes. */
async function checkStatements(executor: SqlExecutor, schema: Schema, changed: number): Promise<void> {
  for (const statement of ["SELECT STATEMENT", PLAN]) {
    await readRows("query", executor.query(statement), schema);
    checkSchema("schema of the query", await executor.querySchema(statement), schema);
    const rows = await executor.update(statement === PLAN ? PLAN : "UPDATE STATEMENT");
    check(rows === changed, `update: expected ${changed} rows, found ${rows}`);
  }
}

async function checkPrepared(executor: SqlExecutor, plans: boolean, schema: Schema, changed: number): Promise<void> {
  {
    await using select = await executor.prepare(plans ? PLAN : "SELECT PREPARED STATEMENT");
    await readRows("prepared query", select.query({ parameters: parameters() }), schema);
    checkSchema("schema of the prepared query", await select.querySchema(), schema);
    await select.close();
  }
  await using update = await executor.prepare(plans ? PLAN : "UPDATE PREPARED STATEMENT");
  const rows = await update.update();
  check(rows === changed, `prepared update: expected ${changed} rows, found ${rows}`);
  await update.close();
}

/** `flight_sql`. */
export async function runFlightSql(location: string): Promise<void> {
  await using client = await FlightSqlClient.connect(location);
  await checkMetadata(client);
  await readRows("query", client.query("SELECT STATEMENT"), QUERY);
  checkSchema("schema of the query", await client.querySchema("SELECT STATEMENT"), QUERY);
  const rows = await client.update("UPDATE STATEMENT");
  check(rows === ROWS_CHANGED.statement, `update: expected ${ROWS_CHANGED.statement} rows, found ${rows}`);
  await checkPrepared(client, false, QUERY, ROWS_CHANGED.prepared);
}

/** `flight_sql:extension`: information, plans, cancelling, transactions. */
export async function runFlightSqlExtension(location: string): Promise<void> {
  await using client = await FlightSqlClient.connect(location);
  const expected: Readonly<Record<string, unknown>> = {
    FLIGHT_SQL_SERVER_SQL: false,
    FLIGHT_SQL_SERVER_SUBSTRAIT: true,
    FLIGHT_SQL_SERVER_SUBSTRAIT_MIN_VERSION: "min_version",
    FLIGHT_SQL_SERVER_SUBSTRAIT_MAX_VERSION: "max_version",
    FLIGHT_SQL_SERVER_TRANSACTION: "SQL_SUPPORTED_TRANSACTION_SAVEPOINT",
    FLIGHT_SQL_SERVER_CANCEL: true,
    FLIGHT_SQL_SERVER_STATEMENT_TIMEOUT: 42,
    FLIGHT_SQL_SERVER_TRANSACTION_TIMEOUT: 7,
  };
  const info = await client.info(Object.keys(expected));
  check(info.size === Object.keys(expected).length, `information: found ${[...info.keys()]}`);
  for (const [name, value] of Object.entries(expected)) {
    check(info.get(name) === value, `${name}: expected ${value}, found ${info.get(name)}`);
  }
  await readRows("plan", client.query(PLAN), QUERY);
  checkSchema("schema of the plan", await client.querySchema(PLAN), QUERY);
  const status = await client.cancel(await client.execute(PLAN));
  check(status === "cancelled", `cancel: expected "cancelled", found "${status}"`);
  const rows = await client.update(PLAN);
  check(rows === ROWS_CHANGED.statement, `plan: expected ${ROWS_CHANGED.statement} rows, found ${rows}`);
  await checkPrepared(client, true, QUERY, ROWS_CHANGED.prepared);

  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const transaction = await client.beginTransaction();
  check(text(transaction.id) === TRANSACTION, `transaction: "${text(transaction.id)}"`);
  const savepoint = await transaction.savepoint(SAVEPOINT.name);
  check(text(savepoint.id) === SAVEPOINT.id, `savepoint: "${text(savepoint.id)}"`);
  await checkStatements(transaction, QUERY_IN_TRANSACTION, ROWS_CHANGED.statementInTransaction);
  for (const plans of [false, true]) {
    await checkPrepared(transaction, plans, QUERY_IN_TRANSACTION, ROWS_CHANGED.preparedInTransaction);
  }
  await savepoint.rollback();
  await (await transaction.savepoint(SAVEPOINT.name)).release();
  await transaction.commit();
  await (await client.beginTransaction()).rollback();
}

/** `flight_sql:ingestion`. */
export async function runFlightSqlIngestion(location: string): Promise<void> {
  await using client = await FlightSqlClient.connect(location);
  const { table, rows, transaction, ...options } = INGEST;
  const found = await client.transaction(new TextEncoder().encode(transaction)).ingest(table, rows(), options);
  check(found === rows().numRows, `expected ${rows().numRows} rows, found ${found}`);
}
