/**
 * gRPC messages as a whole, for calls that carry no Arrow data.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { GRPC_PREFIX_BYTES } from "./data.ts";
import type { StreamDecoder } from "./stream_input.ts";
import { ValueBuffer } from "./value_buffer.ts";

/** A message of no bytes takes memory, too. */
const OVERHEAD_BYTES = 256;

/** Takes chunks of a gRPC stream and gives messages without their prefixes. */
export class MessageDecoder implements StreamDecoder<Uint8Array<ArrayBuffer>> {
  readonly #maxMessageBytes: number;
  readonly #messages: Uint8Array<ArrayBuffer>[] = [];
  readonly #prefix = new Uint8Array(GRPC_PREFIX_BYTES);
  #prefixBytes = 0;
  #value: ValueBuffer | null = null;
  #left = 0;
  #queuedBytes = 0;

  /** @param maxMessageBytes Longest message */
  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Bytes of the messages that wait to be taken. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether the bytes up to now end with a whole message. */
  get isWhole(): boolean {
    return this.#value === null && this.#prefixBytes === 0;
  }

  /** The next message, or `null` where none is whole. */
  take(): Uint8Array<ArrayBuffer> | null {
    const message = this.#messages.shift();
    if (message === undefined) return null;
    this.#queuedBytes -= message.byteLength + OVERHEAD_BYTES;
    return message;
  }

  /**
   * Takes bytes in.
   *
   * @param chunk The next bytes; not kept
   * @throws {DipcError} `protocol`, `limit_exceeded`
   */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength;) {
      if (this.#value === null) {
        this.#prefix[this.#prefixBytes++] = chunk[at++];
        if (this.#prefixBytes < GRPC_PREFIX_BYTES) continue;
        this.#begin();
      } else {
        const n = Math.min(chunk.byteLength - at, this.#left);
        this.#value.put(chunk.subarray(at, at + n));
        this.#left -= n;
        at += n;
      }
      if (this.#left === 0) this.#end();
    }
  }

  /** Forgets everything that was not taken. */
  close(): void {
    this.#value = null;
    this.#messages.length = 0;
    this.#queuedBytes = 0;
  }

  #begin(): void {
    const flag = this.#prefix[0];
    if (flag !== 0) {
      const what = flag === 1
        ? "is compressed, which was not agreed on"
        : `begins with the flag byte ${flag}, expected 0`;
      throw new DipcError("protocol", `a gRPC message ${what}`);
    }
    const length = new DataView(this.#prefix.buffer).getUint32(1);
    if (length > this.#maxMessageBytes) {
      throw new DipcError(
        "limit_exceeded",
        `a gRPC message of ${length} bytes is announced, maxMessageBytes is ${this.#maxMessageBytes}`,
      );
    }
    this.#prefixBytes = 0;
    this.#left = length;
    this.#value = new ValueBuffer(length);
  }

  #end(): void {
    const message = this.#value!.toBytes();
    this.#value = null;
    this.#messages.push(message);
    this.#queuedBytes += message.byteLength + OVERHEAD_BYTES;
  }
}
