/**
 * Decodes gRPC messages that hold FlightData as their bytes arrive: a body is written once, directly into its memory.
 *
 * @module
 */
import { fromBinary } from "@bufbuild/protobuf";
import { DipcError } from "../errors.ts";
import type { Body, Pool } from "../memory/block.ts";
import { GRPC_PREFIX_BYTES } from "../grpc/framing.ts";
import type { FlightFrame } from "./data.ts";
import { FlightDescriptorSchema } from "./gen/flight_pb.ts";
import { descriptorFromProto, type FlightDescriptor } from "./model.ts";
import type { StreamDecoder } from "../grpc/stream_input.ts";
import { ValueBuffer } from "./value_buffer.ts";

/** Limits of a {@linkcode FrameDecoder}, and the memory for bodies. */
export interface FrameDecoderOptions {
  /** Longest header, application metadata or descriptor, in bytes. */
  maxMetadataBytes: number;
  /** Longest body, in bytes. */
  maxBodyBytes: number;
  /** Memory for bodies, if it is provided as it is written or they have up to 16 MiB. Default: memory of the garbage collector. */
  pool?: Pool;
  /** The messages are PutResults: application metadata as field 1, and nothing else. */
  isPutResults?: boolean;
  /** A client sends the messages: it learns that it must not compress them. */
  isRequest?: boolean;
}

/** Fields of FlightData; others are skipped. */
const FIELD_DESCRIPTOR = 1;
const FIELD_HEADER = 2;
const FIELD_APP_METADATA = 3;
const FIELD_BODY = 1000;

/** Wire types of protobuf. */
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** States: what the next byte belongs to. */
const AT_PREFIX = 0;
const AT_TAG = 1;
const AT_LENGTH = 2;
const AT_VALUE = 3;
const AT_SKIP = 4;
const AT_SKIPPED_VARINT = 5;

/** Maximum size of a varint in bytes: a tag or a length is a u32, a skipped value a u64. */
const VARINT_BYTES = 5;
const SKIPPED_VARINT_BYTES = 10;
/** Bytes that a message may have besides its values: tags and lengths. */
const OVERHEAD_BYTES = 64;

/** Memory of a frame besides its content, in bytes. */
const FRAME_OVERHEAD_BYTES = 256;

const NOTHING = new Uint8Array(0);

/**
 * Decodes chunks of a gRPC stream into frames. Memory grows with the bytes that have arrived, not with the lengths that the
 * peer declares.
 */
export class FrameDecoder implements StreamDecoder<FlightFrame> {
  readonly readAheadBytes: number = 4 * 2 ** 20;
  readonly #options: FrameDecoderOptions;
  readonly #frames: FlightFrame[] = [];
  readonly #prefix = new Uint8Array(GRPC_PREFIX_BYTES);
  #at = AT_PREFIX;
  /** Bytes of the message that are still to come. */
  #left = 0;
  #prefixBytes = 0;
  #varint = 0;
  #varintBytes = 0;
  #field = 0;
  /** Bytes of the value, or of what is skipped, that are still to come. */
  #valueLeft = 0;
  #value: ValueBuffer | null = null;
  #descriptor: FlightDescriptor | null = null;
  #header: Uint8Array<ArrayBuffer> = NOTHING;
  #appMetadata: Uint8Array<ArrayBuffer> = NOTHING;
  #body: Body | null = null;
  #queuedBytes = 0;

  /** @param options Limits and pool */
  constructor(options: FrameDecoderOptions) {
    this.#options = options;
  }

  /** Size of the frames that wait to be taken, in bytes. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether the bytes so far end with a complete message. */
  get isWhole(): boolean {
    return this.#at === AT_PREFIX && this.#prefixBytes === 0;
  }

  /** The next frame, which the caller then owns, or `null` if none is complete. */
  take(): FlightFrame | null {
    const frame = this.#frames.shift();
    if (frame === undefined) return null;
    this.#queuedBytes -= frameBytes(frame);
    return frame;
  }

  /**
   * Adds received bytes.
   *
   * @param chunk The next bytes; not kept
   * @throws {DipcError} `protocol`, `limit_exceeded`, `out_of_memory`; after that, only `close` may be called
   */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength;) {
      if (this.#at === AT_PREFIX) {
        at = this.#readPrefix(chunk, at);
      } else {
        const taken = this.#read(chunk, at);
        at += taken;
      }
      if (this.#at !== AT_PREFIX && this.#left === 0) this.#endMessage();
    }
  }

  /** The memory that the next bytes belong in, if they are part of a value. */
  room(): Uint8Array<ArrayBuffer> | null {
    return this.#at === AT_VALUE ? this.#value!.room() : null;
  }

  /**
   * Bytes came into the memory that `room` has just returned.
   *
   * @throws {DipcError} As `push`
   */
  filled(count: number): void {
    this.#value!.filled(count);
    this.#advance(count);
    if (this.#left === 0) this.#endMessage();
  }

  /** Releases everything that was not taken. Idempotent. */
  close(): void {
    this.#value?.release();
    this.#value = null;
    this.#body?.release();
    this.#body = null;
    for (const frame of this.#frames.splice(0)) frame.body?.release();
    this.#queuedBytes = 0;
  }

  #readPrefix(chunk: Uint8Array, at: number): number {
    const prefix = this.#prefix;
    while (at < chunk.byteLength && this.#prefixBytes < GRPC_PREFIX_BYTES) prefix[this.#prefixBytes++] = chunk[at++];
    if (this.#prefixBytes < GRPC_PREFIX_BYTES) return at;
    if (prefix[0] === 1 && this.#options.isRequest === true) {
      throw new DipcError("unsupported", "cannot read a FlightData: it is compressed; send it uncompressed (identity)");
    }
    if (prefix[0] !== 0) {
      throw malformed(
        prefix[0] === 1
          ? "it is compressed, although no compression was negotiated"
          : `its flag byte is ${prefix[0]}, expected 0`,
      );
    }
    const length = new DataView(prefix.buffer).getUint32(1);
    const { maxBodyBytes, maxMetadataBytes } = this.#options;
    if (length > maxBodyBytes + 3 * maxMetadataBytes + OVERHEAD_BYTES) {
      throw tooLong("message", length, "maxBodyBytes", maxBodyBytes);
    }
    this.#prefixBytes = 0;
    this.#left = length;
    this.#at = AT_TAG;
    return at;
  }

  /** Continues a message: with one byte of a number, or all available bytes of a value. Returns the bytes consumed. */
  #read(chunk: Uint8Array, at: number): number {
    if (this.#at === AT_VALUE || this.#at === AT_SKIP) {
      const n = Math.min(chunk.byteLength - at, this.#valueLeft);
      if (this.#at === AT_VALUE) this.#value!.put(chunk.subarray(at, at + n));
      this.#advance(n);
      return n;
    }
    const byte = chunk[at];
    this.#left--;
    this.#varint += (byte & 127) * 2 ** (7 * this.#varintBytes);
    this.#varintBytes++;
    if (byte < 128) {
      this.#onNumber();
    } else if (this.#varintBytes >= (this.#at === AT_SKIPPED_VARINT ? SKIPPED_VARINT_BYTES : VARINT_BYTES)) {
      throw malformed("a number in it is too long");
    }
    return 1;
  }

  #advance(count: number): void {
    this.#left -= count;
    this.#valueLeft -= count;
    if (this.#valueLeft === 0) this.#endValue();
  }

  #onNumber(): void {
    const number = this.#varint;
    this.#varint = 0;
    this.#varintBytes = 0;
    if (this.#at === AT_TAG) this.#onTag(number);
    else if (this.#at === AT_LENGTH) this.#onLength(number);
    else this.#at = AT_TAG;
  }

  #onTag(tag: number): void {
    const wireType = tag % 8;
    this.#field = Math.floor(tag / 8);
    if (this.#field === 0) throw malformed("a field in it has the number 0");
    // The other fields of a PutResult get numbers that are skipped.
    if (this.#options.isPutResults) this.#field = this.#field === 1 ? FIELD_APP_METADATA : this.#field + FIELD_BODY;
    if (wireType === DELIMITED) this.#at = AT_LENGTH;
    else if (wireType === VARINT) this.#at = AT_SKIPPED_VARINT;
    else if (wireType === FIXED64) this.#skip(8);
    else if (wireType === FIXED32) this.#skip(4);
    else throw malformed(`field ${this.#field} in it has the wire type ${wireType}`);
  }

  #skip(bytes: number): void {
    if (bytes > this.#left) throw malformed(`field ${this.#field} in it is longer than the message`);
    this.#valueLeft = bytes;
    this.#at = bytes === 0 ? AT_TAG : AT_SKIP;
  }

  #onLength(length: number): void {
    const field = this.#field;
    const isBody = field === FIELD_BODY;
    if (!isBody && field !== FIELD_DESCRIPTOR && field !== FIELD_HEADER && field !== FIELD_APP_METADATA) {
      return this.#skip(length);
    }
    if (length > this.#left) throw malformed(`field ${field} in it is longer than the message`);
    const { maxBodyBytes, maxMetadataBytes, pool } = this.#options;
    if (isBody && length > maxBodyBytes) throw tooLong("body", length, "maxBodyBytes", maxBodyBytes);
    if (!isBody && length > maxMetadataBytes) {
      throw tooLong(nameOf(field), length, "maxMetadataBytes", maxMetadataBytes);
    }
    this.#value = new ValueBuffer(length, isBody ? pool : undefined);
    this.#valueLeft = length;
    this.#at = AT_VALUE;
    if (length === 0) this.#endValue();
  }

  #endValue(): void {
    const value = this.#value;
    this.#at = AT_TAG;
    if (value === null) return;
    this.#value = null;
    // As everywhere in protobuf, the last occurrence of a field counts.
    if (this.#field === FIELD_BODY) {
      this.#body?.release();
      this.#body = value.toBody();
    } else if (this.#field === FIELD_HEADER) {
      this.#header = value.toBytes();
    } else if (this.#field === FIELD_APP_METADATA) {
      this.#appMetadata = value.toBytes();
    } else {
      this.#descriptor = readDescriptor(value.toBytes());
    }
  }

  #endMessage(): void {
    if (this.#at !== AT_TAG || this.#varintBytes > 0) throw malformed("it ends inside a field");
    const frame = {
      descriptor: this.#descriptor,
      header: this.#header,
      appMetadata: this.#appMetadata,
      body: this.#body,
    };
    this.#descriptor = null;
    this.#header = NOTHING;
    this.#appMetadata = NOTHING;
    this.#body = null;
    this.#at = AT_PREFIX;
    this.#frames.push(frame);
    this.#queuedBytes += frameBytes(frame);
  }
}

function frameBytes(frame: FlightFrame): number {
  return FRAME_OVERHEAD_BYTES + frame.header.byteLength + frame.appMetadata.byteLength + (frame.body?.byteLength ?? 0);
}

function readDescriptor(bytes: Uint8Array): FlightDescriptor | null {
  try {
    return descriptorFromProto(fromBinary(FlightDescriptorSchema, bytes));
  } catch (error) {
    throw new DipcError("protocol", "cannot read a FlightData: its descriptor is malformed", { cause: error });
  }
}

function nameOf(field: number): string {
  return field === FIELD_HEADER ? "header" : field === FIELD_APP_METADATA ? "app_metadata" : "descriptor";
}

function malformed(why: string): DipcError {
  return new DipcError("protocol", `cannot read a FlightData: ${why}`);
}

function tooLong(what: string, bytes: number, name: string, limit: number): DipcError {
  return new DipcError(
    "limit_exceeded",
    `cannot read a FlightData: it announces a ${what} of ${bytes} bytes, ${name} is ${limit}; raise the limit if you trust the peer`,
  );
}
