/**
 * What a client sends in one call: bytes as they come, with a bound on every wait, and messages made of them.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type FlightFrame, GRPC_PREFIX_BYTES } from "../flight/data.ts";
import { FrameDecoder, type FrameDecoderOptions } from "../flight/frame_decoder.ts";
import type { ServerStream } from "../http2/server_stream.ts";

/** The bytes of a call, pulled: a client is never read faster than its bytes are used. */
export class CallInput {
  readonly #stream: ServerStream;
  readonly #signal: AbortSignal;
  #wake: (() => void) | null = null;
  /** Bytes that were read beyond a message. */
  #rest: Uint8Array | null = null;

  /**
   * @param stream The call's stream
   * @param signal Ends every wait with its reason
   */
  constructor(stream: ServerStream, signal: AbortSignal) {
    this.#stream = stream;
    this.#signal = signal;
    const wake = (): void => this.#wake?.();
    stream.onReadable = wake;
    signal.addEventListener("abort", wake, { once: true });
  }

  /**
   * The next bytes, or `null` at the end of what the client sends.
   *
   * @param timeoutMs Longest wait, in milliseconds
   * @throws {DipcError} `timeout`, and what ended the call
   */
  async next(timeoutMs: number): Promise<Uint8Array | null> {
    const rest = this.#rest;
    if (rest !== null) {
      this.#rest = null;
      return rest;
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    let late = false;
    try {
      for (;;) {
        this.#signal.throwIfAborted();
        const chunk = this.#stream.read();
        if (chunk !== null) return chunk;
        if (this.#stream.isReadToEnd) return null;
        if (this.#stream.isClosed) {
          throw new DipcError("connection_lost", "the client went away in the middle of a call");
        }
        if (late) throw new DipcError("timeout", "the client sent too little, too late: the call was ended");
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          timer ??= setTimeout(() => {
            late = true;
            this.#wake?.();
          }, timeoutMs);
        });
      }
    } finally {
      clearTimeout(timer);
      this.#wake = null;
    }
  }

  /**
   * The next whole message, or `null` at the end.
   *
   * @param maxBytes Longest message
   * @param timeoutMs Longest wait for the whole message, in milliseconds
   * @throws {DipcError} `limit_exceeded`, `protocol`, `timeout`, and what ended the call
   */
  async message(maxBytes: number, timeoutMs: number): Promise<Uint8Array | null> {
    const endsAt = performance.now() + timeoutMs;
    const prefix = new Uint8Array(GRPC_PREFIX_BYTES);
    let into = prefix;
    let filled = 0;
    for (;;) {
      if (filled === into.byteLength) {
        if (into !== prefix) return into;
        const length = messageLength(prefix, maxBytes);
        if (length === 0) return new Uint8Array();
        // Not more than a call may hold anyway, so that the announced length can be believed.
        into = new Uint8Array(length);
        filled = 0;
      }
      const chunk = await this.next(Math.max(1, Math.ceil(endsAt - performance.now())));
      if (chunk === null) {
        if (into === prefix && filled === 0) return null;
        throw new DipcError("protocol", "the client's request ends in the middle of a message");
      }
      const n = Math.min(chunk.byteLength, into.byteLength - filled);
      into.set(chunk.subarray(0, n), filled);
      filled += n;
      if (n < chunk.byteLength) this.#rest = chunk.subarray(n);
    }
  }
}

function messageLength(prefix: Uint8Array<ArrayBuffer>, maxBytes: number): number {
  if (prefix[0] !== 0) {
    throw new DipcError(
      prefix[0] === 1 ? "unsupported" : "protocol",
      prefix[0] === 1
        ? "the client's request is compressed, which this server does not take: send it as it is (identity)"
        : `the client's request starts with the byte ${prefix[0]}, expected 0`,
    );
  }
  const length = new DataView(prefix.buffer).getUint32(1);
  if (length > maxBytes) {
    throw new DipcError("limit_exceeded", `the client's request has ${length} bytes, at most ${maxBytes} are allowed`);
  }
  return length;
}

/** Of a message that has begun, so many bytes must come within the time of a request. */
const LEAST_BYTES = 64 * 1024;

/** Longest waits of a {@linkcode FrameInput}, in milliseconds. */
export interface FrameTimeouts {
  /** For the first message, and for every 64 KiB of one that has begun, or its rest. */
  requestTimeoutMs: number;
  /** Between two messages. */
  idleTimeoutMs: number;
}

/** FlightData messages of a call. */
export class FrameInput {
  readonly #input: CallInput;
  readonly #decoder: FrameDecoder;
  readonly #timeouts: FrameTimeouts;
  #isFirst = true;
  #ended = false;

  /**
   * @param input The call's bytes
   * @param options Limits and pool
   * @param timeouts Longest waits
   */
  constructor(input: CallInput, options: FrameDecoderOptions, timeouts: FrameTimeouts) {
    this.#input = input;
    this.#decoder = new FrameDecoder(options);
    this.#timeouts = timeouts;
  }

  /**
   * The next frame, which the caller then owns, or `null` at the end.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, `timeout`, and what ended the call
   */
  async next(): Promise<FlightFrame | null> {
    const { requestTimeoutMs, idleTimeoutMs } = this.#timeouts;
    let endsAt = performance.now() + (this.#isFirst || !this.#decoder.isWhole ? requestTimeoutMs : idleTimeoutMs);
    for (let bytes = 0;;) {
      const frame = this.#decoder.take();
      if (frame !== null) {
        this.#isFirst = false;
        return frame;
      }
      if (this.#ended) return null;
      const chunk = await this.#input.next(Math.max(1, Math.ceil(endsAt - performance.now())));
      if (chunk === null) {
        this.#ended = true;
        if (!this.#decoder.isWhole) {
          throw new DipcError("protocol", "the client's stream ends in the middle of a message");
        }
        continue;
      }
      const begins = this.#decoder.isWhole;
      this.#decoder.push(chunk);
      bytes += chunk.byteLength;
      if (begins || bytes >= LEAST_BYTES) {
        bytes = 0;
        endsAt = performance.now() + requestTimeoutMs;
      }
    }
  }

  /** Gives the memory of what was not taken back. Idempotent. */
  close(): void {
    this.#decoder.close();
  }
}
