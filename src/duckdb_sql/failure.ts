/**
 * What DuckDB reports, for clients of a Flight SQL server.
 *
 * @module
 */
import { DUCKDB_ERROR_TYPES } from "../../ffi/duckdb.ts";
import { DipcError } from "../errors.ts";
import { GrpcStatus, statusOfCode } from "../grpc/status.ts";
import { PeerError } from "../tell_peer.ts";

/** Types of errors that are this process's own. */
const OWN: ReadonlySet<string> = new Set(["IO", "INTERNAL", "FATAL", "NULL_POINTER"]);
/** Statuses of types that have another one than the code that dipc gives them. */
const STATUSES: Readonly<Record<string, number>> = {
  TRANSACTION: GrpcStatus.failedPrecondition,
  DEPENDENCY: GrpcStatus.failedPrecondition,
  CONSTRAINT: GrpcStatus.failedPrecondition,
};

/**
 * The error for a client: DuckDB's text about its statement, and a status. What is about files of this process stays as it is.
 *
 * @param thrown What was thrown
 */
function sqlError(thrown: unknown): unknown {
  if (!(thrown instanceof DipcError) || thrown.foreign?.system !== "duckdb") return thrown;
  const { code, message: text, foreign } = thrown;
  const type = DUCKDB_ERROR_TYPES[foreign.status] ?? "INVALID";
  if (OWN.has(type)) return thrown;
  const isThere = type === "CATALOG" && /\balready exists\b/.test(text);
  const status = isThere
    ? GrpcStatus.alreadyExists
    : STATUSES[type] ?? (code === "duckdb" ? GrpcStatus.invalidArgument : statusOfCode(code));
  return new PeerError(isThere || type in STATUSES ? "flight" : code === "duckdb" ? "invalid_argument" : code, text, {
    cause: thrown,
    foreign: { system: "grpc", status, text },
  });
}

/** Calls DuckDB for a client. @throws {DipcError} as {@linkcode sqlError} */
export async function forClient<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw sqlError(error);
  }
}
