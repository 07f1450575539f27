/**
 * A file as a `Blob` whose bytes are read only on request.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { FileHandle } from "./file_handle.ts";

/** What the parts of one blob share. */
interface Shared {
  readonly file: FileHandle;
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
   */
  constructor(file: FileHandle);
  /** @ignore */
  constructor(shared: Shared, offset: number, size: number);
  constructor(source: FileHandle | Shared, offset = 0, size?: number) {
    super();
    this.#shared = "file" in source ? source : { file: source, failure: null };
    this.#offset = offset;
    this.#size = size ?? this.#shared.file.size;
  }

  /** Bytes of the part. */
  override get size(): number {
    return this.#size;
  }

  /** A part of the part; negative positions count from the end, as for every blob. */
  override slice(start = 0, end: number = this.#size): Blob {
    const inside = (at: number): number => at < 0 ? Math.max(0, this.#size + at) : Math.min(at, this.#size);
    const from = inside(start);
    return new FileBlob(this.#shared, this.#offset + from, Math.max(0, inside(end) - from));
  }

  /** Reads the part. */
  override arrayBuffer(): Promise<ArrayBuffer> {
    try {
      return Promise.resolve(this.#shared.file.readBytes(this.#offset, this.#size).buffer);
    } catch (error) {
      if (error instanceof DipcError) this.#shared.failure = error;
      return Promise.reject(error);
    }
  }

  /** Why the last read failed, once: an error that passes through the decoder comes back as text only. */
  takeFailure(): DipcError | null {
    const { failure } = this.#shared;
    this.#shared.failure = null;
    return failure;
  }
}
