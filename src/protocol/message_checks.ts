/**
 * What a message of a stream must be by itself: its metadata, and its body against that.
 *
 * @module
 */
import type { DipcError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { PREFIX_BYTES } from "./prefix.ts";
import type { ReceiverLimits } from "./receiver_options.ts";
import type { StreamFailure } from "./stream_failure.ts";
import { BODY_ADDRESSES, BODY_BYTES, tagBodyType } from "./tag.ts";

/** Checks the messages of one stream; a violation loses it. */
export class MessageChecks {
  readonly #limits: Required<ReceiverLimits>;
  readonly #failure: StreamFailure;

  /**
   * @param limits Sizes that are accepted, and whether bodies by address are
   * @param failure What is lost
   */
  constructor(limits: Required<ReceiverLimits>, failure: StreamFailure) {
    this.#limits = limits;
    this.#failure = failure;
  }

  /** Checks the size of a metadata frame in bytes. @throws {DipcError} `protocol` if it has no whole prefix */
  frame(byteLength: number): void {
    if (byteLength >= PREFIX_BYTES) return;
    throw this.#failure.lose(
      "protocol",
      `expected a metadata frame of at least ${PREFIX_BYTES} bytes, found ${byteLength}`,
    );
  }

  /** Checks the size of metadata in bytes, before it is read. @throws {DipcError} `protocol`, `limit_exceeded` */
  metadata(sequence: number, byteLength: number): void {
    const { maxMetadataBytes } = this.#limits;
    if (byteLength > maxMetadataBytes) {
      throw this.#failure.lose(
        "limit_exceeded",
        `metadata of sequence number ${sequence} has ${byteLength} bytes, the limit is ${maxMetadataBytes} (maxMetadataBytes)`,
      );
    }
    if (byteLength === 0) throw this.#failure.lose("protocol", `metadata of sequence number ${sequence} is empty`);
  }

  /**
   * Checks what metadata says.
   *
   * @param isFirst Whether it is that of the first message, which is the schema
   * @throws {DipcError} `protocol`, `invalid_data`, `limit_exceeded`
   */
  header({ kind, bodyLength }: MessageHeader, sequence: number, isFirst: boolean): void {
    if ((kind === "schema") !== isFirst) {
      throw this.#failure.lose(
        "protocol",
        isFirst
          ? `expected the schema with sequence number ${sequence}, found a ${kind} message`
          : `expected a dictionary or batch with sequence number ${sequence}, found a second schema`,
      );
    }
    if (!(bodyLength >= 0 && bodyLength <= Number.MAX_SAFE_INTEGER && bodyLength % 1 === 0)) {
      throw this.#failure.lose(
        "invalid_data",
        `metadata of sequence number ${sequence} announces an impossible body of ${bodyLength} bytes`,
      );
    }
    if (bodyLength > this.#limits.maxBodyBytes) throw this.tooLarge(sequence, bodyLength);
    if (isFirst && bodyLength !== 0) {
      throw this.#failure.lose(
        "protocol",
        `the schema, sequence number ${sequence}, announces a body of ${bodyLength} bytes, expected none`,
      );
    }
  }

  /**
   * Checks type and length of a body.
   *
   * @param expected Its length by its metadata; −1 if that is not known yet
   * @throws {DipcError} `protocol`, `unsupported`
   */
  body(sequence: number, tag: bigint, byteLength: number, expected: number): void {
    const type = tagBodyType(tag);
    if (type !== BODY_BYTES) {
      // Whoever reads the list checks its size.
      if (type === BODY_ADDRESSES && this.#limits.addresses) return;
      throw type === BODY_ADDRESSES
        ? this.#failure.lose(
          "unsupported",
          `the body of sequence number ${sequence} is a list of addresses (type 1), which this client did not request; if ` +
            "you trust the server with all memory of this process, and its URI has a remote_handle, use remoteKeys",
        )
        : this.#failure.lose("protocol", `the body of sequence number ${sequence} has the unknown type ${type}`);
    }
    if (expected >= 0 && byteLength !== expected) {
      throw this.#failure.lose(
        "protocol",
        `the body of sequence number ${sequence} has ${byteLength} bytes, but its metadata announced ${expected}`,
      );
    }
  }

  /** Loses the stream because of a body over the limit. @returns the error to throw */
  tooLarge(sequence: number, byteLength: number): DipcError {
    return this.#failure.lose(
      "limit_exceeded",
      `the body of sequence number ${sequence} has ${byteLength} bytes, the limit is ${this.#limits.maxBodyBytes} (maxBodyBytes)`,
    );
  }
}
