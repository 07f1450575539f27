/**
 * Options of the client of Flight SQL servers.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { timeoutOption } from "../limits.ts";
import { checkOptions, type ConnectFlightOptions, type ConnectOptions, type RouteOptions } from "../routes/options.ts";
import type { FlightInfo } from "../flight/model.ts";
import type { SqlParameters } from "./parameters.ts";

/** Longest wait for an answer to a statement, in milliseconds, by default: statements may take their time. */
const STATEMENT_TIMEOUT_MS = 600_000;

/**
 * Options of {@linkcode FlightSqlClient.connect}: how the server is called, and how results are read. Those of `connect` with the
 * same names mean the same.
 */
export interface FlightSqlOptions
  extends Omit<ConnectOptions, "ticket" | "bodyUri" | "flight">, Omit<ConnectFlightOptions, "path" | "command"> {
  /**
   * Longest wait for the connection, in milliseconds.
   *
   * @default {30_000}
   */
  timeoutMs?: number;
  /**
   * Longest wait for the answer to a statement, and between two messages of its result, in milliseconds.
   *
   * @default {600_000}
   */
  statementTimeoutMs?: number;
  /** Longest message of rows that are sent, in bytes; `false` for batches as they are. As of `FlightClient`. */
  maxBatchBytes?: number | false;
}

/** A plan of Substrait, instead of a statement's text. */
export interface SubstraitPlan {
  /** The serialised plan. */
  readonly plan: Uint8Array;
  /** Version of Substrait that it is for, such as `"0.23.0"`. */
  readonly version?: string;
}

/** A statement in the server's own dialect of SQL, or a plan. */
export type SqlStatement = string | SubstraitPlan;

/** Options of every call. */
export interface SqlCallOptions {
  /** Cancels the call, and the reading of its result. */
  signal?: AbortSignal;
  /** Longest time of the server's answer, in milliseconds. Default: the client's `statementTimeoutMs`. */
  timeoutMs?: number;
}

/** Options of a statement that is executed. */
export interface SqlExecuteOptions extends SqlCallOptions {
  /** Values of the statement's parameters: those of one row, or a table or dataset with many rows. */
  parameters?: SqlParameters;
}

/** Options of a statement that gives rows. */
export interface SqlQueryOptions extends SqlExecuteOptions {
  /**
   * Called while the server is at work, with how far it is from 0 to 1, `null` if it does not say. If it is given, the server is
   * asked with PollFlightInfo, as is best for long queries; servers without that are asked with GetFlightInfo.
   */
  onProgress?(progress: number | null, info: FlightInfo | null): void;
}

/** What to do about a table that exists, or does not. */
export type SqlIngestMode = "create" | "append" | "replace" | "create_append";

/** Options of `ingest`. */
export interface SqlIngestOptions extends SqlCallOptions {
  /**
   * Whether the table is made (`"create"`, an error if there is one), must be there (`"append"`), is made anew (`"replace"`), or is made
   * if it is not there (`"create_append"`).
   *
   * @default {"create"}
   */
  mode?: SqlIngestMode;
  /** Catalog of the table. */
  catalog?: string;
  /** Schema of the database that the table is in. */
  dbSchema?: string;
  /** Makes a table that ends with the session. */
  temporary?: boolean;
  /** The server's own options. */
  options?: Readonly<Record<string, string>>;
}

/** The options as `connect` has them, checked. */
export interface CheckedOptions extends RouteOptions {
  /** Longest wait for the connection, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Longest message of rows that are sent, in bytes. */
  readonly maxBatchBytes: number | false | undefined;
}

/**
 * Checks the options of the client.
 *
 * @throws {DipcError} `invalid_argument` naming the option
 */
export function checkSqlOptions(options: FlightSqlOptions): CheckedOptions {
  const {
    route,
    signal,
    timeoutMs,
    keepAliveMs,
    maxIdleConnections,
    limits,
    library,
    pool,
    transport,
    share,
    ...rest
  } = options;
  const { statementTimeoutMs = STATEMENT_TIMEOUT_MS, maxBatchBytes, ...flight } = rest;
  for (const name of ["path", "command", "flight", "ticket"]) {
    if (name in flight) {
      throw new DipcError(
        "invalid_argument",
        `cannot use the option ${name}: the client of Flight SQL names what it requests itself; use connect for other flights`,
      );
    }
  }
  const connectTimeoutMs = timeoutOption("timeoutMs", timeoutMs ?? 30_000);
  const others = { route, signal, keepAliveMs, maxIdleConnections, limits, library, pool, transport, share };
  const checked = checkOptions("flight", {
    ...others,
    timeoutMs: timeoutOption("statementTimeoutMs", statementTimeoutMs),
    flight,
  });
  return { ...checked, connectTimeoutMs, maxBatchBytes };
}
