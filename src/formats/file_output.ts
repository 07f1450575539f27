/**
 * Writes pieces to an open file: by system calls of our own if native libraries may be used, by Deno otherwise.
 *
 * @module
 */
import { EINTR, errnoText, fileErrno, fileLibrary, OPEN_WRITE } from "../../ffi/files.ts";
import { addressOf, cString, libc } from "../../ffi/libc.ts";
import { LocalError } from "../errors.ts";
import { isGranted } from "../permissions.ts";
import { ioError } from "../sources/file_handle.ts";
import { textOf } from "../text.ts";
import { type Piece, pieceBytes } from "./sink.ts";

/** Pieces smaller than this are staged before they are written. */
const SMALL_BYTES = 8 * 1024;
/** Size of the staging buffer in bytes. */
const STAGE_BYTES = 256 * 1024;
/** Most bytes that Linux moves in one read or write call, see write(2). */
const MAX_CALL_BYTES = 0x7fff_f000n;

/** An open file that is written from its start to its end; small pieces are collected. */
export abstract class FileOutput {
  readonly #stage = new Uint8Array(STAGE_BYTES);
  #staged = 0;
  /** Bytes taken so far. */
  byteLength = 0;

  /** Takes a piece, and returns once it may be reused. @throws {DipcError} `io` */
  write(piece: Piece): void {
    const { byteLength } = piece;
    this.byteLength += byteLength;
    if (byteLength >= SMALL_BYTES) {
      this.flush(piece);
    } else if (byteLength > 0) {
      if (this.#staged + byteLength > STAGE_BYTES) this.flush(null);
      this.#stage.set(pieceBytes(piece), this.#staged);
      this.#staged += byteLength;
    }
  }

  /** Writes what was collected, and then a piece. @throws {DipcError} `io` */
  flush(piece: Piece | null): void {
    const staged = this.#staged;
    this.#staged = 0;
    this.writeBoth(this.#stage, staged, piece);
  }

  /** Writes the first bytes of `stage`, and then the piece. @throws {DipcError} `io` */
  protected abstract writeBoth(stage: Uint8Array<ArrayBuffer>, staged: number, piece: Piece | null): void;
  /** Waits until everything is on disk. @throws {DipcError} `io` */
  abstract sync(): void;
  /** Closes the file. */
  abstract close(): void;
}

/**
 * Opens a file that exists, for writing from its start.
 *
 * @param path Path to open
 * @param shown Path to name in messages
 * @throws {DipcError} `io`
 */
export function openOutput(path: string, shown: string): FileOutput {
  return isGranted({ name: "ffi" }) ? new NativeOutput(path, shown) : new PlainOutput(path, shown);
}

/** Large pieces are passed to the system without a copy. */
class NativeOutput extends FileOutput {
  readonly #lib = fileLibrary();
  readonly #iov = new BigUint64Array(4);
  readonly #shown: string;
  readonly #fd: number;

  constructor(path: string, shown: string) {
    super();
    this.#shown = shown;
    this.#fd = this.#lib.open(cString(path), OPEN_WRITE, 0);
    if (this.#fd < 0) throw ioError(`write "${shown}"`, fileErrno());
  }

  /** One call for both, if the system accepts all of it. */
  protected override writeBoth(stage: Uint8Array<ArrayBuffer>, staged: number, piece: Piece | null): void {
    const iov = this.#iov;
    let first = BigInt(staged), second = BigInt(piece?.byteLength ?? 0);
    let from = addressOf(stage);
    let at = piece === null ? 0n : piece instanceof Uint8Array ? addressOf(piece) : piece.address;
    while (first + second > 0n) {
      iov[0] = from;
      iov[1] = first;
      iov[2] = at;
      iov[3] = second < MAX_CALL_BYTES - first ? second : MAX_CALL_BYTES - first;
      const got = BigInt(this.#lib.writev(this.#fd, iov, 2));
      if (got < 0n) {
        const errno = fileErrno();
        if (errno === EINTR) continue;
        throw new LocalError(
          "io",
          `cannot write "${this.#shown}" after ${this.byteLength} bytes: ${errnoText(errno)}`,
          {
            foreign: { system: "errno", status: errno, text: errnoText(errno) },
          },
        );
      }
      const fromFirst = got < first ? got : first;
      first -= fromFirst;
      from += fromFirst;
      second -= got - fromFirst;
      at += got - fromFirst;
    }
  }

  override sync(): void {
    if (this.#lib.fsync(this.#fd) !== 0) throw ioError(`write "${this.#shown}" to disk`, fileErrno());
  }

  override close(): void {
    libc().close(this.#fd);
  }
}

/** Without native libraries. */
class PlainOutput extends FileOutput {
  readonly #shown: string;
  readonly #file: Deno.FsFile;

  constructor(path: string, shown: string) {
    super();
    this.#shown = shown;
    this.#file = this.#do("", () => Deno.openSync(path, { write: true }));
  }

  protected override writeBoth(stage: Uint8Array<ArrayBuffer>, staged: number, piece: Piece | null): void {
    this.#writeAll(stage.subarray(0, staged));
    if (piece !== null) this.#writeAll(pieceBytes(piece));
  }

  override sync(): void {
    this.#do(" to disk", () => this.#file.syncSync());
  }

  override close(): void {
    this.#file.close();
  }

  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength;) {
      at += this.#do(` after ${this.byteLength} bytes`, () => this.#file.writeSync(bytes.subarray(at)));
    }
  }

  #do<T>(when: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw new LocalError("io", `cannot write "${this.#shown}"${when}: ${textOf(cause)}`, { cause });
    }
  }
}
