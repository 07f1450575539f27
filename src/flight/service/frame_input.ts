/**
 * FlightData messages that a client sends in one call, with a time limit for every wait.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { CallInput } from "../../grpc/server_input.ts";
import { patientNow } from "../../patience.ts";
import type { FlightFrame } from "../data.ts";
import { FrameDecoder, type FrameDecoderOptions } from "../frame_decoder.ts";

/** Bytes of an incomplete message that must arrive within `requestTimeoutMs`. */
const MIN_PROGRESS_BYTES = 64 * 1024;

/** Longest waits of a {@linkcode FrameInput}, in milliseconds. */
export interface FrameTimeouts {
  /** Wait for every 64 KiB of a message that has begun, or its rest. */
  requestTimeoutMs: number;
  /** Wait for a message to begin. */
  idleTimeoutMs: number;
}

/** FlightData messages of a call. */
export class FrameInput {
  readonly #input: CallInput;
  readonly #decoder: FrameDecoder;
  readonly #timeouts: FrameTimeouts;
  #hasEnded = false;

  /**
   * @param input Bytes of the call
   * @param options Limits and pool
   * @param timeouts Time limits of the waits
   */
  constructor(input: CallInput, options: FrameDecoderOptions, timeouts: FrameTimeouts) {
    this.#input = input;
    this.#decoder = new FrameDecoder({ ...options, isRequest: true });
    this.#timeouts = timeouts;
  }

  /**
   * The next frame, which the caller then owns, or `null` at the end.
   *
   * @throws {DipcError} `protocol`, `limit_exceeded`, `timeout`, and what ended the call
   */
  async next(): Promise<FlightFrame | null> {
    const { requestTimeoutMs, idleTimeoutMs } = this.#timeouts;
    let endsAt = patientNow() + (this.#decoder.isWhole ? idleTimeoutMs : requestTimeoutMs);
    for (let bytes = 0;;) {
      const frame = this.#decoder.take();
      if (frame !== null) return frame;
      if (this.#hasEnded) return null;
      const chunk = await this.#input.next(Math.max(1, Math.ceil(endsAt - patientNow())));
      if (chunk === null) {
        this.#hasEnded = true;
        if (!this.#decoder.isWhole) {
          throw new DipcError("protocol", "cannot read the client's stream: it ends in the middle of a message");
        }
        continue;
      }
      const begins = this.#decoder.isWhole;
      this.#decoder.push(chunk);
      bytes += chunk.byteLength;
      if (begins || bytes >= MIN_PROGRESS_BYTES) {
        bytes = 0;
        endsAt = patientNow() + requestTimeoutMs;
      }
    }
  }

  /** Releases everything that was not taken. Idempotent. */
  close(): void {
    this.#decoder.close();
  }
}
