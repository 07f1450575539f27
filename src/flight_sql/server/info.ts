/**
 * What a server tells of itself and of its SQL: SqlInfo.
 *
 * @module
 */
import type { EngineFacts, EngineInfoValue } from "../engine.ts";
import * as sql from "../gen/flight_sql_pb.ts";
import type { SqlLimits } from "./limits.ts";

const ID = sql.SqlInfo;
/** Version of the columns' format. */
const ARROW_VERSION = "1.5";

/**
 * Every value, by number. What nobody says anything about is 0, empty or false: JDBC's driver takes a missing value for a defect.
 *
 * @param facts What the engine says
 * @param limits What the server allows
 */
export function infoOf(facts: EngineFacts, limits: SqlLimits): ReadonlyMap<number, EngineInfoValue> {
  const hasTransactions = facts.transactions !== "none";
  const timeout = (ms: number): number => Math.min(ms, 2 ** 31 - 1);
  return new Map<number, EngineInfoValue>([
    ...UNSAID,
    [ID.FLIGHT_SQL_SERVER_NAME, facts.name],
    [ID.FLIGHT_SQL_SERVER_VERSION, facts.version],
    [ID.FLIGHT_SQL_SERVER_ARROW_VERSION, ARROW_VERSION],
    [ID.FLIGHT_SQL_SERVER_READ_ONLY, facts.isReadOnly],
    [ID.FLIGHT_SQL_SERVER_SQL, true],
    [ID.FLIGHT_SQL_SERVER_SUBSTRAIT, facts.canRunPlans ?? false],
    [ID.FLIGHT_SQL_SERVER_TRANSACTION, ["none", "transactions", "savepoints"].indexOf(facts.transactions)],
    [ID.FLIGHT_SQL_SERVER_CANCEL, true],
    [ID.FLIGHT_SQL_SERVER_BULK_INGESTION, facts.canIngest],
    [ID.FLIGHT_SQL_SERVER_INGEST_TRANSACTIONS_SUPPORTED, facts.canIngest && hasTransactions],
    [ID.FLIGHT_SQL_SERVER_STATEMENT_TIMEOUT, timeout(limits.statementTimeoutMs)],
    [ID.FLIGHT_SQL_SERVER_TRANSACTION_TIMEOUT, timeout(limits.transactionTimeoutMs)],
    [ID.SQL_TRANSACTIONS_SUPPORTED, hasTransactions],
    [ID.SQL_SAVEPOINTS_SUPPORTED, facts.transactions === "savepoints"],
    [ID.SQL_BATCH_UPDATES_SUPPORTED, !facts.isReadOnly],
    [ID.SQL_SUPPORTED_RESULT_SET_TYPES, 1 << sql.SqlSupportedResultSetType.SQL_RESULT_SET_TYPE_FORWARD_ONLY],
    [
      ID.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_FORWARD_ONLY,
      1 << sql.SqlSupportedResultSetConcurrency.SQL_RESULT_SET_CONCURRENCY_READ_ONLY,
    ],
    ...facts.info ?? [],
  ]);
}

/** Values by type, for numbers that the engine says nothing about. */
const UNSAID: readonly (readonly [number, EngineInfoValue])[] = [
  ...values(["SQL_DDL_CATALOG", "SQL_DDL_SCHEMA", "SQL_DDL_TABLE", "SQL_ALL_TABLES_ARE_SELECTABLE"], false),
  ...values(["SQL_SUPPORTS_COLUMN_ALIASING", "SQL_NULL_PLUS_NULL_IS_NULL"], false),
  ...values(["SQL_SUPPORTS_TABLE_CORRELATION_NAMES", "SQL_SUPPORTS_DIFFERENT_TABLE_CORRELATION_NAMES"], false),
  ...values(["SQL_SUPPORTS_EXPRESSIONS_IN_ORDER_BY", "SQL_SUPPORTS_ORDER_BY_UNRELATED"], false),
  ...values(["SQL_SUPPORTS_LIKE_ESCAPE_CLAUSE", "SQL_SUPPORTS_NON_NULLABLE_COLUMNS"], false),
  ...values(["SQL_SUPPORTS_INTEGRITY_ENHANCEMENT_FACILITY", "SQL_CATALOG_AT_START"], false),
  ...values(["SQL_SELECT_FOR_UPDATE_SUPPORTED", "SQL_STORED_PROCEDURES_SUPPORTED"], false),
  ...values(["SQL_CORRELATED_SUBQUERIES_SUPPORTED", "SQL_MAX_ROW_SIZE_INCLUDES_BLOBS"], false),
  ...values(["SQL_DATA_DEFINITION_CAUSES_TRANSACTION_COMMIT"], false),
  ...values(["SQL_DATA_DEFINITIONS_IN_TRANSACTIONS_IGNORED", "SQL_NAMED_PARAMETERS_SUPPORTED"], false),
  ...values(["SQL_LOCATORS_UPDATE_COPY", "SQL_STORED_FUNCTIONS_USING_CALL_SYNTAX_SUPPORTED"], false),
  ...values(["FLIGHT_SQL_SERVER_SUBSTRAIT_MIN_VERSION", "FLIGHT_SQL_SERVER_SUBSTRAIT_MAX_VERSION"], ""),
  ...values(["SQL_IDENTIFIER_QUOTE_CHAR", "SQL_SEARCH_STRING_ESCAPE", "SQL_EXTRA_NAME_CHARACTERS"], ""),
  ...values(["SQL_SCHEMA_TERM", "SQL_PROCEDURE_TERM", "SQL_CATALOG_TERM"], ""),
  ...values(["SQL_KEYWORDS", "SQL_NUMERIC_FUNCTIONS", "SQL_STRING_FUNCTIONS", "SQL_SYSTEM_FUNCTIONS"], []),
  ...values(["SQL_DATETIME_FUNCTIONS"], []),
  ...values(["SQL_IDENTIFIER_CASE", "SQL_QUOTED_IDENTIFIER_CASE", "SQL_NULL_ORDERING", "SQL_SUPPORTED_GROUP_BY"], 0),
  ...values(["SQL_SUPPORTED_GRAMMAR", "SQL_ANSI92_SUPPORTED_LEVEL", "SQL_OUTER_JOINS_SUPPORT_LEVEL"], 0),
  ...values(["SQL_SCHEMAS_SUPPORTED_ACTIONS", "SQL_CATALOGS_SUPPORTED_ACTIONS"], 0),
  ...values(["SQL_SUPPORTED_POSITIONED_COMMANDS", "SQL_SUPPORTED_SUBQUERIES", "SQL_SUPPORTED_UNIONS"], 0),
  ...values(["SQL_DEFAULT_TRANSACTION_ISOLATION", "SQL_SUPPORTED_TRANSACTIONS_ISOLATION_LEVELS"], 0),
  ...values(["SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_UNSPECIFIED"], 0),
  ...values(["SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_SENSITIVE"], 0),
  ...values(["SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_INSENSITIVE"], 0),
  ...values(["SQL_MAX_BINARY_LITERAL_LENGTH", "SQL_MAX_CHAR_LITERAL_LENGTH", "SQL_MAX_COLUMN_NAME_LENGTH"], 0n),
  ...values(["SQL_MAX_COLUMNS_IN_GROUP_BY", "SQL_MAX_COLUMNS_IN_INDEX", "SQL_MAX_COLUMNS_IN_ORDER_BY"], 0n),
  ...values(["SQL_MAX_COLUMNS_IN_SELECT", "SQL_MAX_COLUMNS_IN_TABLE", "SQL_MAX_CONNECTIONS"], 0n),
  ...values(["SQL_MAX_CURSOR_NAME_LENGTH", "SQL_MAX_INDEX_LENGTH", "SQL_DB_SCHEMA_NAME_LENGTH"], 0n),
  ...values(["SQL_MAX_PROCEDURE_NAME_LENGTH", "SQL_MAX_CATALOG_NAME_LENGTH", "SQL_MAX_ROW_SIZE"], 0n),
  ...values(["SQL_MAX_STATEMENT_LENGTH", "SQL_MAX_STATEMENTS", "SQL_MAX_TABLE_NAME_LENGTH"], 0n),
  ...values(["SQL_MAX_TABLES_IN_SELECT", "SQL_MAX_USERNAME_LENGTH"], 0n),
  [ID.SQL_SUPPORTS_CONVERT, new Map()],
];

function values(names: readonly (keyof typeof ID)[], value: EngineInfoValue): [number, EngineInfoValue][] {
  return names.map((name) => [ID[name], value]);
}
