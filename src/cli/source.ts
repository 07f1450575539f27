/**
 * Where to fetch from, as `get` and `schema` are told.
 *
 * @module
 */
import { duration, type ParsedArgs, UsageError } from "./args.ts";

/** Longest wait for the peer unless `--timeout` says otherwise. */
export const DEFAULT_TIMEOUT_MS = 30_000;

/** What `connect` is given. */
export interface Source {
  /** URI of both streams, or of the metadata where `options.bodyUri` is there. */
  readonly uri: string;
  /** Options of `connect`. */
  readonly options: {
    /** What to ask for; default the path of the URI. */
    readonly ticket?: string;
    /** URI of the bodies. */
    readonly bodyUri?: string;
    /** Longest wait for the peer. */
    readonly timeoutMs: number;
  };
}

/** Reads `URI [TICKET] [--body-uri URI] [--timeout TIME]`. @throws {UsageError} */
export function sourceOf(args: ParsedArgs, command: string): Source {
  const [uri, ticket, ...more] = args.positional;
  if (uri === undefined) {
    throw new UsageError(
      `dipc ${command} needs a URI, as "dipc serve" prints it: dipc ${command} ucx://HOST:PORT/NAME?want_data=N`,
    );
  }
  if (more.length > 0) {
    throw new UsageError(
      `dipc ${command} takes a URI and a ticket, but there is also "${more[0]}": ` +
        `quote the URI, or the shell takes its "?" and "&" apart`,
    );
  }
  const timeout = args.values.get("timeout");
  return {
    uri,
    options: {
      ...(ticket === undefined ? {} : { ticket }),
      ...(args.values.has("body-uri") ? { bodyUri: args.values.get("body-uri") } : {}),
      timeoutMs: timeout === undefined ? DEFAULT_TIMEOUT_MS : duration("--timeout", timeout),
    },
  };
}
