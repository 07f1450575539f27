/**
 * FlightData messages that a client sends in one call, with a bound on every wait.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { CallInput } from "../../grpc/server_input.ts";
import type { FlightFrame } from "../data.ts";
import { FrameDecoder, type FrameDecoderOptions } from "../frame_decoder.ts";

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
  #hasEnded = false;

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
      if (this.#hasEnded) return null;
      const chunk = await this.#input.next(Math.max(1, Math.ceil(endsAt - performance.now())));
      if (chunk === null) {
        this.#hasEnded = true;
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
