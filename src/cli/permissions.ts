/**
 * The permissions that a command needs, requested before it starts: none is found missing in the middle of a transfer.
 *
 * @module
 */
import { isFlightUri, parseFlightLocation } from "../flight/location.ts";
import { FFI_PERMISSION, isGranted, type NeededPermission, netPermission, requirePermissions } from "../permissions.ts";

/** Variables that say where libucp is. */
export const LIBRARY_VARIABLES = ["DIPC_LIBUCP", "HOME", "XDG_CACHE_HOME"] as const;
/** Variables that say where libduckdb is. */
export const DUCKDB_VARIABLES = ["DIPC_LIBDUCKDB", "HOME", "XDG_CACHE_HOME"] as const;

/** Native libraries: for UCX, and for reading files. */
export const NATIVE: readonly NeededPermission[] = [FFI_PERMISSION];

/** Files that are read. */
export function reading(paths: readonly string[]): NeededPermission[] {
  return paths.map((path) => ({ descriptor: { name: "read", path } }));
}

/** A folder in which files are made and read. */
export function keepingIn(folder: string): NeededPermission[] {
  return [{ descriptor: { name: "read", path: folder } }, { descriptor: { name: "write", path: folder } }];
}

/** A Flight server at an address of this machine. */
export function listening(address: string, port: number): NeededPermission {
  return netPermission(address, port);
}

/**
 * A connection to the server of a URI. UCX opens its sockets itself, so that a `ucx:` URI needs native libraries and no
 * network.
 *
 * @throws {DipcError} `invalid_uri`
 */
export function connecting(uri: string): NeededPermission[] {
  if (!isFlightUri(uri)) return [FFI_PERMISSION];
  const { host, port, socketPath } = parseFlightLocation(uri);
  if (socketPath === null) return [netPermission(host, port)];
  return [
    { descriptor: { name: "net", host: `unix:${socketPath}` } as Deno.NetPermissionDescriptor },
    ...keepingIn(socketPath),
  ];
}

/**
 * Requests what a command needs. On a terminal Deno asks for what is not granted, unless it runs with `--no-prompt`.
 *
 * @param command Name of the command
 * @throws {DipcError} `permission_denied` naming the flags of all that are missing
 */
export function requireForCommand(command: string, needed: readonly NeededPermission[]): void {
  // libucp may be found without them, so that nothing is missing yet if they are denied.
  const variables = needed.includes(FFI_PERMISSION)
    ? LIBRARY_VARIABLES.map((variable) => ({ descriptor: { name: "env", variable } as const }))
    : [];
  requirePermissions(`run dipc ${command}`, needed, variables);
  for (const { descriptor } of variables) if (!isGranted(descriptor)) Deno.permissions.requestSync(descriptor);
}
