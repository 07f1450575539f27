/**
 * How much one client may ask of a Flight SQL server.
 *
 * @module
 */
import { MIB } from "../../bytes.ts";
import { timeoutOption } from "../../limits.ts";
import { checkOptionNames, integerIn } from "../../options.ts";

/** Limits of a Flight SQL server. */
export interface SqlLimits {
  /** Most rows of one result; a query with more fails. Default: as many as there are. */
  maxRows: number;
  /**
   * Longest time that the engine works on one statement or writes the rows of one upload, in milliseconds; a slow client does not count.
   * Default 300,000.
   */
  statementTimeoutMs: number;
  /** Most transactions, prepared statements and results that one connection of a client has open. Default 1,000. */
  maxHandles: number;
  /** The same, of all clients. Default 4,000. */
  maxTotalHandles: number;
  /**
   * Most bytes that the statements of one connection have which are open: their texts, and the schemas of their rows and parameters.
   * Default 32 MiB.
   */
  maxStatementBytes: number;
  /** The same, of all clients. Default 128 MiB. */
  maxTotalStatementBytes: number;
  /** A transaction that is not used for this many milliseconds is rolled back. Default 300,000. */
  transactionTimeoutMs: number;
  /** A result that is not fetched for this many milliseconds is dropped, and its tickets expire. Default 300,000. */
  resultTimeoutMs: number;
  /**
   * How long transactions, prepared statements and unread results outlive their client's connection, in milliseconds: behind a proxy the
   * next call may come by another one. Default 1,000.
   */
  graceMs: number;
  /**
   * Results of at most this many bytes are kept, and fetched by the connection of the query; larger ones are read as they are computed,
   * in several parts and by the fastest route. Default 4 MiB.
   */
  smallResultBytes: number;
  /**
   * Most bytes of results that are kept, of all clients: those that were fetched make room for new ones, and if all wait to be fetched,
   * another one is read as it is computed, however small it is. Default 128 MiB.
   */
  maxKeptBytes: number;
  /** Parts of a result that is not small, unless its rows have an order: so many clients can fetch it together. Default 4. */
  parts: number;
}

/** The default limits. */
const DEFAULTS: Readonly<SqlLimits> = {
  maxRows: Number.MAX_SAFE_INTEGER,
  statementTimeoutMs: 300_000,
  maxHandles: 1000,
  maxTotalHandles: 4000,
  maxStatementBytes: 32 * MIB,
  maxTotalStatementBytes: 128 * MIB,
  transactionTimeoutMs: 300_000,
  resultTimeoutMs: 300_000,
  graceMs: 1000,
  smallResultBytes: 4 * MIB,
  maxKeptBytes: 128 * MIB,
  parts: 4,
};

/** Limits that may be 0. */
const FROM_ZERO: ReadonlySet<string> = new Set(["graceMs", "smallResultBytes", "maxKeptBytes"]);

/** Checks limits and adds the defaults. @throws {DipcError} `invalid_argument` */
export function sqlLimits(given: Partial<SqlLimits> = {}): SqlLimits {
  const limits = { ...DEFAULTS };
  checkOptionNames("the SQL server", given, limits as Readonly<Record<string, unknown>>, "limits.");
  for (const name of Object.keys(limits) as (keyof SqlLimits)[]) {
    const value = given[name];
    if (value === undefined) continue;
    limits[name] = name.endsWith("TimeoutMs")
      ? timeoutOption(name, value)
      : integerIn(name, value, FROM_ZERO.has(name) ? 0 : 1);
  }
  return limits;
}
