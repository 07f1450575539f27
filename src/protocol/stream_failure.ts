/**
 * Why a stream is lost.
 *
 * @module
 */
import { DipcError, type DipcErrorCode } from "../errors.ts";

/** The failure of one receiving stream: the first error counts, whatever follows from it. */
export class StreamFailure {
  /** `null` while the stream is sound. */
  error: DipcError | null = null;

  /** Loses the stream, unless it is lost already. @returns the error to throw */
  lose(code: DipcErrorCode, message: string, cause?: unknown): DipcError {
    return this.error ??= new DipcError(
      code,
      `cannot receive the stream: ${message}`,
      cause === undefined ? {} : { cause },
    );
  }
}
