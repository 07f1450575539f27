/**
 * A file mapped into memory, handed out as bodies that are parts of the map.
 *
 * @module
 */
import { fileErrno, MAP_PRIVATE } from "../../ffi/files.ts";
import { libc, MAP_FAILED, PROT_READ_WRITE } from "../../ffi/libc.ts";
import { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { type FileHandle, ioError } from "./file_handle.ts";

/**
 * A private, writable map of a whole file: writing to a body changes memory, never the file, and cannot crash.
 *
 * The map goes away when it has been closed and its last body released.
 */
export class FileMap {
  readonly #address: bigint;
  readonly #size: number;
  #users = 1;
  #closed = false;

  /** @throws {DipcError} `io`, `out_of_memory`, `closed` */
  constructor(file: FileHandle) {
    const address = BigInt(libc().mmap(0n, BigInt(file.size), PROT_READ_WRITE, MAP_PRIVATE, file.fd, 0n));
    if (address === MAP_FAILED) throw ioError(`cannot map "${file.path}" into memory`, fileErrno());
    this.#address = address;
    this.#size = file.size;
  }

  /** A body that is a part of the map. @throws {DipcError} `closed` */
  body(offset: number, byteLength: number): Body {
    if (this.#closed) throw new DipcError("closed", "a mapped file was closed while it was being read");
    this.#users++;
    return new MappedBody(this.#address + BigInt(offset), byteLength, () => this.#drop());
  }

  /** Unmaps once no body is in use. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    if (--this.#users === 0) libc().munmap(this.#address, BigInt(this.#size));
  }
}

class MappedBody implements Body {
  readonly space = "host";
  readonly byteLength: number;
  readonly #address: bigint;
  #release: (() => void) | null;
  #bytes: Uint8Array<ArrayBuffer> | null = null;

  constructor(address: bigint, byteLength: number, release: () => void) {
    this.#address = address;
    this.byteLength = byteLength;
    this.#release = release;
  }

  get address(): bigint {
    return this.byteLength === 0 ? 0n : this.#address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#release === null) throw new DipcError("closed", "the body was released");
    if (this.#bytes === null) {
      const pointer = this.byteLength === 0 ? null : Deno.UnsafePointer.create(this.#address);
      const buffer = pointer === null
        ? new ArrayBuffer(0)
        : Deno.UnsafePointerView.getArrayBuffer(pointer, this.byteLength);
      this.#bytes = new Uint8Array(buffer);
    }
    return this.#bytes;
  }

  release(): void {
    if (this.#release === null) return;
    // Detaches every view: after this nobody can read memory that is about to be unmapped.
    this.#bytes?.buffer.transfer(0);
    this.#bytes = null;
    this.#release();
    this.#release = null;
  }
}
