/**
 * An output file that appears under its name only when it is complete.
 *
 * @module
 */
import { EINTR, errnoText, fileErrno, fileLibrary, OPEN_WRITE } from "../../ffi/files.ts";
import { addressOf, cString, libc } from "../../ffi/libc.ts";
import { DipcError, LocalError } from "../errors.ts";
import { ioError } from "../sources/file_handle.ts";
import { textOf } from "../text.ts";
import { type ByteSink, type Piece, pieceBytes } from "./sink.ts";

/** Pieces smaller than this are staged before they are written. */
const SMALL_BYTES = 8 * 1024;
/** Size of the staging buffer in bytes. */
const STAGE_BYTES = 256 * 1024;
/** Most bytes that Linux moves in one read or write call, see write(2). */
const MAX_CALL_BYTES = 0x7fff_f000n;

/**
 * Writes to a temporary file next to the target and renames it once it is complete and on disk. A target that is not a
 * regular file (a pipe, `/dev/null`) is written to directly.
 */
export class AtomicFile implements ByteSink {
  /** Path of the target, as given. */
  readonly path: string;
  /** Bytes taken so far. */
  byteLength = 0;
  readonly #target: string;
  readonly #temporary: string | null;
  readonly #lib = fileLibrary();
  readonly #stage = new Uint8Array(STAGE_BYTES);
  readonly #stageAddress = addressOf(this.#stage);
  readonly #iov = new BigUint64Array(4);
  #staged = 0;
  #fd: number;

  private constructor(path: string, target: string, temporary: string | null, fd: number) {
    this.path = path;
    this.#target = target;
    this.#temporary = temporary;
    this.#fd = fd;
  }

  /**
   * Starts a file.
   *
   * @throws {DipcError} `permission_denied`, `not_found` if the folder does not exist, `invalid_argument`, `io`
   */
  static create(path: string): AtomicFile {
    const lib = fileLibrary();
    const existing = statOrNull(path);
    if (existing?.isDirectory) {
      throw new LocalError("invalid_argument", `cannot write "${path}": it is a directory; give the path of a file`);
    }
    const special = existing !== null && !existing.isFile;
    const target = existing !== null && !special ? Deno.realPathSync(path) : path;
    const temporary = special ? null : temporaryBeside(target);
    try {
      // Deno creates or opens the file first, so that --allow-write decides, not --allow-ffi.
      if (temporary === null) Deno.openSync(target, { write: true }).close();
      else Deno.openSync(temporary, { write: true, createNew: true, mode: existing?.mode ?? 0o666 }).close();
    } catch (cause) {
      throw createError(path, cause);
    }
    const fd = lib.open(cString(temporary ?? target), OPEN_WRITE, 0);
    if (fd < 0) {
      const errno = fileErrno();
      if (temporary !== null) Deno.removeSync(temporary);
      throw ioError(`write "${path}"`, errno);
    }
    return new AtomicFile(path, target, temporary, fd);
  }

  /** Writes the pieces; large ones are passed to the system without a copy. @throws {DipcError} `io`, `closed` */
  write(pieces: readonly Piece[]): void {
    if (this.#fd < 0) throw new LocalError("closed", `cannot write "${this.path}": it was closed`);
    for (const piece of pieces) {
      const { byteLength } = piece;
      this.byteLength += byteLength;
      if (byteLength >= SMALL_BYTES) {
        this.#flush(piece instanceof Uint8Array ? addressOf(piece) : piece.address, byteLength);
      } else if (byteLength > 0) {
        if (this.#staged + byteLength > STAGE_BYTES) this.#flush(0n, 0);
        this.#stage.set(pieceBytes(piece), this.#staged);
        this.#staged += byteLength;
      }
    }
  }

  /** Writes what is left, waits for the disk, and gives the file its name. @throws {DipcError} `io`, `closed` */
  finish(): void {
    if (this.#fd < 0) throw new LocalError("closed", `cannot finish "${this.path}": it was closed`);
    try {
      this.#flush(0n, 0);
      // Pipes and devices cannot be synced, and were never promised to be on disk.
      if (this.#temporary !== null && this.#lib.fsync(this.#fd) !== 0) {
        throw ioError(`write "${this.path}" to disk`, fileErrno());
      }
      libc().close(this.#fd);
      this.#fd = -1;
      if (this.#temporary !== null) Deno.renameSync(this.#temporary, this.#target);
    } catch (error) {
      this.#remove();
      if (error instanceof DipcError) throw error;
      throw createError(this.path, error);
    }
  }

  /** Removes the temporary file. */
  abort(): void {
    if (this.#fd >= 0) this.#remove();
  }

  /** As {@linkcode abort}, which does nothing after {@linkcode finish}. */
  [Symbol.dispose](): void {
    this.abort();
  }

  #remove(): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
    try {
      if (this.#temporary !== null) Deno.removeSync(this.#temporary);
    } catch {
      // The target was never touched; a temporary file that cannot be removed is not worth an error.
    }
  }

  /** Writes what is staged and then `byteLength` bytes at `address`, with one call if the system accepts all of it. */
  #flush(address: bigint, byteLength: number): void {
    const iov = this.#iov;
    let first = BigInt(this.#staged), second = BigInt(byteLength);
    let from = this.#stageAddress, at = address;
    this.#staged = 0;
    while (first + second > 0n) {
      iov[0] = from;
      iov[1] = first;
      iov[2] = at;
      iov[3] = second < MAX_CALL_BYTES - first ? second : MAX_CALL_BYTES - first;
      const got = BigInt(this.#lib.writev(this.#fd, iov, 2));
      if (got < 0n) {
        const errno = fileErrno();
        if (errno === EINTR) continue;
        throw new LocalError("io", `cannot write "${this.path}" after ${this.byteLength} bytes: ${errnoText(errno)}`, {
          foreign: { system: "errno", status: errno, text: errnoText(errno) },
        });
      }
      const fromFirst = got < first ? got : first;
      first -= fromFirst;
      from += fromFirst;
      second -= got - fromFirst;
      at += got - fromFirst;
    }
  }
}

function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw createError(path, cause);
  }
}

function temporaryBeside(target: string): string {
  const slash = target.lastIndexOf("/") + 1;
  const unique = crypto.randomUUID().slice(0, 8);
  return `${target.slice(0, slash)}.${target.slice(slash)}.${unique}.part`;
}

function createError(path: string, cause: unknown): DipcError {
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) || "/" : ".";
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
