/**
 * Reads the manifest of an ADBC driver, `NAME.toml`.
 *
 * @module
 */
import { parse, TomlError, type TomlTable, type TomlValue } from "smol-toml";
import { LocalError } from "../errors.ts";
import { textOf as errorText } from "../text.ts";

/** What a manifest says of a driver. */
export interface DriverManifest {
  /** Path of its shared object, or a name for the system's loader. */
  readonly library: string;
  /** Name of its entry point, if it has an unusual one. */
  readonly entrypoint: string | null;
}

/** This system as manifests name it. */
export const PLATFORM = `linux_${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}`;

/**
 * Reads a manifest.
 *
 * @param text Its text
 * @param path Its path, for messages
 * @throws {DipcError} `invalid_data` if it is malformed, `unsupported` if it is of a later version, `not_found` if it has no driver
 * for this system
 */
export function readManifest(text: string, path: string): DriverManifest {
  const manifest = parseToml(text, path);
  const version = manifest.manifest_version ?? 1;
  if (version !== 1) {
    throw new LocalError(
      "unsupported",
      `cannot read the manifest ${path}: its manifest_version is ${version}; this version of dipc knows 1`,
    );
  }
  const driver = tableOf(manifest.Driver) ?? {};
  return { library: libraryOf(driver.shared, path), entrypoint: textOf(driver.entrypoint, "Driver.entrypoint", path) };
}

function parseToml(text: string, path: string): TomlTable {
  try {
    return parse(text);
  } catch (cause) {
    // The message goes on with the lines around the fault.
    const [fault] = errorText(cause).split("\n");
    const place = cause instanceof TomlError ? `line ${cause.line}: ` : "";
    throw new LocalError("invalid_data", `cannot read the manifest ${path}: ${place}${fault}`, { cause });
  }
}

function libraryOf(shared: TomlValue | undefined, path: string): string {
  const table = tableOf(shared);
  if (table === null) return required(textOf(shared, "Driver.shared", path), "Driver.shared", path);
  if (Object.hasOwn(table, PLATFORM)) {
    return required(textOf(table[PLATFORM], `Driver.shared.${PLATFORM}`, path), `Driver.shared.${PLATFORM}`, path);
  }
  throw new LocalError(
    "not_found",
    `cannot use the manifest ${path}: it has no driver for ${PLATFORM}, only for ${Object.keys(table).join(", ")}`,
  );
}

function tableOf(value: TomlValue | undefined): TomlTable | null {
  return typeof value === "object" && !Array.isArray(value) ? value as TomlTable : null;
}

function textOf(value: TomlValue | undefined, key: string, path: string): string | null {
  if (value === undefined || typeof value === "string") return value ?? null;
  throw new LocalError("invalid_data", `cannot use the manifest ${path}: its ${key} is not a string`);
}

function required(text: string | null, key: string, path: string): string {
  if (text !== null && text !== "") return text;
  throw new LocalError(
    "invalid_data",
    `cannot use the manifest ${path}: it does not say ${key}, the path of the driver`,
  );
}
