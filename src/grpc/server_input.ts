/**
 * What a client sends in one call: bytes as they come, with a bound on every wait, and the messages in them.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { ServerStream } from "../http2/server_stream.ts";
import { patientNow, patientTimeout, type PatientTimer } from "../patience.ts";
import { GRPC_PREFIX_BYTES } from "./framing.ts";

/** Bytes that are allocated when a message's length is all that has come; more when those have. */
const TRUSTED_BYTES = 4 * 2 ** 20;

/** The bytes of a call, pulled: they are never read faster than they are consumed. */
export class CallInput {
  readonly #stream: ServerStream;
  readonly #signal: AbortSignal;
  #wake: (() => void) | null = null;
  /** Bytes that were read past the end of a message. */
  #rest: Uint8Array | null = null;

  /**
   * @param stream HTTP/2 stream of the call
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
    let timer: PatientTimer | undefined;
    let isLate = false;
    try {
      for (;;) {
        this.#signal.throwIfAborted();
        const chunk = this.#stream.read();
        if (chunk !== null) return chunk;
        if (this.#stream.isReadToEnd) return null;
        if (this.#stream.isClosed) {
          throw new DipcError(
            "connection_lost",
            "cannot read the client's request: the client disconnected in the middle of the call",
          );
        }
        if (isLate) {
          throw new DipcError("timeout", "cannot read the client's request: too little of it arrived in time");
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          timer ??= patientTimeout(timeoutMs, () => {
            isLate = true;
            this.#wake?.();
          });
        });
      }
    } finally {
      timer?.stop();
      this.#wake = null;
    }
  }

  /**
   * The next complete message, or `null` at the end.
   *
   * @param maxBytes Maximum size of the message in bytes
   * @param timeoutMs Longest wait for the complete message, in milliseconds
   * @param beginMs Longest wait for it to begin, in milliseconds; then it has `timeoutMs` for the rest
   * @default beginMs The same time is for both
   * @throws {DipcError} `limit_exceeded`, `protocol`, `timeout`, and what ended the call
   */
  async message(maxBytes: number, timeoutMs: number, beginMs?: number): Promise<Uint8Array | null> {
    let endsAt = patientNow() + (beginMs ?? timeoutMs);
    let hasBegun = false;
    const prefix = new Uint8Array(GRPC_PREFIX_BYTES);
    let into = prefix;
    let filled = 0;
    let length = -1;
    for (;;) {
      if (filled === into.byteLength) {
        if (filled === length) return into;
        if (into === prefix) {
          length = messageLength(prefix, maxBytes);
          if (length === 0) return new Uint8Array();
          into = new Uint8Array(Math.min(length, TRUSTED_BYTES));
          filled = 0;
        } else {
          const longer = new Uint8Array(Math.min(length, 2 * filled));
          longer.set(into);
          into = longer;
        }
      }
      const chunk = await this.next(Math.max(1, Math.ceil(endsAt - patientNow())));
      if (chunk === null) {
        if (into === prefix && filled === 0) return null;
        throw new DipcError("protocol", "cannot read the client's request: it ends in the middle of a message");
      }
      if (!hasBegun && beginMs !== undefined) endsAt = patientNow() + timeoutMs;
      hasBegun = true;
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
        ? "cannot read the client's request: it is compressed, which this server does not support; send it uncompressed (identity)"
        : `cannot read the client's request: its flag byte is ${prefix[0]}, expected 0`,
    );
  }
  const length = new DataView(prefix.buffer).getUint32(1);
  if (length > maxBytes) {
    throw new DipcError(
      "limit_exceeded",
      `cannot read the client's request: it has ${length} bytes, at most ${maxBytes} are allowed`,
    );
  }
  return length;
}
