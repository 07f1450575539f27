/**
 * Decodes what a server says of itself: ids to names, and numbers to the names that they stand for.
 *
 * @module
 */
import type { GenEnum } from "@bufbuild/protobuf/codegenv2";
import type { PlainValue } from "../ipc/plain_value.ts";
import * as sql from "./gen/flight_sql_pb.ts";

/** What a server says of itself and of its SQL, by name, such as `"FLIGHT_SQL_SERVER_NAME"`; the server's own ones by number. */
export type SqlInfoMap = ReadonlyMap<string | number, PlainValue>;

/** An enumeration of Flight SQL, with the names that its definition has. */
type Names = GenEnum<number>;

/** Values that are one of an enumeration. */
const ENUMERATIONS: ReadonlyMap<number, Names> = new Map<number, Names>([
  [sql.SqlInfo.FLIGHT_SQL_SERVER_TRANSACTION, sql.SqlSupportedTransactionSchema],
  [sql.SqlInfo.SQL_IDENTIFIER_CASE, sql.SqlSupportedCaseSensitivitySchema],
  [sql.SqlInfo.SQL_QUOTED_IDENTIFIER_CASE, sql.SqlSupportedCaseSensitivitySchema],
  [sql.SqlInfo.SQL_NULL_ORDERING, sql.SqlNullOrderingSchema],
  [sql.SqlInfo.SQL_DEFAULT_TRANSACTION_ISOLATION, sql.SqlTransactionIsolationLevelSchema],
]);

/** Values whose bits are those of an enumeration. */
const BIT_MASKS: ReadonlyMap<number, Names> = new Map<number, Names>([
  [sql.SqlInfo.SQL_SUPPORTED_GROUP_BY, sql.SqlSupportedGroupBySchema],
  [sql.SqlInfo.SQL_SUPPORTED_GRAMMAR, sql.SupportedSqlGrammarSchema],
  [sql.SqlInfo.SQL_ANSI92_SUPPORTED_LEVEL, sql.SupportedAnsi92SqlGrammarLevelSchema],
  [sql.SqlInfo.SQL_OUTER_JOINS_SUPPORT_LEVEL, sql.SqlOuterJoinsSupportLevelSchema],
  [sql.SqlInfo.SQL_SCHEMAS_SUPPORTED_ACTIONS, sql.SqlSupportedElementActionsSchema],
  [sql.SqlInfo.SQL_CATALOGS_SUPPORTED_ACTIONS, sql.SqlSupportedElementActionsSchema],
  [sql.SqlInfo.SQL_SUPPORTED_POSITIONED_COMMANDS, sql.SqlSupportedPositionedCommandsSchema],
  [sql.SqlInfo.SQL_SUPPORTED_SUBQUERIES, sql.SqlSupportedSubqueriesSchema],
  [sql.SqlInfo.SQL_SUPPORTED_UNIONS, sql.SqlSupportedUnionsSchema],
  [sql.SqlInfo.SQL_SUPPORTED_TRANSACTIONS_ISOLATION_LEVELS, sql.SqlTransactionIsolationLevelSchema],
  [sql.SqlInfo.SQL_SUPPORTED_RESULT_SET_TYPES, sql.SqlSupportedResultSetTypeSchema],
  ...[
    sql.SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_UNSPECIFIED,
    sql.SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_FORWARD_ONLY,
    sql.SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_SENSITIVE,
    sql.SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_INSENSITIVE,
  ].map((id): [number, Names] => [id, sql.SqlSupportedResultSetConcurrencySchema]),
]);

/** Bits of a mask: it is an int32. */
const MASK_BITS = 32;

/**
 * The name of an id.
 *
 * @param id The id as the server sent it
 * @returns The id itself if it is the server's own
 */
export function infoName(id: number): string | number {
  return sql.SqlInfoSchema.values.find(({ number }) => number === id)?.name ?? id;
}

/**
 * The id of a name.
 *
 * @param name A name of Flight SQL, or an id
 * @returns `undefined` if there is no such name
 */
export function infoId(name: string | number): number | undefined {
  if (typeof name === "number") return Number.isInteger(name) && name >= 0 && name < 2 ** 32 ? name : undefined;
  return sql.SqlInfoSchema.values.find((value) => value.name === name)?.number;
}

/**
 * A value in words: an enumeration's name, the list of names of a mask's bits, lists of conversions by name. Numbers that have no name
 * stay numbers, and other values as they are.
 *
 * @param id Id of the information
 * @param value The value as the server sent it
 */
export function infoValue(id: number, value: PlainValue): PlainValue {
  const names = ENUMERATIONS.get(id);
  if (names !== undefined) return nameIn(names, value);
  const bits = BIT_MASKS.get(id);
  if (bits !== undefined && (typeof value === "number" || typeof value === "bigint")) {
    const mask = BigInt.asUintN(MASK_BITS, BigInt(value));
    const set = Array.from({ length: MASK_BITS }, (_, bit) => bit).filter((bit) => (mask >> BigInt(bit)) & 1n);
    return set.map((bit) => nameIn(bits, bit));
  }
  if (id === sql.SqlInfo.SQL_SUPPORTS_CONVERT && typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([from, to]) => [
        String(nameIn(sql.SqlSupportsConvertSchema, Number(from))),
        Array.isArray(to) ? to.map((each) => nameIn(sql.SqlSupportsConvertSchema, each)) : to,
      ]),
    );
  }
  return value;
}

function nameIn(names: Names, value: PlainValue): PlainValue {
  return typeof value === "number" || typeof value === "bigint" ? names.value[Number(value)]?.name ?? value : value;
}
