/**
 * Permissions of Deno that work needs, requested before it begins rather than in the middle of it.
 *
 * @module
 */
import { type DipcError, LocalError } from "./errors.ts";
import { textOf } from "./text.ts";

/** One permission that is needed, and what to write on the command line for it. */
export interface NeededPermission {
  /** What Deno is asked. */
  readonly descriptor: Deno.PermissionDescriptor;
  /** Value of the flag, if it is not that of the descriptor. */
  readonly value?: string;
}

/** Native libraries, without a path: Deno denies a permission for one path the pointers that any use of them needs. */
export const FFI_PERMISSION: NeededPermission = { descriptor: { name: "ffi" } };

/**
 * The network at an address.
 *
 * @param host Host name or address, IPv6 without brackets
 * @param port Port; 0 for any free one
 */
export function netPermission(host: string, port: number): NeededPermission {
  const shown = host.includes(":") ? `[${host}]` : host;
  return {
    descriptor: { name: "net", host: `${shown}:${port}` },
    // A port that is not known yet cannot be named.
    value: port === 0 ? shown : `${shown}:${port}`,
  };
}

/** Whether a permission is granted. Never prompts. */
export function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/**
 * Requests permissions: those that are not granted are prompted for if Deno may do that, which it does on a terminal.
 *
 * @param what What needs them, as it follows "cannot"
 * @param needed The permissions
 * @param useful Others that the message names besides if one is missing, because the next run may need them
 * @throws {DipcError} `permission_denied` naming the flags of all that are missing
 */
export function requirePermissions(
  what: string,
  needed: readonly NeededPermission[],
  useful: readonly NeededPermission[] = [],
): void {
  const missing = needed.filter(({ descriptor }) =>
    !isGranted(descriptor) && Deno.permissions.requestSync(descriptor).state !== "granted"
  );
  if (missing.length === 0) return;
  const flags = flagsOf([...missing, ...useful.filter(({ descriptor }) => !isGranted(descriptor))]);
  const names = [...new Set(missing.map(({ descriptor }) => descriptor.name))];
  throw new LocalError(
    "permission_denied",
    `cannot ${what}: Deno denied ${names.map((name) => `${name} access`).join(" and ")}; run again with ${flags}`,
  );
}

/** One flag for each kind of permission, with all its values. */
function flagsOf(permissions: readonly NeededPermission[]): string {
  const values = new Map<string, Set<string>>();
  for (const permission of permissions) {
    const { name } = permission.descriptor;
    const ofKind = values.get(name) ?? new Set();
    values.set(name, ofKind);
    const value = valueOf(permission);
    if (value !== "") ofKind.add(value);
  }
  return [...values].map(([name, set]) => `--allow-${name}${set.size === 0 ? "" : `=${quoted([...set].join(","))}`}`)
    .join(" ");
}

function valueOf({ descriptor, value }: NeededPermission): string {
  if (value !== undefined) return value;
  switch (descriptor.name) {
    case "read":
    case "write":
      return String(descriptor.path ?? "");
    case "net":
      return descriptor.host ?? "";
    case "env":
      return descriptor.variable ?? "";
    default:
      return "";
  }
}

/** As a shell takes it. */
function quoted(text: string): string {
  return /^[\w@%+=:,./[\]-]*$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * The error of a web worker of this package that could not be started.
 *
 * @param what What cannot be done, such as `"start the worker that decodes Parquet"`
 * @param cause What `new Worker` threw, or the message of its `error` event
 */
export function workerStartError(what: string, cause: unknown): DipcError {
  const text = textOf(cause);
  // A worker reports a missing permission only by its text.
  const denied = cause instanceof Deno.errors.NotCapable || text.startsWith("Requires ");
  if (!denied) return new LocalError("unsupported", `cannot ${what}: ${text}`, { cause });
  const folder = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/(?<=.)\/$/, "");
  return new LocalError(
    "permission_denied",
    `cannot ${what}: Deno may not read the program's own files; run again with --allow-read=${folder}`,
    { cause },
  );
}
