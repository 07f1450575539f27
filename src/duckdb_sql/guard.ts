/**
 * Decides which statements of clients DuckDB executes.
 *
 * DuckDB's own settings close off files, networks and extensions; what is refused here are statements that change something, or
 * that concern the server itself: its settings, databases, log and transactions.
 *
 * @module
 */
import { DUCKDB_STATEMENT as TYPE } from "../../ffi/duckdb.ts";
import { DipcError } from "../errors.ts";

const READING: ReadonlySet<number> = new Set([TYPE.select, TYPE.explain, TYPE.relation]);
const WRITING: ReadonlySet<number> = new Set([
  ...[TYPE.insert, TYPE.update, TYPE.delete, TYPE.create, TYPE.alter, TYPE.drop, TYPE.createFunction, TYPE.mergeInto],
  ...[TYPE.analyze, TYPE.vacuum],
]);
/** A call of one of these functions. */
function callOf(names: string): RegExp {
  // DuckDB has blanks of its own among the characters beyond ASCII.
  return new RegExp(`\\b(${names})\\b["\\s\\u{80}-\\u{10ffff}]*(?:\\(|/\\*|--)`, "iu");
}

/**
 * Functions that a query may name and that reach the server: its log, profiles, parser, resources and files, or a text that is executed
 * unseen. Within texts they are refused as well, if a bracket follows: which part of a statement is a text, DuckDB alone knows.
 */
const REACHING = callOf(
  "enable_logging|disable_logging|truncate_duckdb_logs|write_log|checkpoint|force_checkpoint|query|" +
    "json_execute_serialized_sql|(?:enable|disable)_(?:profiling|peg_parser)|" +
    "(?:create|destroy|register|deregister)_external_resource(?:_type)?",
);
/** Functions that read files. DuckDB always allows them those of the folder for what it spills, also of other clients' queries. */
const READING_FILES = callOf("glob|sniff_csv|read_\\w+|parquet_\\w+|\\w+_scan");

/**
 * Refuses a statement that no client may execute, before it is prepared.
 *
 * @param isReadOnly Whether nothing may be changed, and so nothing is spilled
 * @throws {DipcError} `permission_denied`
 */
export function checkText(sql: string, isReadOnly: boolean): void {
  const found = REACHING.exec(sql) ?? (isReadOnly ? null : READING_FILES.exec(sql));
  if (found === null) return;
  throw new DipcError(
    "permission_denied",
    `cannot execute the statement: ${found[1]} may not be used by clients of this server; leave it out`,
  );
}

/**
 * Refuses a statement whose kind is not allowed.
 *
 * @param type Its `duckdb_statement_type`
 * @param isReadOnly Whether nothing may be changed
 * @throws {DipcError} `permission_denied`
 */
export function checkKind(type: number, sql: string, isReadOnly: boolean): void {
  const fail = (why: string): never => {
    throw new DipcError("permission_denied", `cannot execute the statement: ${why}`);
  };
  if (READING.has(type)) {
    // To analyze is to execute, whatever the statement is.
    if (type !== TYPE.explain || !/\banalyze\b/i.test(sql)) return;
    if (isReadOnly) fail("this server executes nothing that might change data; leave ANALYZE out");
    if (/\bcopy\b/i.test(sql)) fail("it may write a file; leave ANALYZE or COPY out");
    return;
  }
  if (type === TYPE.transaction) fail("transactions are begun and ended by their own calls; use those of the client");
  if (WRITING.has(type)) {
    if (!isReadOnly) return;
    fail("this server is read-only; start it with a folder for tables (--sql-write DIR)");
  }
  fail("it concerns the server itself, such as its settings, files or databases; send queries and changes of tables");
}
