/**
 * The results that clients have not fetched to their end, or may fetch again.
 *
 * @module
 */
import type { PeerError } from "../../tell_peer.ts";
import type { Open } from "./handles.ts";
import type { SqlResult } from "./result.ts";

/** A result, by the handle of which its parts are found. */
export class StoredResult implements Open {
  readonly kind = "result";
  readonly result: SqlResult;
  readonly timeoutMs: number;
  readonly #statementBytes: number;

  /**
   * @param result What clients fetch
   * @param timeoutMs Longest time without a fetch, in milliseconds
   * @param statementBytes Size of its statement's text and schema
   */
  constructor(result: SqlResult, timeoutMs: number, statementBytes: number) {
    this.result = result;
    this.timeoutMs = timeoutMs;
    this.#statementBytes = statementBytes;
  }

  get isBusy(): boolean {
    return this.result.isBeingRead;
  }

  get statementBytes(): number {
    return this.result.isRunning ? this.#statementBytes : 0;
  }

  close(error: PeerError): Promise<void> {
    return this.result.close(error);
  }
}
