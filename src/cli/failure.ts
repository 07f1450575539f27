/**
 * A failure as the command shows it: a code of the closed list, a message, an exit status.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, engineLimitError } from "../errors.ts";
import { isGranted } from "../permissions.ts";
import { printable } from "../text.ts";
import { UsageError } from "./args.ts";
import { EXIT_FAILURE, EXIT_USAGE } from "./exit_codes.ts";
import { type EndSignal, Interrupted } from "./interrupt.ts";
import { DUCKDB_VARIABLES, LIBRARY_VARIABLES } from "./permissions.ts";
import { withLimitOption } from "./reader_limits.ts";

/** The `error` of every JSON object that the command prints. */
export interface FailureJson {
  /** One of the closed list of codes. */
  readonly code: DipcErrorCode;
  /** What was being done, why it failed, what to do. */
  readonly message: string;
}

/** A failure with the exit status that it leads to. */
export interface Failure extends FailureJson {
  /** Exit status of the process. */
  readonly status: number;
}

/** What Deno says when a permission is missing, also in the middle of another message. */
const DENIED = /Requires ([\w-]+) access(?: to (".*?"|<.*?>|[^,]*))?, run again with the --allow-([\w-]+) flag/;

/** Adds the value to the flag that a denied permission needs. */
function withFlags(message: string): string {
  return message.replace(DENIED, (_, kind: string, what: string | undefined, flag: string) => {
    const value = what === undefined || flag === "ffi" ? "" : `=${what.replace(/^[<"]|[">]$/g, "")}`;
    return `Deno denied ${kind} access${
      what === undefined ? "" : ` to ${what}`
    }, run again with --allow-${flag}${value}`;
  });
}

/** Whether a library may have been missed because a variable that says where it is may not be read; the first one names it. */
function mayHaveMissedLibrary(variables: readonly string[]): boolean {
  const isDenied = (variable: string): boolean => !isGranted({ name: "env", variable });
  // A library that is named is the only one that was tried.
  if (!isDenied(variables[0]) && Deno.env.get(variables[0])) return false;
  return variables.some(isDenied);
}

/** Any thrown value as a failure. Values that are not a {@linkcode DipcError} are mapped once, here. */
export function asFailure(thrown: unknown): Failure {
  const error = engineLimitError(thrown) ?? thrown;
  if (error instanceof DipcError) {
    const [library, variables] = error.message.startsWith("cannot load DuckDB")
      ? ["DuckDB", DUCKDB_VARIABLES]
      : ["libucp", LIBRARY_VARIABLES];
    if (error.code === "library_not_found" && mayHaveMissedLibrary(variables)) {
      const message = `cannot find ${library}: Deno denied variables that tell the places to look at; run again with ` +
        `--allow-env=${variables.join(",")}\n${error.message}`;
      return { code: "permission_denied", message, status: EXIT_FAILURE };
    }
    if (error.code !== "permission_denied" && DENIED.test(error.message)) {
      return { code: "permission_denied", message: withFlags(error.message), status: EXIT_FAILURE };
    }
    if (error.code === "connection_lost" && error.message.includes("schema was still missing")) {
      const message =
        `${error.message}; check that the URI is the one that this server printed: it changes with every start`;
      return { code: error.code, message, status: EXIT_FAILURE };
    }
    const usage = error instanceof UsageError || error.code === "invalid_uri";
    const message = error.code === "limit_exceeded" ? withLimitOption(error.message) : error.message;
    const status = error instanceof Interrupted ? error.status : usage ? EXIT_USAGE : EXIT_FAILURE;
    return { code: error.code, message, status };
  }
  const failed = (code: DipcErrorCode, message: string): Failure => ({ code, message, status: EXIT_FAILURE });
  if (error instanceof Deno.errors.NotCapable) return failed("permission_denied", withFlags(error.message));
  if (error instanceof Deno.errors.NotFound) return failed("not_found", error.message);
  if (error instanceof Deno.errors.PermissionDenied) {
    return failed("permission_denied", `cannot open a file: ${error.message}; check its owner and mode`);
  }
  const isSystem = error instanceof Error && typeof (error as { code?: unknown }).code === "string";
  if (isSystem) return failed("io", (error as Error).message);
  if (error instanceof Error) {
    const at = error.stack?.split("\n").slice(1, 3).map((line) => line.trim()).join("; ");
    return failed(
      "internal",
      `cannot go on: ${error.name}: ${error.message}${at ? ` (${at})` : ""}; please report this as a defect`,
    );
  }
  return failed("internal", `cannot go on: ${error}; please report this as a defect`);
}

/** What a command has to throw: that a signal ended it, if its error comes from that. */
export function endedBy(caught: EndSignal | null, error: unknown): unknown {
  return caught !== null && asFailure(error).code === "cancelled" ? new Interrupted(caught) : error;
}

/** The text on standard error: `error[code]: what, why, what to do`. Further lines of a message are indented. */
export function failureLine(failure: FailureJson): string {
  const lines = failure.message.trimEnd().split("\n").map((line) => printable(line));
  return `error[${failure.code}]: ${lines.join("\n  ")}\n`;
}
