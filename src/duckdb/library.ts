/**
 * Loads DuckDB when it is first used, and turns what it reports into errors.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { DUCKDB_ERROR_TYPES, type DuckDbAddresses, type DuckDbSymbols, openDuckDbLibrary } from "../../ffi/duckdb.ts";
import { type LibduckdbLocation, locateLibduckdb } from "../../ffi/duckdb_location.ts";
import { CallMemory } from "../../ffi/raw_memory.ts";
import { readAddress, scratch } from "../c_data/raw.ts";
import { DipcError, type DipcErrorCode, LocalError } from "../errors.ts";
import { printable } from "../text.ts";

/** A loaded library. */
export interface DuckDbLibrary {
  readonly path: string;
  readonly symbols: DuckDbSymbols;
  readonly addresses: DuckDbAddresses;
  /** Version of DuckDB, such as `"v1.5.6"`. */
  readonly version: string;
}

const loaded = new Map<string, DuckDbLibrary>();

/**
 * Loads DuckDB, once for each path.
 *
 * @param option Path of `libduckdb.so`; default: that of `DIPC_LIBDUCKDB`, else the copy that `dipc setup duckdb` has made
 * @throws {DipcError} `library_not_found` with what to do; `unsupported` if it is too old; `permission_denied`
 */
export function duckDbLibrary(option?: string): DuckDbLibrary {
  const location = locateLibduckdb(option);
  if (location === null) {
    throw notFound("neither XDG_CACHE_HOME nor HOME is set, or reading them is not allowed (--allow-env)");
  }
  const known = loaded.get(location.path);
  if (known !== undefined) return known;
  const library = load(location);
  loaded.set(location.path, library);
  return library;
}

function load({ path, origin }: LibduckdbLocation): DuckDbLibrary {
  let opened;
  try {
    opened = openDuckDbLibrary(path);
  } catch (error) {
    const text = error instanceof Error ? error.message.replace(/^(Could not open library: )+/, "") : String(error);
    if (error instanceof Deno.errors.NotCapable) {
      throw new LocalError(
        "permission_denied",
        `cannot load DuckDB from ${path}: Deno may not load native libraries; run with --allow-ffi`,
        { cause: error },
      );
    }
    const missing = /undefined symbol: (\w+)|register symbol (\w+)/.exec(text);
    if (missing !== null) {
      throw new LocalError(
        "unsupported",
        `cannot use ${path}: it has no ${
          missing[1] ?? missing[2]
        }; DuckDB 1.5 or newer is needed: run "dipc setup duckdb"`,
        { cause: error },
      );
    }
    throw notFound(origin === "setup" ? `${path} is not there or cannot be loaded` : `${origin} names ${text}`, error);
  }
  return { path, ...opened, version: cStringAt(opened.symbols.duckdb_library_version()) ?? "" };
}

function notFound(what: string, cause?: unknown): LocalError {
  return new LocalError(
    "library_not_found",
    `cannot load DuckDB: ${what}; run "dipc setup duckdb", which fetches it into your cache folder, or set ` +
      "DIPC_LIBDUCKDB to the path of a libduckdb.so",
    { cause },
  );
}

/** Codes of dipc for types of DuckDB's errors; all others are `duckdb`. */
const CODES: Readonly<Record<string, DipcErrorCode>> = {
  ...{ CATALOG: "not_found", INTERRUPT: "cancelled", OUT_OF_MEMORY: "out_of_memory", PERMISSION: "permission_denied" },
  ...{ IO: "io", HTTP: "io", NETWORK: "io", NOT_IMPLEMENTED: "unsupported", MISSING_EXTENSION: "unsupported" },
  ...{ CONVERSION: "invalid_data", OUT_OF_RANGE: "invalid_data", CONSTRAINT: "invalid_data", DECIMAL: "invalid_data" },
  ...{
    PARSER: "invalid_argument",
    SYNTAX: "invalid_argument",
    BINDER: "invalid_argument",
    INVALID_INPUT: "invalid_argument",
  },
  ...{
    PARAMETER_NOT_RESOLVED: "invalid_argument",
    SETTINGS: "invalid_argument",
    INVALID_CONFIGURATION: "invalid_argument",
  },
};

/** Names of types at the start of DuckDB's messages, which it gives without their number in some places. */
const NAMED: readonly (readonly [RegExp, string])[] = [
  ...([[/^INTERRUPT Error/i, "INTERRUPT"], [/^Out of Memory/i, "OUT_OF_MEMORY"], [/^IO Error/i, "IO"]] as const),
  ...([[/^Catalog Error/, "CATALOG"], [/^Parser Error/, "PARSER"], [/^Binder Error/, "BINDER"]] as const),
  ...([[/^Conversion Error/, "CONVERSION"], [/^Not implemented Error/, "NOT_IMPLEMENTED"]] as const),
  ...([[/^Invalid Input Error/, "INVALID_INPUT"], [/^Permission Error/, "PERMISSION"]] as const),
  ...([[/^Constraint Error/, "CONSTRAINT"], [/^Invalid Configuration/, "INVALID_CONFIGURATION"]] as const),
];

/**
 * The error for what DuckDB reports.
 *
 * @param action What was being done, as it follows "cannot"
 * @param text DuckDB's text
 * @param type Its `duckdb_error_type`; 0 if it is not known
 */
export function duckDbError(action: string, text: string | null, type = 0): LocalError {
  const message = plainText((text ?? "").trim());
  // What DuckDB gives as JSON has the type in it, and not in the number.
  const number = type !== 0 && message === text?.trim()
    ? type
    : DUCKDB_ERROR_TYPES.indexOf((NAMED.find(([words]) => words.test(message))?.[1] ?? "INVALID") as "INVALID");
  const name = DUCKDB_ERROR_TYPES[number] ?? "INVALID";
  const shown = message === "" ? "DuckDB does not say why" : printable(message.replaceAll(/\s*\n\s*/g, " "));
  return new LocalError(CODES[name] ?? "duckdb", `cannot ${action}: ${shown}`, {
    foreign: { system: "duckdb", status: Math.max(0, number), text: message },
  });
}

/** DuckDB's Arrow functions give JSON, which may have become the text of another error. */
function plainText(text: string): string {
  const json = /^(?:[\w ]+ Error: )?(\{"exception_type".*\})$/s.exec(text)?.[1];
  if (json === undefined) return text;
  try {
    const { exception_type: type, exception_message: message } = JSON.parse(json);
    return `${type} Error: ${message}`;
  } catch {
    return text;
  }
}

/**
 * Throws what an Arrow function of DuckDB has reported, and frees it.
 *
 * @param error A `duckdb_error_data`, 0 for none
 * @throws {DipcError} What it says
 */
export function checkErrorData({ symbols }: DuckDbLibrary, error: bigint, action: string): void {
  if (error === 0n) return;
  const thrown = duckDbError(
    action,
    cStringAt(symbols.duckdb_error_data_message(error)),
    symbols.duckdb_error_data_error_type(error),
  );
  destroyBy(symbols.duckdb_destroy_error_data, error);
  throw thrown;
}

/** Calls a function that destroys what a variable refers to, and sets the variable to a null pointer. */
export function destroyBy(destroy: (variable: bigint) => void, handle: bigint): void {
  if (handle === 0n) return;
  const place = scratch(8);
  place.words[0] = handle;
  destroy(place.address);
}

/** As {@linkcode destroyBy}, for a function that is called on another thread. */
export async function destroyLater(destroy: (variable: bigint) => Promise<void>, handle: bigint): Promise<void> {
  using place = new CallMemory(8);
  new BigUint64Array(place.bytes.buffer)[0] = handle;
  await destroy(place.address);
}

/** Frees a text that DuckDB has allocated, after reading it. */
export function takeText({ symbols }: DuckDbLibrary, address: bigint): string | null {
  const text = cStringAt(address);
  if (address !== 0n) symbols.duckdb_free(address);
  return text;
}

/** The 64-bit word at an address. */
export function wordAt(address: bigint): bigint {
  return readAddress(address);
}

/** The error for a use after the end. */
export function closedError(action: string, what: string): DipcError {
  return new DipcError("closed", `cannot ${action}: the ${what} was closed; open another one`);
}

/** @throws {DipcError} `cancelled` */
export function checkAborted(action: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelledError(action, signal);
}

/** The error of a call that its caller has cancelled. */
export function cancelledError(action: string, signal: AbortSignal): DipcError {
  return new DipcError("cancelled", `cannot ${action}: it was cancelled`, { cause: signal.reason });
}
