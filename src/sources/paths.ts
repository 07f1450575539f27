/**
 * Looks at paths that are to be read, and says why they cannot be.
 *
 * @module
 */
import { type DipcError, LocalError } from "../errors.ts";
import { textOf } from "../text.ts";

/**
 * What is at a path.
 *
 * @throws {DipcError} `not_found`, `permission_denied`, `io`
 */
export function statPath(path: string): Deno.FileInfo {
  try {
    return Deno.statSync(path);
  } catch (cause) {
    throw openError(path, cause);
  }
}

/**
 * What is at a path that is not a directory: a file, a pipe, a device.
 *
 * @throws {DipcError} as {@linkcode statPath}; `invalid_argument` for a directory
 */
export function statFile(path: string): Deno.FileInfo {
  const info = statPath(path);
  if (!info.isDirectory) return info;
  throw new LocalError("invalid_argument", `cannot read "${path}": it is a directory; give the path of a file`);
}

/** A DipcError for what Deno threw when a path was opened. */
export function openError(path: string, cause: unknown): DipcError {
  if (cause instanceof Deno.errors.NotFound) {
    return new LocalError("not_found", `cannot open "${path}": there is no such file; check the path`, { cause });
  }
  if (cause instanceof Deno.errors.NotCapable) {
    return new LocalError(
      "permission_denied",
      `cannot open "${path}": Deno may not read it; run again with --allow-read="${path}"`,
      { cause },
    );
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return refusedError(path, cause);
  }
  return new LocalError("io", `cannot open "${path}": ${textOf(cause)}`, { cause });
}

/** A DipcError for a path that the system does not let this process read. */
export function refusedError(path: string, cause?: unknown): DipcError {
  const message = `cannot open "${path}": the system does not allow reading it; check its owner and mode (ls -l)`;
  return new LocalError("permission_denied", message, { cause });
}
