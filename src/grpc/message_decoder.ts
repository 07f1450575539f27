/**
 * Decodes complete gRPC messages, for calls that carry no Arrow data.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { collect } from "../memory/collector.ts";
import { bytesOnDemand } from "../memory/on_demand.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";
import type { StreamDecoder } from "./stream_input.ts";

/** Initial size of the buffer, in bytes; it grows with what arrives, never with what is announced. */
const FIRST_BYTES = 16 * 2 ** 10;

/** A message of this size may be given with the buffer that it is in, in bytes. */
const GIVEN_BYTES = 2 ** 20;

/** Memory of a message besides its content: JavaScript objects, in bytes. */
const OVERHEAD_BYTES = 256;

/**
 * Bytes returned after which a garbage collection is forced. V8 by itself lets more than 100 MiB of dropped messages
 * accumulate, which a server that never stops answering could cause with any small call.
 */
const COLLECT_BYTES = 8 * 2 ** 20;

/**
 * Decodes chunks of a gRPC stream into messages without their prefixes. What has arrived and was not taken stays in one
 * buffer: a message gets memory of its own only once it is taken.
 */
export class MessageDecoder implements StreamDecoder<Uint8Array<ArrayBuffer>> {
  readonly readAheadBytes: number = 256 * 2 ** 10;
  readonly #maxMessageBytes: number;
  #bytes = new Uint8Array(FIRST_BYTES);
  /** Bytes from `#start` were not taken, those from `#completeEnd` belong to an incomplete message, and those up to `#end` have arrived. */
  #start = 0;
  #completeEnd = 0;
  #end = 0;
  #givenBytes = 0;

  /** @param maxMessageBytes Maximum size of a message in bytes */
  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Size of the messages that wait to be taken, in bytes, with their prefixes. */
  get queuedBytes(): number {
    return this.#completeEnd - this.#start;
  }

  /** Whether the bytes so far end with a complete message. */
  get isWhole(): boolean {
    return this.#completeEnd === this.#end;
  }

  /** The next message, or `null` if none is complete. */
  take(): Uint8Array<ArrayBuffer> | null {
    if (this.#start === this.#completeEnd) return null;
    const begin = this.#start + GRPC_PREFIX_BYTES;
    this.#start = begin + this.#lengthAt(this.#start);
    const message = this.#given(begin);
    this.#givenBytes += message.byteLength + OVERHEAD_BYTES;
    if (this.#givenBytes >= COLLECT_BYTES) {
      this.#givenBytes = 0;
      collect("young");
    }
    return message;
  }

  /**
   * Adds received bytes.
   *
   * @param chunk The next bytes; not kept
   * @throws {DipcError} `protocol`, `limit_exceeded`, `out_of_memory`
   */
  push(chunk: Uint8Array): void {
    if (this.#end + chunk.byteLength > this.#bytes.byteLength) this.#makeRoom(chunk.byteLength);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.byteLength;
    while (this.#completeEnd < this.#end) {
      this.#checkFlag(this.#bytes[this.#completeEnd]);
      if (this.#end - this.#completeEnd < GRPC_PREFIX_BYTES) break;
      const length = this.#lengthAt(this.#completeEnd);
      if (length > this.#maxMessageBytes) {
        throw new DipcError(
          "limit_exceeded",
          `cannot read a gRPC message: ${length} bytes are announced, maxMessageBytes is ${this.#maxMessageBytes}; raise it ` +
            "(--max-message) if you trust the server",
        );
      }
      const next = this.#completeEnd + GRPC_PREFIX_BYTES + length;
      if (next > this.#end) break;
      this.#completeEnd = next;
    }
  }

  /** A message in memory of its own; a long one that fills the buffer is given with it, so that it is not there twice. */
  #given(begin: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    if (this.#start !== this.#end || this.#end - begin < GIVEN_BYTES) return bytes.slice(begin, this.#start);
    const message = bytes.subarray(begin, this.#end);
    this.#bytes = new Uint8Array(FIRST_BYTES);
    this.#start = this.#completeEnd = this.#end = 0;
    return message;
  }

  /** Drops everything that was not taken. */
  close(): void {
    this.#bytes = new Uint8Array(0);
    this.#start = this.#completeEnd = this.#end = 0;
  }

  #lengthAt(offset: number): number {
    const bytes = this.#bytes;
    return bytes[offset + 1] * 2 ** 24 + (bytes[offset + 2] << 16 | bytes[offset + 3] << 8 | bytes[offset + 4]);
  }

  #checkFlag(flag: number): void {
    if (flag === 0) return;
    const what = flag === 1
      ? "it is compressed, although no compression was negotiated"
      : `its flag byte is ${flag}, expected 0`;
    throw new DipcError("protocol", `cannot read a gRPC message: ${what}`);
  }

  /** Moves what was not taken to the front, into a longer buffer if it would fill more than half of this one. */
  #makeRoom(more: number): void {
    const kept = this.#end - this.#start;
    const needed = kept + more;
    const capacity = this.#bytes.byteLength;
    if (needed <= capacity / 2) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
    } else {
      const longer = bytesOnDemand(Math.max(2 * capacity, needed), "an answer of the server");
      longer.set(this.#bytes.subarray(this.#start, this.#end));
      // Not left to the garbage collector: a long message would be there twice.
      this.#bytes.buffer.transfer(0);
      this.#bytes = longer;
    }
    this.#completeEnd -= this.#start;
    this.#start = 0;
    this.#end = kept;
  }
}
