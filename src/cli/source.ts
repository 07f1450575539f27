/**
 * The source that `get` and `schema` fetch from.
 *
 * @module
 */
import type { ConnectFlightOptions, ConnectOptions } from "../connect.ts";
import { isFlightUri } from "../flight/location.ts";
import type { ReaderLimits } from "../limits.ts";
import type { ParquetEngine } from "../sources/parquet/engine.ts";
import { choice, type ParsedArgs, UsageError } from "./args.ts";
import { engineOf } from "./engine.ts";
import { isPath, pathOf, refuseServerOptions } from "./file_source.ts";
import { flightOptionsOf, locationOptionsOf, refuseFlightOptions, timeoutOf } from "./flight_options.ts";
import { readerLimitsOf } from "./reader_limits.ts";

const ROUTES = ["auto", "ucx", "flight"] as const;

/** A UCX server. */
export interface UcxSource {
  readonly kind: "ucx";
  /** URI of both streams, or of the metadata if `options.bodyUri` is set. */
  readonly uri: string;
  /** Options of `connect`. */
  readonly options: ConnectOptions & { readonly timeoutMs: number };
}

/** A Flight server. */
export interface FlightServerSource {
  readonly kind: "flight";
  /** Its URI. */
  readonly uri: string;
  /** Options of `connect`. */
  readonly options: ConnectOptions & { readonly timeoutMs: number; readonly flight: ConnectFlightOptions };
}

/** A file, read without a server. */
export interface PathSource {
  readonly kind: "file";
  /** Its path; `-` is an Arrow stream on standard input. */
  readonly path: string;
  /** Limits of what it can make the command do. */
  readonly limits: Partial<ReaderLimits>;
  /** What decodes it if it is a Parquet file. */
  readonly engine: ParquetEngine | undefined;
}

/** What `get` and `schema` read. */
export type Source = UcxSource | FlightServerSource | PathSource;

/**
 * Reads `URI [TICKET]`, or `FILE`, and the options.
 *
 * @throws {UsageError}
 * @throws {DipcError} `invalid_uri` for what is neither a URI nor a file, and if a file that an option names cannot be read
 */
export function sourceOf(args: ParsedArgs, command: string): Source {
  const [uri, ticket, ...more] = args.positional;
  if (uri === undefined) {
    throw new UsageError(
      `cannot run dipc ${command}: it needs a URI or a file; give what "dipc serve" prints, such as ` +
        "ucx://HOST:PORT/NAME?want_data=N, or the path of an Arrow or Parquet file",
    );
  }
  if (more.length > 0) {
    throw new UsageError(
      `cannot run dipc ${command}: it takes a URI and a ticket, but was also given "${more[0]}"; ` +
        `quote the URI, or the shell takes its "?" and "&" apart`,
    );
  }
  const limits = readerLimitsOf(args);
  const engine = engineOf(args);
  if (isPath(uri)) {
    refuseServerOptions(args);
    return { kind: "file", path: pathOf(uri), limits, engine };
  }
  // A Parquet file may be written instead.
  if (engine !== undefined && !args.values.has("output")) throw uselessEngine(uri);
  const remoteKeys = args.flags.has("remote-keys") ? { remoteKeys: true } : {};
  if (isFlightUri(uri)) {
    const { timeoutMs, ...call } = flightOptionsOf(args);
    const { route, flight } = flightOf(args, ticket);
    return {
      kind: "flight",
      uri,
      options: { route, flight: { ...flight, ...call }, timeoutMs, limits, ...remoteKeys },
    };
  }
  refuseFlightOptions(args, ["command", "route", "via"]);
  return {
    kind: "ucx",
    uri,
    options: {
      ...(ticket === undefined ? {} : { ticket }),
      ...(args.values.has("body-uri") ? { bodyUri: args.values.get("body-uri") } : {}),
      timeoutMs: timeoutOf(args),
      limits,
      ...remoteKeys,
    },
  };
}

/** The error for `--engine` without a Parquet file. */
export function uselessEngine(uri: string): UsageError {
  return new UsageError(
    `cannot use --engine: it is for a Parquet file that is read or written, and ${uri} is not a file; leave it out`,
  );
}

/** Which flight, by which route. */
function flightOf(args: ParsedArgs, name: string | undefined): Pick<ConnectOptions, "route" | "flight"> {
  const { values } = args;
  if (values.has("body-uri")) {
    throw new UsageError("cannot use --body-uri: it is for a ucx: URI, and a Flight server names its locations itself");
  }
  const command = values.get("command");
  if (command !== undefined && name !== undefined) {
    throw new UsageError(`cannot use --command: it and the name "${name}" exclude each other; give one`);
  }
  const route = choice(args, "route", ROUTES, { option: "via" });
  return {
    ...(route === undefined ? {} : { route }),
    flight: {
      ...(command === undefined ? {} : { command }),
      ...(name === undefined ? {} : { path: name }),
      ...locationOptionsOf(args),
    },
  };
}
