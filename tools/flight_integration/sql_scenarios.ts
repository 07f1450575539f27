/**
 * What client and server of the scenarios of Flight SQL have agreed on.
 *
 * @module
 */
import { Field, Int32, Int64, Schema, Table, vectorFromArray } from "apache-arrow";
import type { SqlIngestOptions, SubstraitPlan } from "../../flight_sql.ts";

/** The plan of every query and update by plan. */
export const PLAN: SubstraitPlan = { plan: new TextEncoder().encode("plan"), version: "version" };

/** Rows that each kind of statement changes. */
export const ROWS_CHANGED = {
  statement: 10_000,
  statementInTransaction: 15_000,
  prepared: 20_000,
  preparedInTransaction: 25_000,
} as const;

/** The id of every transaction. */
export const TRANSACTION = "transaction_id";

/** Name and id of every savepoint. */
export const SAVEPOINT = { name: "savepoint_name", id: "savepoint_id" } as const;

/** What is ingested, how, and into which table. */
export const INGEST: SqlIngestOptions & { table: string; transaction: string; rows(): Table } = {
  table: "test_table",
  catalog: "test_catalog",
  dbSchema: "test_schema",
  mode: "replace",
  temporary: true,
  transaction: "123",
  options: { key1: "val1", key2: "val2" },
  rows: () => new Table({ test_field: vectorFromArray([null, null, null], new Int64()) }),
};

/** The columns of every query, and of every query in a transaction; they carry metadata of Flight SQL, too. */
export const QUERY = new Schema([new Field("id", new Int64(), true, columnMetadata())]);
/** See {@linkcode QUERY}. */
export const QUERY_IN_TRANSACTION = new Schema([new Field("pkey", new Int32(), true, columnMetadata())]);

/** What Flight SQL says of the column. */
function columnMetadata(): Map<string, string> {
  const of = (name: string): string => `ARROW:FLIGHT:SQL:${name}`;
  return new Map([
    [of("TABLE_NAME"), "test"],
    [of("IS_AUTO_INCREMENT"), "1"],
    [of("IS_CASE_SENSITIVE"), "0"],
    [of("TYPE_NAME"), "type_test"],
    [of("SCHEMA_NAME"), "schema_test"],
    [of("IS_SEARCHABLE"), "1"],
    [of("CATALOG_NAME"), "catalog_test"],
    [of("PRECISION"), "100"],
    [of("REMARKS"), "test column"],
  ]);
}
