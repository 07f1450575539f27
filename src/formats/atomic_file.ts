/**
 * An output file that appears under its name only when it is complete.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { isGranted, type NeededPermission } from "../permissions.ts";
import { textOf } from "../text.ts";
import { type FileOutput, openOutput } from "./file_output.ts";
import type { ByteSink, Piece } from "./sink.ts";
import { TemporaryFile } from "./temporary_file.ts";

/**
 * Writes to a temporary file next to the target, `.NAME.part`, and renames it once it is complete and on disk. What a killed process
 * has left of that name is replaced. A target that is not a
 * regular file (a pipe, `/dev/null`) is written to directly.
 */
export class AtomicFile implements ByteSink {
  /** Path of the target, as given. */
  readonly path: string;
  /** Bytes taken so far. */
  byteLength = 0;
  readonly #target: string;
  readonly #temporary: TemporaryFile | null;
  /** Null once it is closed. */
  #output: FileOutput | null;

  private constructor(path: string, target: string, temporary: TemporaryFile | null, output: FileOutput) {
    this.path = path;
    this.#target = target;
    this.#temporary = temporary;
    this.#output = output;
  }

  /**
   * Starts a file.
   *
   * @throws {DipcError} `permission_denied`, `not_found` if the folder does not exist, `invalid_argument`, `io`
   */
  static create(path: string): AtomicFile {
    const existing = statOrNull(path);
    if (existing?.isDirectory) {
      throw new LocalError("invalid_argument", `cannot write "${path}": it is a directory; give the path of a file`);
    }
    const special = existing !== null && !existing.isFile;
    const target = existing !== null && !special ? Deno.realPathSync(path) : path;
    let temporary: TemporaryFile | null = null;
    try {
      // Deno creates or opens the file first, so that --allow-write decides, not --allow-ffi.
      if (special) Deno.openSync(target, { write: true }).close();
      else temporary = TemporaryFile.create(target, existing?.mode ?? undefined);
    } catch (cause) {
      throw writeError(path, cause);
    }
    try {
      return new AtomicFile(path, target, temporary, openOutput(temporary?.path ?? target, path));
    } catch (error) {
      if (temporary !== null) Deno.removeSync(temporary.path);
      temporary?.close();
      throw error;
    }
  }

  /** Writes the pieces; large ones are passed to the system without a copy. @throws {DipcError} `io`, `closed` */
  write(pieces: readonly Piece[]): void {
    const output = this.#output;
    if (output === null) throw new LocalError("closed", `cannot write "${this.path}": it was closed`);
    for (const piece of pieces) output.write(piece);
    this.byteLength = output.byteLength;
  }

  /** Writes what is left, waits for the disk, and gives the file its name. @throws {DipcError} `io`, `closed` */
  finish(): void {
    const output = this.#output;
    if (output === null) throw new LocalError("closed", `cannot finish "${this.path}": it was closed`);
    try {
      output.flush(null);
      // Pipes and devices cannot be synced, and were never promised to be on disk.
      if (this.#temporary !== null) output.sync();
      this.#output = null;
      output.close();
      if (this.#temporary !== null) Deno.renameSync(this.#temporary.path, this.#target);
      this.#temporary?.close();
    } catch (error) {
      this.#remove();
      if (error instanceof DipcError) throw error;
      throw writeError(this.path, error);
    }
  }

  /** Removes the temporary file. */
  abort(): void {
    if (this.#output !== null) this.#remove();
  }

  /** As {@linkcode abort}, which does nothing after {@linkcode finish}. */
  [Symbol.dispose](): void {
    this.abort();
  }

  #remove(): void {
    this.#output?.close();
    this.#output = null;
    try {
      if (this.#temporary !== null) Deno.removeSync(this.#temporary.path);
    } catch {
      // The target was never touched; a temporary file that cannot be removed is not worth an error.
    }
    this.#temporary?.close();
  }
}

function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw writeError(path, cause);
  }
}

/**
 * What writing a file needs. A regular file is first written under another name in its folder, a pipe or device is not.
 *
 * @param path Path of the target
 */
export function outputPermissions(path: string): NeededPermission[] {
  if (isGranted({ name: "read", path }) && isSpecial(path)) return [{ descriptor: { name: "write", path } }];
  const folder = folderOf(path);
  return [
    { descriptor: { name: "read", path }, value: folder },
    { descriptor: { name: "write", path: folder } },
  ];
}

function isSpecial(path: string): boolean {
  try {
    const { isFile, isDirectory } = Deno.statSync(path);
    return !isFile && !isDirectory;
  } catch {
    return false;
  }
}

function folderOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) || "/" : ".";
}

/** The error for a file that cannot be written. */
export function writeError(path: string, cause: unknown): DipcError {
  const folder = folderOf(path);
  if (cause instanceof Deno.errors.NotCapable) {
    return new LocalError(
      "permission_denied",
      `cannot write "${path}": a temporary file is written next to it first; run again with ` +
        `--allow-read=${folder} --allow-write=${folder}`,
      { cause },
    );
  }
  if (cause instanceof Deno.errors.NotFound) {
    return new LocalError(
      "not_found",
      `cannot write "${path}": its folder does not exist; create it: mkdir -p "${folder}"`,
      {
        cause,
      },
    );
  }
  const code = cause instanceof Deno.errors.PermissionDenied ? "permission_denied" : "io";
  return new LocalError(code, `cannot write "${path}": ${textOf(cause)}`, { cause });
}
