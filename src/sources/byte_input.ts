/**
 * Bytes in order, from a file or from anything that can be read: small pieces are buffered, large ones are read directly
 * into their target.
 *
 * @module
 */
import { addressOf } from "../../ffi/libc.ts";
import { type DipcError, LocalError } from "../errors.ts";
import { textOf } from "../text.ts";
import type { FileHandle } from "./file_handle.ts";
import type { Eventually, Steps } from "./options.ts";

/** A source of bytes. */
export interface RawInput {
  /** Name of the input in messages. */
  readonly name: string;
  /** Bytes that are left, if that is known. */
  readonly remaining: number | undefined;
  /**
   * Puts between 1 and `target.byteLength` bytes into `target`, which lies at `address`; 0 bytes at the end of input.
   *
   * @throws {DipcError} `io`, `closed`
   */
  read(target: Uint8Array<ArrayBuffer>, address: bigint): Eventually<number>;
  /** A read whose promise was rejected by `close()`, but that may still write to its target until this one settles. */
  readonly underWay?: Promise<unknown> | null;
  /** Ends the input; a pending read settles at once. Idempotent. */
  close(): Eventually<void>;
}

/** A file from its start to the size it had when it was opened. Does not own the handle. */
export class FileInput implements RawInput {
  readonly name: string;
  readonly #file: FileHandle;
  #offset = 0;

  constructor(file: FileHandle) {
    this.#file = file;
    this.name = `"${file.path}"`;
  }

  get remaining(): number {
    return this.#file.size - this.#offset;
  }

  read(target: Uint8Array<ArrayBuffer>, address: bigint): number {
    const byteLength = Math.min(target.byteLength, this.remaining);
    if (byteLength > 0) this.#file.readAt(this.#offset, address, byteLength);
    this.#offset += byteLength;
    return byteLength;
  }

  close(): void {}
}

/** A `ReadableStream` of bytes, which it locks and owns. */
export class StreamInput implements RawInput {
  readonly name: string;
  readonly remaining = undefined;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #isClosed = false;

  constructor(stream: ReadableStream<Uint8Array>, name: string) {
    this.name = name;
    this.#reader = stream.getReader();
  }

  read(target: Uint8Array<ArrayBuffer>): Eventually<number> {
    return this.#chunk.byteLength > 0 ? this.#take(target) : this.#readChunk(target);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#chunk = new Uint8Array(0);
    // An error while cancelling no longer matters: the data is not needed.
    await this.#reader.cancel().catch(() => {});
  }

  async #readChunk(target: Uint8Array<ArrayBuffer>): Promise<number> {
    let result: ReadableStreamReadResult<Uint8Array>;
    do {
      try {
        result = await this.#reader.read();
      } catch (cause) {
        const text = textOf(cause);
        throw new LocalError("io", `cannot read ${this.name}: ${text}`, { cause });
      }
      if (this.#isClosed) {
        throw new LocalError("closed", `cannot read ${this.name}: it was closed while it was being read`);
      }
      if (result.done) return 0;
      if (!(result.value instanceof Uint8Array)) {
        throw new LocalError(
          "invalid_argument",
          `cannot read ${this.name}: expected chunks of Uint8Array, found ${typeof result.value}`,
        );
      }
    } while (result.value.byteLength === 0);
    this.#chunk = result.value;
    return this.#take(target);
  }

  #take(target: Uint8Array<ArrayBuffer>): number {
    const byteLength = Math.min(this.#chunk.byteLength, target.byteLength);
    target.set(this.#chunk.subarray(0, byteLength));
    this.#chunk = this.#chunk.subarray(byteLength);
    return byteLength;
  }
}

/** A reader of bytes, such as `Deno.stdin` or a `Deno.FsFile`. */
export interface ByteReader {
  /** Puts bytes into `target`. @returns how many, or null at the end */
  read(target: Uint8Array): Promise<number | null>;
  /** Called after the last read. */
  close?(): void;
}

/** A reader, which it owns. Large reads land in place. */
export class ReaderInput implements RawInput {
  readonly name: string;
  readonly remaining = undefined;
  readonly #reader: ByteReader;
  #isClosed = false;
  #underWay: Promise<unknown> | null = null;
  #abort: (() => void) | null = null;

  constructor(reader: ByteReader, name: string) {
    this.#reader = reader;
    this.name = name;
  }

  get underWay(): Promise<unknown> | null {
    return this.#underWay;
  }

  read(target: Uint8Array<ArrayBuffer>): Promise<number> {
    if (this.#isClosed) return Promise.reject(this.#closedError());
    const reading = this.#reader.read(target).finally(() => {
      this.#underWay = null;
      if (this.#isClosed) this.#reader.close?.();
    });
    this.#underWay = reading;
    return new Promise((resolve, reject) => {
      this.#abort = () => reject(this.#closedError());
      reading.then((got) => resolve(got ?? 0), (cause) => {
        const text = textOf(cause);
        reject(new LocalError("io", `cannot read ${this.name}: ${text}`, { cause }));
      });
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#underWay === null) this.#reader.close?.();
    this.#abort?.();
  }

  #closedError(): DipcError {
    return new LocalError("closed", `cannot read ${this.name}: it was closed while it was being read`);
  }
}

/** Fewest bytes to request from a raw input: prefix and metadata of most messages, and several small messages at once. */
const BUFFER_BYTES = 16 * 1024;

/** A buffered raw input. Methods are steps for {@linkcode runSteps}. */
export class BufferedInput {
  /** The input that is buffered. */
  readonly raw: RawInput;
  #buffer: Uint8Array<ArrayBuffer>;
  #address: bigint;
  #start = 0;
  #end = 0;

  constructor(raw: RawInput) {
    this.raw = raw;
    this.#buffer = new Uint8Array(BUFFER_BYTES);
    this.#address = addressOf(this.#buffer);
  }

  /** Bytes left, if that is known. */
  get remaining(): number | undefined {
    const unread = this.raw.remaining;
    return unread === undefined ? undefined : unread + this.#end - this.#start;
  }

  /** Buffered bytes, up to `byteLength` of them; a view that is valid until the next call. */
  peek(byteLength: number): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(this.#start, Math.min(this.#end, this.#start + byteLength));
  }

  /** Drops buffered bytes. */
  skip(byteLength: number): void {
    this.#start += byteLength;
  }

  /** Buffers `byteLength` bytes or all that are left. @returns how many of them there are */
  *need(byteLength: number): Steps<number> {
    if (this.#end - this.#start >= byteLength) return byteLength;
    this.#makeRoom(byteLength);
    while (this.#end - this.#start < byteLength) {
      let got = this.raw.read(this.#buffer.subarray(this.#end), this.#address + BigInt(this.#end));
      if (typeof got !== "number") got = (yield got) as number;
      if (got === 0) return this.#end - this.#start;
      this.#end += got;
    }
    return byteLength;
  }

  /**
   * Puts `byteLength` bytes, or all that are left, into the memory at `address`, of which `target` returns a view.
   *
   * @returns how many bytes it put there
   */
  *take(target: () => Uint8Array<ArrayBuffer>, address: bigint, byteLength: number): Steps<number> {
    let done = Math.min(byteLength, this.#end - this.#start);
    if (byteLength === 0) return 0;
    const view = target();
    if (done > 0) {
      view.set(this.#buffer.subarray(this.#start, this.#start + done));
      this.#start += done;
    }
    while (done < byteLength) {
      let got = this.raw.read(view.subarray(done, byteLength), address + BigInt(done));
      if (typeof got !== "number") got = (yield got) as number;
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  #makeRoom(byteLength: number): void {
    const kept = this.#end - this.#start;
    if (byteLength > this.#buffer.byteLength) {
      const larger = new Uint8Array(byteLength);
      larger.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = larger;
      this.#address = addressOf(larger);
    } else if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#start = 0;
    this.#end = kept;
  }
}
