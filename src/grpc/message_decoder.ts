/**
 * gRPC messages as a whole, for calls that carry no Arrow data.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { collect } from "../memory/collector.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";
import type { StreamDecoder } from "./stream_input.ts";

/** Room for bytes at first; grows with what arrives, never with what is announced. */
const FIRST_BYTES = 16 * 2 ** 10;

/** What a message takes besides its bytes: objects of JavaScript. */
const OVERHEAD_BYTES = 256;

/**
 * Bytes given out after which what was dropped of them is collected. V8 by itself lets more than 100 MiB of it come together,
 * which is what a server that never stops answering could make of any small call.
 */
const COLLECT_BYTES = 8 * 2 ** 20;

/**
 * Takes chunks of a gRPC stream and gives messages without their prefixes. What has arrived and was not taken stays in one
 * buffer, as it came: a message takes memory of its own only once it is taken.
 */
export class MessageDecoder implements StreamDecoder<Uint8Array<ArrayBuffer>> {
  readonly readAheadBytes: number = 256 * 2 ** 10;
  readonly #maxMessageBytes: number;
  #bytes = new Uint8Array(FIRST_BYTES);
  /** Bytes from `#start` on were not taken, from `#whole` on belong to a message that is not whole, to `#end` have arrived. */
  #start = 0;
  #whole = 0;
  #end = 0;
  #givenBytes = 0;

  /** @param maxMessageBytes Longest message */
  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Bytes of the messages that wait to be taken. */
  get queuedBytes(): number {
    return this.#whole - this.#start;
  }

  /** Whether the bytes up to now end with a whole message. */
  get isWhole(): boolean {
    return this.#whole === this.#end;
  }

  /** The next message, or `null` where none is whole. */
  take(): Uint8Array<ArrayBuffer> | null {
    if (this.#start === this.#whole) return null;
    const begin = this.#start + GRPC_PREFIX_BYTES;
    this.#start = begin + this.#lengthAt(this.#start);
    const message = this.#bytes.slice(begin, this.#start);
    this.#givenBytes += message.byteLength + OVERHEAD_BYTES;
    if (this.#givenBytes >= COLLECT_BYTES) {
      this.#givenBytes = 0;
      collect("young");
    }
    return message;
  }

  /**
   * Takes bytes in.
   *
   * @param chunk The next bytes; not kept
   * @throws {DipcError} `protocol`, `limit_exceeded`
   */
  push(chunk: Uint8Array): void {
    if (this.#end + chunk.byteLength > this.#bytes.byteLength) this.#makeRoom(chunk.byteLength);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.byteLength;
    while (this.#whole < this.#end) {
      this.#checkFlag(this.#bytes[this.#whole]);
      if (this.#end - this.#whole < GRPC_PREFIX_BYTES) break;
      const length = this.#lengthAt(this.#whole);
      if (length > this.#maxMessageBytes) {
        throw new DipcError(
          "limit_exceeded",
          `a gRPC message of ${length} bytes is announced, maxMessageBytes is ${this.#maxMessageBytes}`,
        );
      }
      const next = this.#whole + GRPC_PREFIX_BYTES + length;
      if (next > this.#end) break;
      this.#whole = next;
    }
  }

  /** Forgets everything that was not taken. */
  close(): void {
    this.#bytes = new Uint8Array(0);
    this.#start = this.#whole = this.#end = 0;
  }

  #lengthAt(offset: number): number {
    const bytes = this.#bytes;
    return bytes[offset + 1] * 2 ** 24 + (bytes[offset + 2] << 16 | bytes[offset + 3] << 8 | bytes[offset + 4]);
  }

  #checkFlag(flag: number): void {
    if (flag === 0) return;
    const what = flag === 1
      ? "is compressed, which was not agreed on"
      : `begins with the flag byte ${flag}, expected 0`;
    throw new DipcError("protocol", `a gRPC message ${what}`);
  }

  /** Moves what was not taken to the front, into a longer buffer where it would fill more than half of this one. */
  #makeRoom(more: number): void {
    const kept = this.#end - this.#start;
    const needed = kept + more;
    const capacity = this.#bytes.byteLength;
    if (needed <= capacity / 2) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
    } else {
      const longer = new Uint8Array(Math.max(2 * capacity, needed));
      longer.set(this.#bytes.subarray(this.#start, this.#end));
      this.#bytes = longer;
    }
    this.#whole -= this.#start;
    this.#start = 0;
    this.#end = kept;
  }
}
