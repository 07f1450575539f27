/**
 * An open regular file, read by position straight into native memory, that notices when it changes.
 *
 * @module
 */
import {
  ADVISE_SEQUENTIAL,
  EINTR,
  errnoText,
  fileErrno,
  fileLibrary,
  OPEN_READ,
  statDescriptor,
  STATX,
} from "../../ffi/files.ts";
import { addressOf, cString, libc } from "../../ffi/libc.ts";
import { type DipcError, LocalError } from "../errors.ts";
import { refusedError, statFile } from "./paths.ts";

/** Most bytes that Linux moves in one read or write call, see read(2). */
const MAX_CALL_BYTES = 0x7fff_f000;

/** "Permission denied", see errno(3). */
const EACCES = 13;

/** V8 may move smaller arrays while the system writes to them. */
const SMALLEST_FIXED = 128;

/** The part of a file's status that changes when the file is written to. */
export interface FileStamp {
  /** Size in bytes. */
  readonly size: number;
  /** Modification time, seconds. */
  readonly modify: bigint;
  /** Modification time, nanoseconds of the second. */
  readonly modifyNs: number;
}

/** A file opened for reading. Every read is checked for truncation and change. */
export class FileHandle implements Disposable {
  /** Path as given, for messages. */
  readonly path: string;
  /** Bytes in the file when it was opened. */
  readonly size: number;
  #fd: number;
  readonly #status = new Uint8Array(STATX.byteLength);
  readonly #view = new DataView(this.#status.buffer);
  readonly #iov = new BigUint64Array(4);
  readonly #stamp: FileStamp;
  readonly #lib = fileLibrary();
  #isOwned = true;

  private constructor(path: string, fd: number, stamp?: FileStamp) {
    this.path = path;
    this.#fd = fd;
    this.#stamp = stamp ?? this.#readStamp();
    this.size = this.#stamp.size;
  }

  /**
   * Opens a regular file.
   *
   * @throws {DipcError} `not_found`, `permission_denied`, `invalid_argument` if it is a directory, `io`
   */
  static open(path: string): FileHandle {
    // Deno's own stat goes first, so that --allow-read decides which files may be read, not --allow-ffi.
    if (!statFile(path).isFile) {
      throw new LocalError(
        "invalid_argument",
        `cannot read "${path}" by position: it is not a regular file; pass it as a stream or on standard input`,
      );
    }
    const lib = fileLibrary();
    const fd = lib.open(cString(path), OPEN_READ, 0);
    if (fd < 0) {
      const errno = fileErrno();
      throw errno === EACCES ? refusedError(path) : ioError(`open "${path}"`, errno);
    }
    try {
      const handle = new FileHandle(path, fd);
      lib.posix_fadvise(fd, 0n, 0n, ADVISE_SEQUENTIAL);
      return handle;
    } catch (error) {
      libc().close(fd);
      throw error;
    }
  }

  /**
   * A handle for a descriptor that another handle of this process owns, perhaps in another thread.
   *
   * @param fd The descriptor, which must stay open
   * @param path Path of the file, for messages
   * @param stamp Status that the other handle found when it was opened
   */
  static borrow(fd: number, path: string, stamp: FileStamp): FileHandle {
    const handle = new FileHandle(path, fd, stamp);
    handle.#isOwned = false;
    return handle;
  }

  /**
   * Opens the file of another handle of this process once more, also if its path is gone or names another file.
   *
   * @param fd The other handle's descriptor, which must be open
   * @param path Path of the file, for messages
   * @param stamp Status that the other handle found when it was opened
   * @throws {DipcError} `io`
   */
  static reopen(fd: number, path: string, stamp: FileStamp): FileHandle {
    const lib = fileLibrary();
    const own = lib.open(cString(`/proc/self/fd/${fd}`), OPEN_READ, 0);
    if (own < 0) throw ioError(`open "${path}" once more`, fileErrno());
    lib.posix_fadvise(own, 0n, 0n, ADVISE_SEQUENTIAL);
    return new FileHandle(path, own, stamp);
  }

  /** The status that the file had when it was opened. */
  get stamp(): FileStamp {
    return this.#stamp;
  }

  /** The open descriptor. @throws {DipcError} `closed` */
  get fd(): number {
    if (this.#fd < 0) {
      throw new LocalError("closed", `cannot read "${this.path}": it was closed while it was being read`);
    }
    return this.#fd;
  }

  /**
   * Reads exactly `byteLength` bytes at `offset` to the memory at `address`, which the caller keeps alive.
   *
   * @throws {DipcError} `io` on a short read, a failure, or a file that has changed since it was opened; `closed`
   */
  readAt(offset: number, address: bigint, byteLength: number): void {
    const fd = this.fd;
    let done = 0;
    while (done < byteLength) {
      const want = Math.min(byteLength - done, MAX_CALL_BYTES);
      const got = Number(this.#lib.pread(fd, address + BigInt(done), BigInt(want), BigInt(offset + done)));
      if (got > 0) done += got;
      else this.#failRead(got, offset + done, byteLength - done);
    }
    this.checkUnchanged();
  }

  /**
   * Reads two neighbouring pieces with one call: `firstLength` bytes at `offset` to `first`, what follows to `second`.
   *
   * @throws {DipcError} as {@linkcode readAt}
   */
  readPairAt(offset: number, first: bigint, firstLength: number, second: bigint, secondLength: number): void {
    const total = firstLength + secondLength;
    if (secondLength === 0 || total > MAX_CALL_BYTES) {
      this.readAt(offset, first, firstLength);
      if (secondLength > 0) this.readAt(offset + firstLength, second, secondLength);
      return;
    }
    const iov = this.#iov;
    iov[0] = first;
    iov[1] = BigInt(firstLength);
    iov[2] = second;
    iov[3] = BigInt(secondLength);
    const got = Number(this.#lib.preadv(this.fd, iov, 2, BigInt(offset)));
    if (got === total) {
      this.checkUnchanged();
    } else if (got <= 0) {
      this.#failRead(got, offset, total);
      this.readPairAt(offset, first, firstLength, second, secondLength);
    } else {
      if (got < firstLength) this.readAt(offset + got, first + BigInt(got), firstLength - got);
      const over = Math.max(0, got - firstLength);
      this.readAt(offset + firstLength + over, second + BigInt(over), secondLength - over);
    }
  }

  /** A copy of `byteLength` bytes at `offset` in memory of its own. @throws {DipcError} as {@linkcode readAt} */
  readBytes(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(byteLength);
    const scratch = byteLength <= SMALLEST_FIXED ? new Uint8Array(SMALLEST_FIXED) : bytes;
    if (byteLength > 0) this.readAt(offset, addressOf(scratch), byteLength);
    if (scratch !== bytes) bytes.set(scratch.subarray(0, byteLength));
    return bytes;
  }

  /**
   * Compares the file's status with the one it was opened with.
   *
   * @throws {DipcError} `io` if size or modification time differ
   */
  checkUnchanged(): void {
    const stamp = this.#stamp, view = this.#view;
    if (!statDescriptor(this.fd, this.#status)) throw ioError(`stat "${this.path}"`, fileErrno());
    const size = Number(view.getBigUint64(STATX.size, true));
    if (size !== stamp.size) {
      throw new LocalError(
        "io",
        `cannot read "${this.path}": it changed while it was being read, from ${stamp.size} to ${size} bytes; ` +
          `write a new file and rename it over the old one instead`,
      );
    }
    if (
      view.getUint32(STATX.modifyTime + 8, true) !== stamp.modifyNs ||
      view.getBigInt64(STATX.modifyTime, true) !== stamp.modify
    ) {
      throw new LocalError(
        "io",
        `cannot read "${this.path}": it changed while it was being read, it was written to since it was opened; ` +
          `write a new file and rename it over the old one instead`,
      );
    }
  }

  /** Closes the descriptor. Idempotent. */
  close(): void {
    if (this.#fd < 0) return;
    if (this.#isOwned) libc().close(this.#fd);
    this.#fd = -1;
  }

  /** As {@linkcode close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #failRead(got: number, offset: number, missing: number): void {
    if (got === 0) {
      throw new LocalError(
        "io",
        `cannot read "${this.path}": it ends at byte ${offset}, ${missing} bytes too early, it was cut short while it was ` +
          "being read",
      );
    }
    const errno = fileErrno();
    if (errno !== EINTR) throw ioError(`read "${this.path}" at byte ${offset}`, errno);
  }

  #readStamp(): FileStamp {
    if (!statDescriptor(this.fd, this.#status)) throw ioError(`stat "${this.path}"`, fileErrno());
    const view = this.#view;
    return {
      size: Number(view.getBigUint64(STATX.size, true)),
      modify: view.getBigInt64(STATX.modifyTime, true),
      modifyNs: view.getUint32(STATX.modifyTime + 8, true),
    };
  }
}

/** A DipcError for a failed call of libc; `action` is what cannot be done, such as `'open "a.arrow"'`. */
export function ioError(action: string, errno: number): DipcError {
  const code = errno === 13 || errno === 1 ? "permission_denied" : errno === 2 ? "not_found" : "io";
  return new LocalError(code, `cannot ${action}: ${errnoText(errno)}`, {
    foreign: { system: "errno", status: errno, text: errnoText(errno) },
  });
}
