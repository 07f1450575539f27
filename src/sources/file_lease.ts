/**
 * A read lease on a file: while it is held the file cannot be written to or truncated.
 *
 * @module
 */
import {
  EAGAIN,
  F_GETLEASE,
  F_RDLCK,
  F_SETLEASE,
  F_SETSIG,
  F_UNLCK,
  fileErrno,
  fileLibrary,
  SIGURG,
} from "../../ffi/files.ts";
import type { FileHandle } from "./file_handle.ts";

/**
 * A read lease, see fcntl(2). A process that opens the file for writing, or truncates it, waits until the lease is given
 * back, at most `/proc/sys/fs/lease-break-time` seconds (45 by default). The system notifies the holder by a signal; here
 * it is one that has no effect, and the holder polls instead ({@linkcode FileLease.stands}).
 */
export class FileLease {
  readonly #file: FileHandle;

  /** @param file The file, opened for reading; it stays open while the lease is held */
  constructor(file: FileHandle) {
    this.#file = file;
  }

  /**
   * Takes the lease.
   *
   * @returns false if it cannot be taken: the file is open for writing, it belongs to another user, or its file system
   * has no leases
   */
  take(): boolean {
    const { fd } = this.#file;
    const { fcntl } = fileLibrary();
    return fcntl(fd, F_SETSIG, SIGURG) === 0 && fcntl(fd, F_SETLEASE, F_RDLCK) === 0;
  }

  /** Whether a process has the file open for writing, as far as the system says. */
  isFileOpenForWriting(): boolean {
    if (this.take()) this.giveBack();
    else return fileErrno() === EAGAIN;
    return false;
  }

  /** Whether it is held and no writer waits for it. */
  get stands(): boolean {
    return fileLibrary().fcntl(this.#file.fd, F_GETLEASE, 0) === F_RDLCK;
  }

  /** Gives it back; waiting writers continue. Idempotent. */
  giveBack(): void {
    fileLibrary().fcntl(this.#file.fd, F_SETLEASE, F_UNLCK);
  }
}
