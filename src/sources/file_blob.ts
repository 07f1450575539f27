/**
 * A file as a `Blob` whose bytes are read only on request.
 *
 * @module
 */
import { concatBytes } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import type { FileHandle } from "./file_handle.ts";

/** Size in bytes from which a buffer is not left to the garbage collector. */
const LARGE_BYTES = 2 ** 20;

/** Bytes that a blob has in place of the end of its file. */
export interface BlobTail {
  /** Position of the first of them; the file is at least as long. */
  readonly start: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What the parts of one blob share. */
interface Shared {
  readonly handle: FileHandle;
  readonly tail: BlobTail;
  failure: DipcError | null;
}

/** A part of a file. Reads are checked as {@linkcode FileHandle.readAt} checks them. */
export class FileBlob extends Blob {
  readonly #shared: Shared;
  readonly #offset: number;
  readonly #size: number;

  /**
   * A complete file, or a part of an earlier blob.
   *
   * @param file The file, which must stay open
   * @param tail What is read in place of its end
   */
  constructor(file: FileHandle, tail?: BlobTail);
  /** @ignore */
  constructor(shared: Shared, offset: number, size: number);
  constructor(source: FileHandle | Shared, second?: BlobTail | number, size?: number) {
    super();
    if ("handle" in source) {
      this.#shared = source;
      this.#offset = second as number;
      this.#size = size!;
    } else {
      const tail = second as BlobTail | undefined ?? { start: source.size, bytes: new Uint8Array(0) };
      this.#shared = { handle: source, tail, failure: null };
      this.#offset = 0;
      this.#size = tail.start + tail.bytes.byteLength;
    }
  }

  /** Bytes of the part. */
  override get size(): number {
    return this.#size;
  }

  /** Path of the file. */
  get path(): string {
    return this.#shared.handle.path;
  }

  /** A part of the part; negative positions count from the end, as for every blob. */
  override slice(start = 0, end: number = this.#size): Blob {
    const inside = (at: number): number => at < 0 ? Math.max(0, this.#size + at) : Math.min(at, this.#size);
    const from = inside(start);
    return new FileBlob(this.#shared, this.#offset + from, Math.max(0, inside(end) - from));
  }

  /** Reads the part. A large buffer is freed at the end of the task: what waits for it copies it at once. */
  override arrayBuffer(): Promise<ArrayBuffer> {
    try {
      const buffer = this.#read();
      // Collected garbage would be freed too late: it is as large as the file.
      if (buffer.byteLength >= LARGE_BYTES) setTimeout(() => void buffer.transfer(0), 0);
      return Promise.resolve(buffer);
    } catch (error) {
      if (error instanceof DipcError) this.#shared.failure = error;
      return Promise.reject(error);
    }
  }

  #read(): ArrayBuffer {
    const { handle, tail } = this.#shared;
    const from = this.#offset, end = from + this.#size;
    if (end <= tail.start) return handle.readBytes(from, this.#size).buffer;
    const later = tail.bytes.slice(Math.max(0, from - tail.start), end - tail.start);
    if (from >= tail.start) return later.buffer;
    return concatBytes([handle.readBytes(from, tail.start - from), later]).buffer;
  }

  /** Why the last read failed, once: an error that passes through the decoder comes back as text only. */
  takeFailure(): DipcError | null {
    const { failure } = this.#shared;
    this.#shared.failure = null;
    return failure;
  }
}
