/**
 * Converts FlightData to IPC messages, with verification, and back.
 *
 * @module
 */
import { toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../errors.ts";
import { GRPC_PREFIX_BYTES, MAX_GRPC_MESSAGE_BYTES } from "../grpc/framing.ts";
import { HeaderReader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { Body } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { FlightDescriptorSchema } from "./gen/flight_pb.ts";
import { descriptorToProto, type FlightDescriptor, type FlightDescriptorInit } from "./model.ts";

/** Tags of FlightData's fields: number × 8 + 2 (length-delimited). */
const TAG_DESCRIPTOR = 0x0a;
const TAG_HEADER = 0x12;
const TAG_APP_METADATA = 0x1a;
/** 1000 × 8 + 2 as a varint. */
const TAG_BODY = [0xc2, 0x3e];

const NOTHING = new Uint8Array(0);

/** One FlightData message as received. Its holder owns the body and must release it. */
export interface FlightFrame {
  /** Descriptor of the stream; only in the first frame of a DoPut or DoExchange. */
  readonly descriptor: FlightDescriptor | null;
  /** The `Message` flatbuffer, not verified yet; empty if the frame has only application metadata or a descriptor. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** Application metadata; empty if there is none. */
  readonly appMetadata: Uint8Array<ArrayBuffer>;
  /** The IPC body; `null` if the frame has none. */
  readonly body: Body | null;
}

/** One FlightData message to send. Only small fields are copied. */
export interface OutgoingFrame {
  /** Descriptor of the stream; only in the first frame of a DoPut or DoExchange. */
  descriptor?: FlightDescriptorInit | null;
  /** The `Message` flatbuffer, without continuation marker and length. */
  header?: Uint8Array;
  /** Application metadata. */
  appMetadata?: Uint8Array | null;
  /** The IPC body; borrowed until it has been written. */
  body?: Uint8Array | null;
}

/**
 * The frame of a message. The message keeps its body: release it once the frame has been written.
 *
 * @param message A schema, dictionary or batch
 * @param extra Descriptor and application metadata; by default the message's own metadata
 */
export function frameOfMessage(
  message: IpcMessage,
  extra: Pick<OutgoingFrame, "descriptor" | "appMetadata"> = {},
): OutgoingFrame {
  const body = message.body === null || message.body.byteLength === 0 ? null : message.body.bytes();
  return { appMetadata: message.appMetadata, ...extra, header: message.header.bytes, body };
}

/**
 * Encodes a frame as a gRPC message, prefix included: first everything but the body, then the body itself.
 *
 * @param frame Frame to encode
 * @returns One or two pieces, to be written one after the other
 * @throws {DipcError} `limit_exceeded` if it is too long for gRPC
 */
export function encodeFrame(frame: OutgoingFrame): Uint8Array<ArrayBufferLike>[] {
  const descriptor = frame.descriptor ? toBinary(FlightDescriptorSchema, descriptorToProto(frame.descriptor)) : NOTHING;
  const header = frame.header ?? NOTHING;
  const appMetadata = frame.appMetadata ?? NOTHING;
  const body = frame.body ?? NOTHING;
  const head = fieldBytes(descriptor) + fieldBytes(header) + fieldBytes(appMetadata) +
    (body.byteLength === 0 ? 0 : TAG_BODY.length + varintBytes(body.byteLength));
  const length = head + body.byteLength;
  if (length > MAX_GRPC_MESSAGE_BYTES) {
    throw new DipcError(
      "limit_exceeded",
      `cannot send a message by Flight: it has ${length} bytes, other programs take ${MAX_GRPC_MESSAGE_BYTES} at most; use ` +
        "smaller batches",
    );
  }
  const bytes = new Uint8Array(GRPC_PREFIX_BYTES + head);
  new DataView(bytes.buffer).setUint32(1, length);
  let at = GRPC_PREFIX_BYTES;
  at = putField(bytes, at, TAG_DESCRIPTOR, descriptor);
  at = putField(bytes, at, TAG_HEADER, header);
  at = putField(bytes, at, TAG_APP_METADATA, appMetadata);
  if (body.byteLength === 0) return [bytes];
  bytes.set(TAG_BODY, at);
  putVarint(bytes, at + TAG_BODY.length, body.byteLength);
  return [bytes, body];
}

/** A sink of gRPC messages. */
interface MessageSink {
  write(head: Uint8Array, body: Uint8Array | undefined, release?: () => void): void | Promise<void>;
}

/**
 * Writes a frame. Returns what the sink returns.
 *
 * @param sink Sink to write to
 * @param frame Frame to write; its body is borrowed until `release` is called
 * @param release Called once, on every path
 * @throws {DipcError} `limit_exceeded` if it is too long for gRPC, and what the sink throws
 */
export function writeFrame(
  sink: MessageSink,
  frame: OutgoingFrame,
  release: () => void = () => {},
): void | Promise<void> {
  let pieces: Uint8Array[];
  try {
    pieces = encodeFrame(frame);
  } catch (error) {
    release();
    throw error;
  }
  return sink.write(pieces[0], pieces[1], release);
}

/** Verifies the frames of one stream in order and turns them into messages. */
export class FrameVerifier {
  readonly #headers: HeaderReader;
  #metadataBytes = 0;

  /** @param limits Limits of what the peer may send */
  constructor(limits: ReaderLimits) {
    this.#headers = new HeaderReader(limits);
  }

  /** Size of all metadata so far, in bytes. */
  get metadataBytes(): number {
    return this.#metadataBytes;
  }

  /**
   * Turns a frame into a message, which then owns the frame's body.
   *
   * @param frame The next frame of the stream
   * @returns The message, or `null` if the frame has no header
   * @throws {DipcError} `invalid_data`, `limit_exceeded`, `unsupported`, after releasing the body
   */
  verify(frame: FlightFrame): IpcMessage | null {
    const { header: metadata, appMetadata } = frame;
    try {
      if (metadata.byteLength === 0) {
        if (frame.body !== null && frame.body.byteLength > 0) {
          throw new DipcError(
            "invalid_data",
            `cannot read a FlightData: it has a body of ${frame.body.byteLength} bytes but no header`,
          );
        }
        frame.body?.release();
        return null;
      }
      const header = this.#headers.read(metadata);
      this.#metadataBytes += metadata.byteLength;
      const bodyBytes = frame.body?.byteLength ?? 0;
      if (bodyBytes !== header.bodyLength) {
        throw new DipcError(
          "invalid_data",
          `cannot read a FlightData: its header announces a body of ${header.bodyLength} bytes, but its body has ${bodyBytes}`,
        );
      }
      const body = header.kind === "schema" ? null : frame.body ?? EMPTY_BODY;
      return appMetadata.byteLength === 0 ? { header, body } : { header, body, appMetadata };
    } catch (error) {
      frame.body?.release();
      throw error;
    }
  }
}

function fieldBytes(value: Uint8Array): number {
  return value.byteLength === 0 ? 0 : 1 + varintBytes(value.byteLength) + value.byteLength;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (; value >= 128; value /= 128) bytes++;
  return bytes;
}

function putVarint(into: Uint8Array, at: number, value: number): number {
  for (; value >= 128; value = Math.floor(value / 128)) into[at++] = (value % 128) | 128;
  into[at++] = value;
  return at;
}

function putField(into: Uint8Array, at: number, tag: number, value: Uint8Array): number {
  if (value.byteLength === 0) return at;
  into[at++] = tag;
  at = putVarint(into, at, value.byteLength);
  into.set(value, at);
  return at + value.byteLength;
}
