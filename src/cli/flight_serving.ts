/**
 * The options of `dipc serve` that concern Flight, and the file that lists who may connect.
 *
 * @module
 */
import { constantTimeEqual } from "../bytes.ts";
import type { FlightAuth } from "../flight/service/options.ts";
import type { FlightServerTls } from "../grpc/tls.ts";
import type { FlightPlaneOptions } from "../serving/flight_plane.ts";
import { openError, statPath } from "../sources/paths.ts";
import { integerOption, type ParsedArgs, UsageError } from "./args.ts";
import { maxBatchOf } from "./flight_options.ts";

const MAX_PORT = 65_535;
/** Options of the Flight side that have a value. */
export const FLIGHT_SERVE_VALUES: readonly string[] = [
  ...["flight-port", "tls-cert", "tls-key", "client-ca", "auth-file", "allow-put", "put-into", "max-batch"],
];

/** Options of `--sql` that have a value. */
export const SQL_SERVE_VALUES: readonly string[] = ["sql-write", "sql-memory", "sql-timeout", "sql-rows"];

const PBKDF2_PREFIX = "pbkdf2-sha256$";
const PBKDF2 = /^pbkdf2-sha256\$(\d{1,8})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/;
const HASH_BITS = 256;

/**
 * The options of the Flight side, or `undefined` if the command line has none.
 *
 * @throws {UsageError} if options do not go together, or the file of users cannot be understood
 * @throws {DipcError} `not_found`, `permission_denied`, `io` if a file cannot be read
 */
export function flightServingOf(args: ParsedArgs): FlightPlaneOptions | undefined {
  const { values, flags } = args;
  const port = values.get("flight-port");
  if (port === undefined) {
    const given = FLIGHT_SERVE_VALUES.find((name) => values.has(name)) ?? (flags.has("no-ucx") ? "no-ucx" : undefined);
    if (given !== undefined) {
      throw new UsageError(`cannot use --${given}: it is for Flight; give --flight-port PORT too (0: any free one)`);
    }
    return undefined;
  }
  const options: FlightPlaneOptions = { port: integerOption("--flight-port", port, 0, MAX_PORT) };
  const tls = serverTlsOf(args);
  if (tls !== undefined) options.tls = tls;
  const authFile = values.get("auth-file");
  if (authFile !== undefined) options.auth = readAuthFile(readText(authFile), authFile);
  const folder = values.get("allow-put");
  if (folder !== undefined) options.allowPut = folder;
  const maxBatchBytes = maxBatchOf(args);
  if (maxBatchBytes !== undefined) options.maxBatchBytes = maxBatchBytes;
  if (flags.has("no-ucx")) options.ucx = "off";
  return options;
}

/**
 * The certificates of the server, if the command line names some.
 *
 * @throws {UsageError} if options do not go together
 * @throws {DipcError} `not_found`, `permission_denied`, `io` if a file cannot be read
 */
export function serverTlsOf({ values }: ParsedArgs): FlightServerTls | undefined {
  const [cert, key, clientCa] = ["tls-cert", "tls-key", "client-ca"].map((name) => values.get(name));
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("cannot use --tls-cert or --tls-key alone: they go together; give both");
  }
  if (cert === undefined || key === undefined) {
    if (clientCa === undefined) return undefined;
    throw new UsageError("cannot use --client-ca: it is for TLS; give --tls-cert and --tls-key too");
  }
  const tls = { cert: readText(cert), key: readText(key) };
  return clientCa === undefined ? tls : { ...tls, clientCa: readText(clientCa) };
}

/** Rejects options of the UCX side that `--no-ucx` leaves without effect. @throws {UsageError} */
export function refuseUcxPorts({ values, flags }: ParsedArgs): void {
  if (!flags.has("no-ucx")) return;
  const given = ["port", "metadata-port"].find((name) => values.has(name));
  if (given === undefined) return;
  throw new UsageError(`cannot use --${given}: it is for UCX, which --no-ucx turns off; leave one of the two out`);
}

/**
 * Reads the file of users: `NAME:PASSWORD` or `NAME:pbkdf2-sha256$ITERATIONS$SALT$HASH` (base64) for basic authentication,
 * `token NAME:TOKEN` for a bearer token; empty lines and those that begin with `#` are skipped.
 *
 * @param text Content of the file
 * @param path Path of the file, for messages
 * @throws {UsageError} naming the line
 */
export function readAuthFile(text: string, path: string): FlightAuth {
  const users = new Map<string, string>();
  const tokens: [user: string, digest: Promise<Uint8Array>][] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [, isToken, name, secret] = /^(token\s+)?([^:\s][^:]*):(.+)$/.exec(line) ?? [];
    if (name === undefined || (isToken === undefined && users.has(name))) {
      const what = name === undefined ? "is not NAME:PASSWORD or token NAME:TOKEN" : `names the user "${name}" again`;
      throw new UsageError(`cannot use --auth-file ${path}: line ${index + 1} ${what}`);
    }
    if (isToken === undefined && secret.startsWith(PBKDF2_PREFIX) && !isPbkdf2(secret)) {
      throw new UsageError(
        `cannot use --auth-file ${path}: line ${
          index + 1
        } is not ${PBKDF2_PREFIX}ITERATIONS$SALT$HASH; give iterations ` +
          "from 1 to 99999999, salt and the 32 bytes of the hash in base64",
      );
    }
    if (isToken === undefined) users.set(name, secret);
    else tokens.push([name, digest(secret)]);
  }
  if (users.size + tokens.length === 0) {
    throw new UsageError(`cannot use --auth-file ${path}: it names no user, so no client could connect`);
  }
  const [anyone = ""] = users.values();
  return {
    async basic(user, password) {
      const known = users.get(user);
      // As much work for an unknown user.
      const [expected, found] = await secrets(known ?? anyone, password);
      return constantTimeEqual(expected, found) && known !== undefined;
    },
    async bearer(token) {
      const found = await digest(token);
      let user: string | null = null;
      for (const [name, expected] of tokens) if (constantTimeEqual(await expected, found)) user = name;
      return user;
    },
  };
}

function isPbkdf2(secret: string): boolean {
  const [, iterations, salt, hash] = PBKDF2.exec(secret) ?? [];
  try {
    return Number(iterations) > 0 && Uint8Array.fromBase64(salt).byteLength > 0 &&
      Uint8Array.fromBase64(hash).byteLength === HASH_BITS / 8;
  } catch {
    return false;
  }
}

/** The known password and the one that a client sent, in a form that can be compared. */
async function secrets(known: string, sent: string): Promise<[Uint8Array, Uint8Array]> {
  const [, iterations, salt, hash] = PBKDF2.exec(known) ?? [];
  if (hash === undefined) return [await digest(known), await digest(sent)];
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(sent), "PBKDF2", false, ["deriveBits"]);
  const derived = await crypto.subtle.deriveBits(
    { name: "PBKDF2", hash: "SHA-256", salt: Uint8Array.fromBase64(salt), iterations: Number(iterations) },
    key,
    HASH_BITS,
  );
  return [Uint8Array.fromBase64(hash), new Uint8Array(derived)];
}

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

/** @throws {UsageError} if uploads are to be kept in what is not a folder */
export function checkUploadFolder({ allowPut }: FlightPlaneOptions): void {
  if (typeof allowPut !== "string" || statPath(allowPut).isDirectory) return;
  throw new UsageError(`cannot use --allow-put ${allowPut}: it is not a folder`);
}

/** The text of a file. @throws {DipcError} `not_found`, `permission_denied`, `io` */
export function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw openError(path, error);
  }
}
