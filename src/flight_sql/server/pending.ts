/**
 * Queries that are polled until they have a result.
 *
 * @module
 */
import type { FlightDescriptor } from "../../flight/model.ts";
import type { PeerError } from "../../tell_peer.ts";
import { withDeadline } from "../../deadline.ts";
import type { StoredResult } from "./stored_result.ts";
import type { Open } from "./handles.ts";
import { ProgressWatch } from "./watch.ts";

/** Longest answer to a poll, in milliseconds. */
export const POLL_MS = 1000;
/** Beginning of the commands by which queries that run are polled. */
const POLL_PREFIX = "dipc-poll:";

/** The command by which a query is polled. */
export function pollCommand(handle: Uint8Array): Uint8Array {
  return new TextEncoder().encode(`${POLL_PREFIX}${handle.toHex()}`);
}

/** The handle of the query that a command polls; `null` if it is another command. */
export function pollHandle(command: Uint8Array): Uint8Array | null {
  const [, hex] = /^dipc-poll:([0-9a-f]{32})$/.exec(new TextDecoder().decode(command.subarray(0, 64))) ?? [];
  return hex === undefined ? null : Uint8Array.fromHex(hex);
}

/** A query that runs between polls. */
export class PendingQuery implements Open {
  readonly kind = "query";
  readonly timeoutMs: number;
  readonly statementBytes: number;
  /** What was requested at first. */
  descriptor: FlightDescriptor | null = null;
  /** How far it is. */
  readonly watch = new ProgressWatch();
  readonly #abort = new AbortController();
  readonly #result: Promise<StoredResult | null>;
  readonly #discard: (result: StoredResult, error: PeerError) => Promise<void>;
  #polls = 0;
  /** Whether the client has the result, which is by itself from then on. */
  #isDelivered = false;

  /**
   * @param calls `execute` executes the query until it has a result; `discard` ends a result that its client will not fetch
   * @param timeoutMs Longest time between polls, in milliseconds
   * @param commandBytes Size of the command
   */
  constructor(
    calls: {
      execute(signal: AbortSignal, watch: ProgressWatch): Promise<StoredResult | null>;
      discard(result: StoredResult, error: PeerError): Promise<void>;
    },
    timeoutMs: number,
    commandBytes: number,
  ) {
    this.timeoutMs = timeoutMs;
    this.statementBytes = commandBytes;
    this.#discard = calls.discard;
    this.#result = calls.execute(this.#abort.signal, this.watch);
    this.#result.catch(() => {});
  }

  get isBusy(): boolean {
    return this.#polls > 0;
  }

  /**
   * Waits for the result for a while.
   *
   * @returns `null` if there is none yet
   * @throws {DipcError} what ended the query
   */
  async wait(timeoutMs: number, signal: AbortSignal): Promise<StoredResult | null> {
    this.#polls++;
    try {
      const result = await withDeadline(this.#result, timeoutMs, () => null);
      signal.throwIfAborted();
      this.#isDelivered = result !== null;
      return result;
    } finally {
      this.#polls--;
    }
  }

  async close(error: PeerError): Promise<void> {
    const hasResult = this.#isDelivered;
    this.#abort.abort(error);
    const result = hasResult ? null : await this.#result.catch(() => null);
    if (result !== null) await this.#discard(result, error);
  }
}
