/**
 * What DuckDB's SQL can do, as values of SqlInfo.
 *
 * @module
 */
import type { EngineInfoValue } from "../flight_sql/engine.ts";
import * as sql from "../flight_sql/gen/flight_sql_pb.ts";

const ID = sql.SqlInfo;

function bits(...numbers: number[]): number {
  return numbers.reduce((mask, number) => mask | (1 << number), 0);
}

/**
 * The values.
 *
 * @param canWrite Whether clients may change something
 * @param keywords Reserved words
 */
export function duckDbInfo(canWrite: boolean, keywords: readonly string[]): ReadonlyMap<number, EngineInfoValue> {
  const level = sql.SqlTransactionIsolationLevel.SQL_TRANSACTION_REPEATABLE_READ;
  return new Map<number, EngineInfoValue>([
    [ID.SQL_DDL_CATALOG, false],
    [ID.SQL_DDL_SCHEMA, canWrite],
    [ID.SQL_DDL_TABLE, canWrite],
    [ID.SQL_IDENTIFIER_CASE, sql.SqlSupportedCaseSensitivity.SQL_CASE_SENSITIVITY_CASE_INSENSITIVE],
    [ID.SQL_QUOTED_IDENTIFIER_CASE, sql.SqlSupportedCaseSensitivity.SQL_CASE_SENSITIVITY_CASE_INSENSITIVE],
    [ID.SQL_IDENTIFIER_QUOTE_CHAR, '"'],
    [ID.SQL_ALL_TABLES_ARE_SELECTABLE, true],
    [ID.SQL_NULL_ORDERING, sql.SqlNullOrdering.SQL_NULLS_SORTED_AT_END],
    [ID.SQL_KEYWORDS, keywords],
    [ID.SQL_SEARCH_STRING_ESCAPE, "\\"],
    [ID.SQL_SUPPORTS_COLUMN_ALIASING, true],
    [ID.SQL_NULL_PLUS_NULL_IS_NULL, true],
    [ID.SQL_SUPPORTS_TABLE_CORRELATION_NAMES, true],
    [ID.SQL_SUPPORTS_EXPRESSIONS_IN_ORDER_BY, true],
    [ID.SQL_SUPPORTS_ORDER_BY_UNRELATED, true],
    [
      ID.SQL_SUPPORTED_GROUP_BY,
      bits(sql.SqlSupportedGroupBy.SQL_GROUP_BY_UNRELATED, sql.SqlSupportedGroupBy.SQL_GROUP_BY_BEYOND_SELECT),
    ],
    [ID.SQL_SUPPORTS_LIKE_ESCAPE_CLAUSE, true],
    [ID.SQL_SUPPORTS_NON_NULLABLE_COLUMNS, true],
    [
      ID.SQL_SUPPORTED_GRAMMAR,
      bits(sql.SupportedSqlGrammar.SQL_MINIMUM_GRAMMAR, sql.SupportedSqlGrammar.SQL_CORE_GRAMMAR),
    ],
    [ID.SQL_ANSI92_SUPPORTED_LEVEL, bits(sql.SupportedAnsi92SqlGrammarLevel.ANSI92_ENTRY_SQL)],
    [ID.SQL_SUPPORTS_INTEGRITY_ENHANCEMENT_FACILITY, true],
    [
      ID.SQL_OUTER_JOINS_SUPPORT_LEVEL,
      bits(
        sql.SqlOuterJoinsSupportLevel.SQL_LIMITED_OUTER_JOINS,
        sql.SqlOuterJoinsSupportLevel.SQL_FULL_OUTER_JOINS,
      ),
    ],
    [ID.SQL_SCHEMA_TERM, "schema"],
    [ID.SQL_CATALOG_TERM, "catalog"],
    [ID.SQL_CATALOG_AT_START, true],
    [ID.SQL_SCHEMAS_SUPPORTED_ACTIONS, bits(sql.SqlSupportedElementActions.SQL_ELEMENT_IN_INDEX_DEFINITIONS)],
    [ID.SQL_CATALOGS_SUPPORTED_ACTIONS, bits(sql.SqlSupportedElementActions.SQL_ELEMENT_IN_INDEX_DEFINITIONS)],
    [
      ID.SQL_SUPPORTED_SUBQUERIES,
      bits(
        sql.SqlSupportedSubqueries.SQL_SUBQUERIES_IN_COMPARISONS,
        sql.SqlSupportedSubqueries.SQL_SUBQUERIES_IN_EXISTS,
        sql.SqlSupportedSubqueries.SQL_SUBQUERIES_IN_INS,
        sql.SqlSupportedSubqueries.SQL_SUBQUERIES_IN_QUANTIFIEDS,
      ),
    ],
    [ID.SQL_CORRELATED_SUBQUERIES_SUPPORTED, true],
    [
      ID.SQL_SUPPORTED_UNIONS,
      bits(sql.SqlSupportedUnions.SQL_UNION, sql.SqlSupportedUnions.SQL_UNION_ALL),
    ],
    // Snapshots. JDBC's driver takes nothing but an int64 here, although the definition says int32.
    [ID.SQL_DEFAULT_TRANSACTION_ISOLATION, BigInt(level)],
    [ID.SQL_SUPPORTED_TRANSACTIONS_ISOLATION_LEVELS, bits(level)],
    [ID.SQL_NAMED_PARAMETERS_SUPPORTED, true],
  ]);
}
