/**
 * The options of the command line that concern a Flight server: headers, credentials, certificates.
 *
 * @module
 */
import type { FlightTlsOptions } from "../grpc/tls.ts";
import { flightUriFor, isFlightUri } from "../flight/location.ts";
import { refusal } from "../options.ts";
import { openError } from "../sources/paths.ts";
import { duration, integerOption, type ParsedArgs, size, UsageError } from "./args.ts";
import { FLIGHT_FLAGS, FLIGHT_LISTS, FLIGHT_VALUES, LOCATION_FLAGS, LOCATION_VALUES } from "./flight_commands.ts";

/** Longest wait for the peer, in milliseconds, by default. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** Options that `FlightClient.connect` and `connect` have in common. */
export interface FlightOptions {
  /** Longest wait for the server, in milliseconds. */
  timeoutMs: number;
  /** Headers of every call. */
  headers?: [string, string][];
  /** Bearer token. */
  token?: string;
  /** User of basic authentication. */
  user?: string;
  /** Password of `user`. */
  password?: string;
  /** Certificates. */
  tls?: FlightTlsOptions;
  /** Longest answer that is not Arrow data, in bytes. */
  maxMessageBytes?: number;
  /** Whether cookies are sent back. */
  cookies?: boolean;
  /** Longest message of an upload, in bytes; `false` for batches as they are. */
  maxBatchBytes?: number | false;
}

/** Options of `connect` for the locations that a server names. */
export interface LocationOptions {
  /** Whether credentials may go to other hosts. */
  trustLocations?: boolean;
  /** Longest wait for the connection to a location, in milliseconds. */
  locationTimeoutMs?: number;
  /** Longest wait for locations of UCX, in milliseconds. */
  ucxTimeoutMs?: number;
  /** Endpoints read concurrently. */
  parallelEndpoints?: number;
}

/** `--max-batch`: bytes, or `false` for batches as they are. @throws {UsageError} */
export function maxBatchOf({ values }: ParsedArgs): number | false | undefined {
  const text = values.get("max-batch");
  return text === undefined ? undefined : text === "none" ? false : size("--max-batch", text, 1024);
}

/** The options for the locations of a flight. @throws {UsageError} */
export function locationOptionsOf({ values, flags }: ParsedArgs): LocationOptions {
  const options: LocationOptions = {};
  if (flags.has("trust-locations")) options.trustLocations = true;
  const [location, ucx] = ["location-timeout", "ucx-timeout"].map((name) => values.get(name));
  if (location !== undefined) options.locationTimeoutMs = duration("--location-timeout", location);
  if (ucx !== undefined) options.ucxTimeoutMs = duration("--ucx-timeout", ucx);
  const parallel = values.get("parallel-endpoints");
  if (parallel !== undefined) options.parallelEndpoints = integerOption("--parallel-endpoints", parallel, 1, 65_536);
  return options;
}

/** `--timeout`, or its default. @throws {UsageError} */
export function timeoutOf(args: ParsedArgs): number {
  const text = args.values.get("timeout");
  return text === undefined ? DEFAULT_TIMEOUT_MS : duration("--timeout", text);
}

/** The URI of a Flight server. @throws {UsageError} */
export function flightUri(uri: string | undefined, command: string): string {
  if (uri === undefined) {
    throw new UsageError(
      `cannot run dipc ${command}: it needs the URI of a Flight server; give one such as grpc://127.0.0.1:8815`,
    );
  }
  if (!isFlightUri(uri)) {
    const meant = flightUriFor(uri);
    const advice = meant === null
      ? "give one with the scheme grpc:, grpc+tcp:, grpc+tls: or grpc+unix:"
      : `did you mean ${meant}?`;
    throw new UsageError(`cannot use "${uri}": it is not the URI of a Flight server; ${advice}`);
  }
  return uri;
}

/** Rejects options for a Flight server if the URI is not that of one. @throws {UsageError} */
export function refuseFlightOptions(args: ParsedArgs, more: readonly string[] = []): void {
  const given = [...FLIGHT_VALUES, ...LOCATION_VALUES, ...more].find((name) => args.values.has(name)) ??
    FLIGHT_LISTS.find((name) => args.lists.has(name)) ??
    [...FLIGHT_FLAGS, ...LOCATION_FLAGS].find((name) => args.flags.has(name));
  if (given !== undefined) {
    throw new UsageError(
      `cannot use --${given}: it is for a Flight server; give a URI that begins with grpc:, grpc+tls: or grpc+unix:`,
    );
  }
}

/**
 * Reads the options and the files that they name.
 *
 * @throws {UsageError} if they cannot be understood
 * @throws {DipcError} `not_found`, `permission_denied`, `io` if a file cannot be read
 */
export function flightOptionsOf(args: ParsedArgs): FlightOptions {
  const { values } = args;
  const options: FlightOptions = { timeoutMs: timeoutOf(args) };
  const headers = args.lists.get("header");
  if (headers !== undefined) options.headers = headers.map(headerOf);
  const tokenFile = values.get("token-file");
  if (tokenFile !== undefined) {
    options.token = readText(tokenFile).trim();
    if (!/^[\x21-\x7e]+$/.test(options.token)) {
      throw new UsageError(
        `cannot use --token-file: ${tokenFile} holds no token; write one line of visible ASCII characters into it`,
      );
    }
  }
  const user = values.get("user");
  if (user !== undefined) {
    if (tokenFile !== undefined) {
      throw new UsageError("cannot use --user: it and --token-file exclude each other; give one");
    }
    [options.user, options.password] = credentialsOf(user);
  }
  const files = { ca: values.get("tls-ca"), cert: values.get("tls-cert"), key: values.get("tls-key") };
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new UsageError("cannot use --tls-cert or --tls-key alone: they go together; give both");
  }
  const serverName = values.get("tls-server-name");
  const tls: FlightTlsOptions = {
    ...Object.fromEntries(
      Object.entries(files).filter(([, file]) => file !== undefined).map(([name, file]) => [name, readText(file!)]),
    ),
    ...(serverName === undefined ? {} : { serverName }),
    ...(args.flags.has("tls-skip-verify") ? { insecureSkipVerify: true } : {}),
  };
  if (Object.keys(tls).length > 0) options.tls = tls;
  const maxMessage = values.get("max-message");
  if (maxMessage !== undefined) options.maxMessageBytes = size("--max-message", maxMessage);
  if (args.flags.has("no-cookies")) options.cookies = false;
  const maxBatchBytes = maxBatchOf(args);
  if (maxBatchBytes !== undefined) options.maxBatchBytes = maxBatchBytes;
  return options;
}

function headerOf(text: string): [string, string] {
  const at = text.indexOf("=");
  const name = text.slice(0, at);
  const value = text.slice(at + 1);
  // Header names are lower case on HTTP/2; gRPC keeps those that begin with grpc- for itself.
  if (at < 1 || !/^[0-9A-Za-z_.-]+$/.test(name) || /^grpc-/i.test(name)) {
    throw new UsageError(
      refusal("--header", text, 'K=V, with K of letters, digits, "_", "-" and ".", but not "grpc-…"'),
    );
  }
  if (!/^[\x20-\x7e]*$/.test(value)) {
    throw new UsageError(`cannot use --header ${name}: its value has characters beyond ASCII`);
  }
  return [name, value];
}

function credentialsOf(text: string): [string, string] {
  const colon = text.indexOf(":");
  if (colon >= 0) return [text.slice(0, colon), text.slice(colon + 1)];
  const password = Deno.env.get("DIPC_PASSWORD");
  if (password === undefined) {
    throw new UsageError(
      `cannot use --user ${text}: it has no password; write NAME:PASS, or set the variable DIPC_PASSWORD`,
    );
  }
  return [text, password];
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw openError(path, error);
  }
}
