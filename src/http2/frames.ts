/**
 * Frames of HTTP/2 (RFC 9113, sections 4 and 6): read from chunks of any size, and written.
 *
 * The bodies of DATA frames are passed on in pieces, as they come; everything else is small and bounded, and passed on complete.
 *
 * @module
 */
import { concatBytes } from "../bytes.ts";
import { Http2Code, Http2Error } from "./errors.ts";

/** Types of frames. */
export const FrameType = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

/** Flags of frames. */
export const Flag = { ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** Size of a frame's header, in bytes. */
export const FRAME_HEADER_BYTES = 9;
/** What a client sends first. */
export const PREFACE: Uint8Array = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
/**
 * Longest header block, compressed, in bytes. It is more than the headers may have, so that one that is too long ends its stream
 * alone.
 */
const MAX_BLOCK_BYTES = 2 ** 20;
/** Maximum number of frames of one header block, and how many bytes allow one more. */
const MAX_BLOCK_FRAMES = 32;
const BLOCK_FRAME_BYTES = 4096;
/** Longest frame that is collected, besides those of header blocks, in bytes. */
const MAX_COLLECTED_BYTES = 16 * 1024;
/** DATA frames of this many bytes are long: of shorter ones several are received at once, and copied. */
const LONG_FRAME_BYTES = 32 * 1024;
/** Bytes of a HEADERS frame that hold a priority. */
const PRIORITY_BYTES = 5;

/** Receives the frames of a {@linkcode FrameReader} that are passed on complete. */
export interface ControlSink {
  /** A frame other than DATA and those of header blocks. Unknown types come with an empty payload. */
  onFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void;
  /** A complete header block. */
  onHeaders(streamId: number, flags: number, block: Uint8Array): void;
}

/** Receives the DATA frames of a {@linkcode FrameReader}, one after another. */
export interface DataSink {
  /** A DATA frame begins; `length` counts padding, as flow control does. */
  onDataStart(streamId: number, flags: number, length: number): void;
  /** Bytes of its body, valid until the call returns. */
  onDataBytes(bytes: Uint8Array): void;
  /** Bytes of padding. */
  onDataPadding(length: number): void;
  /** The DATA frame is complete. */
  onDataEnd(): void;
}

/** Parses what a peer sends into frames. */
export class FrameReader {
  readonly #control: ControlSink;
  readonly #data: DataSink;
  readonly #maxFrameBytes: number;
  #prefaceAt = 0;
  #head = new Uint8Array(FRAME_HEADER_BYTES);
  #headAt = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Bytes of the frame's payload, and of it those that are still to come. */
  #frameBytes = 0;
  #left = 0;
  #isInFrame = false;
  /** Payload that is collected, or `null` if it is passed on or skipped. */
  #collected: Uint8Array | null = null;
  #collectedBytes = 0;
  #padding = 0;
  #hasPadLength = false;
  #isFirst = true;
  #isStopped = false;
  #block: { streamId: number; flags: number; parts: Uint8Array[]; bytes: number } | null = null;

  /**
   * @param control Receives control frames and headers
   * @param data Receives DATA
   * @param maxFrameBytes Longest frame in bytes, as announced
   * @param isServer Whether the peer is a client, which starts with a preface
   */
  constructor(control: ControlSink, data: DataSink, maxFrameBytes: number, isServer: boolean) {
    if (!isServer) this.#prefaceAt = PREFACE.byteLength;
    this.#control = control;
    this.#data = data;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /**
   * Parses the next bytes.
   *
   * @param chunk Bytes as received; parts are passed on, and nothing refers to them afterwards
   * @throws {Http2Error} The error to end the connection with
   */
  push(chunk: Uint8Array): void {
    let at = this.#preface(chunk);
    while (!this.#isStopped && (at < chunk.byteLength || (this.#isInFrame && this.#left === 0))) {
      if (this.#isInFrame) {
        at += this.#payload(chunk, at);
        continue;
      }
      const n = Math.min(FRAME_HEADER_BYTES - this.#headAt, chunk.byteLength - at);
      this.#head.set(chunk.subarray(at, at + n), this.#headAt);
      at += n;
      this.#headAt += n;
      if (this.#headAt === FRAME_HEADER_BYTES) this.#start();
    }
  }

  /** Bytes of a long DATA frame's body that come next; 0 if anything else does, or the frame is padded. */
  get bodyBytes(): number {
    const isLong = this.#isInFrame && this.#type === FrameType.data && this.#frameBytes >= LONG_FRAME_BYTES;
    return isLong && (this.#flags & Flag.padded) === 0 && !this.#isStopped ? this.#left : 0;
  }

  /** So many of the {@linkcode bodyBytes} were received elsewhere. */
  skip(count: number): void {
    this.#left -= count;
    if (this.#left > 0) return;
    this.#isInFrame = false;
    this.#data.onDataEnd();
  }

  /** Parses no further frame, not even of the current chunk. */
  stop(): void {
    this.#isStopped = true;
  }

  #preface(chunk: Uint8Array): number {
    let at = 0;
    for (; this.#prefaceAt < PREFACE.byteLength && at < chunk.byteLength; at++, this.#prefaceAt++) {
      if (chunk[at] !== PREFACE[this.#prefaceAt]) throw wrong("the client does not speak HTTP/2");
    }
    return at;
  }

  #start(): void {
    const head = this.#head;
    this.#headAt = 0;
    this.#left = this.#frameBytes = head[0] << 16 | head[1] << 8 | head[2];
    this.#type = head[3];
    this.#flags = head[4];
    this.#streamId = (head[5] & 0x7f) << 24 | head[6] << 16 | head[7] << 8 | head[8];
    this.#isInFrame = true;
    this.#collected = null;
    if (this.#isFirst && (this.#type !== FrameType.settings || (this.#flags & Flag.ack) !== 0)) {
      throw wrong("the first frame is not SETTINGS");
    }
    this.#isFirst = false;
    if (this.#left > this.#maxFrameBytes) {
      throw new Http2Error(
        Http2Code.frameSizeError,
        `a frame has ${this.#left} bytes, at most ${this.#maxFrameBytes} are announced`,
      );
    }
    const { continuation, data, headers } = FrameType;
    if ((this.#block !== null) !== (this.#type === continuation) || this.#block?.streamId !== this.#blockStream()) {
      throw wrong(this.#block === null ? "a CONTINUATION without HEADERS" : "a frame in the middle of a header block");
    }
    if (this.#type === data) return this.#startData();
    if (this.#type > continuation) return;
    const longest = this.#type === headers || this.#type === continuation ? MAX_BLOCK_BYTES : MAX_COLLECTED_BYTES;
    if (this.#left > longest) {
      throw new Http2Error(
        Http2Code.enhanceYourCalm,
        `a frame of type ${this.#type} has ${this.#left} bytes, at most ${longest} are accepted`,
      );
    }
    this.#collected = new Uint8Array(this.#left);
    this.#collectedBytes = 0;
  }

  #blockStream(): number | undefined {
    return this.#type === FrameType.continuation ? this.#streamId : undefined;
  }

  #startData(): void {
    if (this.#streamId === 0) throw wrong("DATA on stream 0");
    const isPadded = (this.#flags & Flag.padded) !== 0;
    this.#padding = 0;
    this.#hasPadLength = !isPadded;
    if (isPadded && this.#left === 0) throw new Http2Error(Http2Code.frameSizeError, "a padded DATA frame is empty");
    this.#data.onDataStart(this.#streamId, this.#flags, this.#left);
  }

  /** Consumes payload; returns how many bytes of the chunk were used. */
  #payload(chunk: Uint8Array, from: number): number {
    const n = Math.min(this.#left, chunk.byteLength - from);
    if (this.#type === FrameType.data) this.#takeData(chunk.subarray(from, from + n));
    else {
      this.#collected?.set(chunk.subarray(from, from + n), this.#collectedBytes);
      this.#collectedBytes += n;
      this.#left -= n;
    }
    if (this.#left > 0) return n;
    this.#isInFrame = false;
    if (this.#type === FrameType.data) this.#data.onDataEnd();
    else this.#end(this.#collected ?? new Uint8Array());
    return n;
  }

  #takeData(bytes: Uint8Array): void {
    let rest = bytes;
    if (!this.#hasPadLength && rest.byteLength > 0) {
      this.#hasPadLength = true;
      this.#padding = rest[0];
      rest = rest.subarray(1);
      this.#left--;
      if (this.#padding > this.#left) throw wrong("a DATA frame has more padding than bytes");
      this.#data.onDataPadding(1);
    }
    const body = Math.min(rest.byteLength, this.#left - this.#padding);
    if (body > 0) {
      this.#data.onDataBytes(rest.subarray(0, body));
      this.#left -= body;
    }
    const padding = rest.byteLength - body;
    if (padding > 0) {
      this.#data.onDataPadding(padding);
      this.#left -= padding;
      this.#padding -= padding;
    }
  }

  #end(payload: Uint8Array): void {
    if (this.#type === FrameType.headers) return this.#headers(payload);
    if (this.#type === FrameType.continuation) return this.#addToBlock(payload);
    this.#control.onFrame(this.#type, this.#flags, this.#streamId, payload);
  }

  #headers(payload: Uint8Array): void {
    if (this.#streamId === 0) throw wrong("HEADERS on stream 0");
    let start = 0;
    let padding = 0;
    if ((this.#flags & Flag.padded) !== 0) {
      if (payload.byteLength === 0) throw new Http2Error(Http2Code.frameSizeError, "a padded HEADERS frame is empty");
      padding = payload[0];
      start = 1;
    }
    if ((this.#flags & Flag.priority) !== 0) start += PRIORITY_BYTES;
    if (start > payload.byteLength) throw new Http2Error(Http2Code.frameSizeError, "a HEADERS frame is too short");
    if (start + padding > payload.byteLength) throw wrong("a HEADERS frame has more padding than bytes");
    this.#block = { streamId: this.#streamId, flags: this.#flags, parts: [], bytes: 0 };
    this.#addToBlock(payload.subarray(start, payload.byteLength - padding));
  }

  #addToBlock(part: Uint8Array): void {
    const block = this.#block!;
    block.parts.push(part);
    block.bytes += part.byteLength;
    const maxFrames = MAX_BLOCK_FRAMES + block.bytes / BLOCK_FRAME_BYTES;
    if (block.bytes > MAX_BLOCK_BYTES || block.parts.length > maxFrames) {
      throw new Http2Error(
        Http2Code.enhanceYourCalm,
        `a header block has over ${MAX_BLOCK_BYTES} bytes or ${Math.floor(maxFrames)} frames`,
      );
    }
    if ((this.#flags & Flag.endHeaders) === 0) return;
    this.#block = null;
    this.#control.onHeaders(
      block.streamId,
      block.flags,
      block.parts.length === 1 ? block.parts[0] : concatBytes(block.parts),
    );
  }
}

function wrong(message: string): Http2Error {
  return new Http2Error(Http2Code.protocolError, message);
}

/** Writes the header of a frame. */
export function putFrameHeader(
  into: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  into[at] = length >>> 16;
  into[at + 1] = length >>> 8;
  into[at + 2] = length;
  into[at + 3] = type;
  into[at + 4] = flags;
  into[at + 5] = streamId >>> 24;
  into[at + 6] = streamId >>> 16;
  into[at + 7] = streamId >>> 8;
  into[at + 8] = streamId;
}

/** A complete frame. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = new Uint8Array(),
): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.byteLength);
  putFrameHeader(bytes, 0, payload.byteLength, type, flags, streamId);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** A frame whose payload is 32-bit numbers, such as WINDOW_UPDATE, RST_STREAM and GOAWAY. */
export function numbersFrame(type: number, streamId: number, ...numbers: number[]): Uint8Array {
  const payload = new Uint8Array(4 * numbers.length);
  const view = new DataView(payload.buffer);
  numbers.forEach((number, i) => view.setUint32(4 * i, number));
  return frame(type, 0, streamId, payload);
}

/** A SETTINGS frame. */
export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Uint8Array {
  const payload = new Uint8Array(6 * settings.length);
  const view = new DataView(payload.buffer);
  settings.forEach(([id, value], i) => {
    view.setUint16(6 * i, id);
    view.setUint32(6 * i + 2, value);
  });
  return frame(FrameType.settings, 0, 0, payload);
}

/** HEADERS, and CONTINUATION if the block is longer than the frames that the peer accepts. */
export function headerFrames(streamId: number, block: Uint8Array, isLast: boolean, maxFrameBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  do {
    const end = Math.min(block.byteLength, at + maxFrameBytes);
    const flags = (end === block.byteLength ? Flag.endHeaders : 0) | (at === 0 && isLast ? Flag.endStream : 0);
    parts.push(frame(at === 0 ? FrameType.headers : FrameType.continuation, flags, streamId, block.subarray(at, end)));
    at = end;
  } while (at < block.byteLength);
  return parts.length === 1 ? parts[0] : concatBytes(parts);
}
