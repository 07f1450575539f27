/**
 * A file mapped into memory, handed out as bodies that are parts of the map.
 *
 * @module
 */
import {
  EINVAL,
  fileErrno,
  fileLibrary,
  MADV_DONTNEED,
  MADV_POPULATE_READ,
  MAP_PRIVATE,
  MREMAP_REPLACE,
} from "../../ffi/files.ts";
import { libc } from "../../ffi/libc.ts";
import { MAP_FAILED, MAP_PRIVATE_ANONYMOUS, PROT_READ_WRITE } from "../../ffi/libc_symbols.ts";
import { LocalError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { type FileHandle, ioError } from "./file_handle.ts";

/** Pages of a map begin at multiples of this; no supported system has larger pages. */
const PAGE = 65_536;
/** Bytes of bodies that were given back and stay in the process's page table. */
const RESIDENT_BYTES = 64 * 2 ** 20;

/**
 * A private, writable map of a whole file: writing to a body changes memory, never the file, and cannot crash.
 *
 * The map goes away when it has been closed and its last body released.
 */
export class FileMap {
  readonly #file: FileHandle;
  readonly #address: bigint;
  readonly #size: number;
  /** Bytes mapped, a multiple of the page size. */
  readonly #length: bigint;
  readonly #onIdle: () => void;
  readonly #bodies = new Set<MappedBody>();
  #isClosed = false;
  /** Ranges of bodies that were given back and may still be in the page table. */
  #stale: { start: number; end: number }[] = [];
  #staleBytes = 0;
  #canPopulate = true;

  /**
   * @param file The file to map
   * @param onIdle Called whenever the last body in use was given back
   * @throws {DipcError} `io`, `out_of_memory`, `closed`
   */
  constructor(file: FileHandle, onIdle: () => void = () => {}) {
    this.#length = BigInt(Math.ceil(file.size / PAGE) * PAGE);
    const address = BigInt(libc().mmap(0n, this.#length, PROT_READ_WRITE, MAP_PRIVATE, file.fd, 0n));
    if (address === MAP_FAILED) throw ioError(`map "${file.path}" into memory`, fileErrno());
    this.#file = file;
    this.#address = address;
    this.#size = file.size;
    this.#onIdle = onIdle;
  }

  /** Whether no body is in use. */
  get isIdle(): boolean {
    return this.#bodies.size === 0;
  }

  /**
   * A body that is a part of the map, read from storage if it is not in memory yet.
   *
   * @throws {DipcError} `closed`, `io` if it cannot be read
   */
  body(offset: number, byteLength: number): Body {
    if (this.#isClosed) {
      throw new LocalError("closed", "cannot read a mapped file: it was closed while it was being read");
    }
    this.#populate(offset, byteLength);
    const body = new MappedBody(this.#address + BigInt(offset), byteLength, (body) => this.#drop(body, offset));
    this.#bodies.add(body);
    return body;
  }

  /**
   * Makes the bodies in use independent of the file: they keep their addresses and their content, whatever happens to it.
   * No other thread may use the map concurrently. The map hands out no further bodies.
   *
   * @throws {DipcError} `out_of_memory`
   */
  detach(): void {
    this.#isClosed = true;
    this.#stale = [];
    const { mmap, memcpy } = libc();
    for (const [start, end] of this.#pagesInUse()) {
      const bytes = BigInt(end - start);
      const copy = BigInt(mmap(0n, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n));
      if (copy === MAP_FAILED) {
        throw new LocalError(
          "out_of_memory",
          `cannot copy ${bytes} bytes of "${this.#file.path}", which is about to change: the system refused the memory`,
        );
      }
      const target = this.#address + BigInt(start);
      memcpy(copy, target, BigInt(Math.min(end, this.#size) - start));
      fileLibrary().mremap(copy, bytes, bytes, MREMAP_REPLACE, target);
    }
    this.#unmapWhenIdle();
  }

  /** Unmaps once no body is in use. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unmapWhenIdle();
  }

  /** Drops released bodies from the page table, so that the process does not appear as large as the file. */
  trim(): void {
    const { madvise } = libc();
    for (const { start, end } of this.#stale) {
      const first = Math.ceil(start / PAGE) * PAGE, last = Math.floor(end / PAGE) * PAGE;
      if (last > first) madvise(this.#address + BigInt(first), BigInt(last - first), MADV_DONTNEED);
    }
    this.#stale = [];
    this.#staleBytes = 0;
  }

  /** Reads a range into memory ahead: here a storage error is an error, and not the end of the process (SIGBUS). */
  #populate(offset: number, byteLength: number): void {
    if (byteLength === 0 || !this.#canPopulate) return;
    const start = offset - offset % PAGE;
    const length = BigInt(Math.min(offset + byteLength, this.#size) - start);
    if (libc().madvise(this.#address + BigInt(start), length, MADV_POPULATE_READ) === 0) return;
    const errno = fileErrno();
    // An older kernel: pages are read when they are first used.
    if (errno === EINVAL) this.#canPopulate = false;
    else throw ioError(`read "${this.#file.path}" at byte ${offset}`, errno);
  }

  #drop(body: MappedBody, offset: number): void {
    this.#bodies.delete(body);
    if (this.#isClosed) {
      this.#unmapWhenIdle();
    } else {
      const end = offset + body.byteLength;
      const last = this.#stale.at(-1);
      // Bodies of one run follow each other, with a little metadata in between.
      if (last !== undefined && offset >= last.start && offset - last.end < PAGE) last.end = Math.max(last.end, end);
      else this.#stale.push({ start: offset, end });
      this.#staleBytes += body.byteLength;
      if (this.#staleBytes > RESIDENT_BYTES) this.trim();
    }
    if (this.isIdle) this.#onIdle();
  }

  #unmapWhenIdle(): void {
    if (this.isIdle) libc().munmap(this.#address, this.#length);
  }

  /** Page-aligned ranges that hold the bodies in use, in order and disjoint. */
  #pagesInUse(): [start: number, end: number][] {
    const ranges = [...this.#bodies].filter((body) => body.byteLength > 0).map((body): [number, number] => {
      const offset = Number(body.address - this.#address);
      return [offset - offset % PAGE, Math.ceil((offset + body.byteLength) / PAGE) * PAGE];
    }).sort(([a], [b]) => a - b);
    const disjoint: [number, number][] = [];
    for (const [start, end] of ranges) {
      const last = disjoint.at(-1);
      if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
      else disjoint.push([start, end]);
    }
    return disjoint;
  }
}

class MappedBody implements Body {
  readonly space = "host";
  readonly byteLength: number;
  readonly #address: bigint;
  #release: ((body: MappedBody) => void) | null;
  #bytes: Uint8Array<ArrayBuffer> | null = null;

  constructor(address: bigint, byteLength: number, release: (body: MappedBody) => void) {
    this.#address = address;
    this.byteLength = byteLength;
    this.#release = release;
  }

  get address(): bigint {
    return this.byteLength === 0 ? 0n : this.#address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    if (this.#release === null) throw new LocalError("closed", "cannot read this body: it was released");
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
    const release = this.#release;
    if (release === null) return;
    // Detaches every view: from here on none can read memory that is about to be unmapped.
    this.#bytes?.buffer.transfer(0);
    this.#bytes = null;
    this.#release = null;
    release(this);
  }
}
