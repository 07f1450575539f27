/**
 * Streams of a driver, which take turns with its other calls and keep what they come from.
 *
 * @module
 */
import type { StreamOwner } from "../c_data/foreign_calls.ts";
import { ForeignStream, openStream } from "../c_data/foreign_stream.ts";
import { HOST_STREAM } from "../c_data/import.ts";
import { CStruct } from "../c_data/structs.ts";
import { DipcError } from "../errors.ts";
import { checkOptionNames } from "../options.ts";
import { Arena } from "../c_data/arena.ts";
import type { AdbcArgument } from "./driver.ts";
import type { CallOptions, Handle, HandleUser } from "./handle.ts";
import type { AdbcFunctionName } from "../../ffi/adbc.ts";

/** What each stream comes from. */
const origins = new WeakMap<ForeignStream, Handle>();

/**
 * Checks that a source does not wait for the connection that reads it.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function checkOrigin(source: unknown, handle: Handle): void {
  const origin = source instanceof ForeignStream ? origins.get(source) : undefined;
  if (origin === undefined || origin.connection !== handle.connection) return;
  throw new DipcError(
    "invalid_argument",
    "cannot bind the stream: it is one of the same connection, which cannot read and write concurrently; use two connections",
  );
}

/** A stream as a user of its handle. Knows the stream weakly, so that one that the program dropped is collected. */
class Result implements StreamOwner, HandleUser {
  readonly #handle: Handle;
  readonly #opened = Promise.withResolvers<void>();
  readonly #released = Promise.withResolvers<void>();
  #stream: WeakRef<ForeignStream> | null = null;
  #isRunning = false;
  #isInterrupted = false;

  constructor(handle: Handle) {
    this.#handle = handle;
    handle.hold(this);
    handle.streams.count++;
  }

  set stream(stream: ForeignStream) {
    this.#stream = new WeakRef(stream);
    this.#opened.resolve();
  }

  run<T>(call: () => T | Promise<T>): Promise<T> {
    return this.#handle.streamTask(async () => {
      if (this.#isInterrupted) throw new DipcError("cancelled", "cannot read the stream: it was cancelled");
      this.#isRunning = true;
      try {
        return await call();
      } finally {
        this.#isRunning = false;
      }
    });
  }

  errorOf(stream: bigint, action: string): DipcError | null {
    return this.#handle.driver.streamError(stream, action);
  }

  interrupt(): void {
    this.#isInterrupted = true;
    // Without a call of its own it would cancel that of another stream of the connection.
    if (this.#isRunning) this.#handle.interrupt().catch(() => {});
  }

  async release(call: () => Promise<void>, isOver: boolean): Promise<void> {
    await this.#handle.streamTask(async () => {
      if (!isOver) await this.#cancelRest();
      await call();
    });
    this.#handle.streams.count--;
    this.#opened.resolve();
    this.#released.resolve();
    this.#handle.drop(this);
  }

  /**
   * Drivers may otherwise fetch all that is left. With another stream on the connection, it would be cancelled, too.
   */
  async #cancelRest(): Promise<void> {
    const { kind, driver, address, streams } = this.#handle;
    if (kind !== "Statement" || streams.count > 1 || !driver.has("StatementCancel")) return;
    await driver.call("StatementCancel", "cancel the statement", [address]).catch(() => {});
  }

  async close(): Promise<void> {
    await this.#opened.promise;
    void this.#stream?.deref()?.cancel();
    // One that was collected is released by its finalizer.
    await this.#released.promise;
  }
}

/**
 * Calls a function that gives a stream. Returns only after the driver has: see {@linkcode untilAborted}.
 *
 * @param handle The connection or statement
 * @param name The function
 * @param action What it is called for, as it follows "cannot"
 * @param argsOf Its arguments after the handle, given the address of memory for the stream, and an arena for others
 * @throws {DipcError} `closed`, `cancelled`, what the driver reports
 */
export async function openResult(
  handle: Handle,
  name: AdbcFunctionName,
  action: string,
  argsOf: (stream: bigint, arena: Arena) => readonly AdbcArgument[],
  { signal }: CallOptions,
): Promise<ForeignStream> {
  // These stay until the driver has returned, also if nobody waits for it any more.
  using arena = new Arena();
  using out = new CStruct("ArrowArrayStream");
  const result = new Result(handle);
  try {
    await abortableCall(handle, name, action, argsOf(out.address, arena), signal);
  } catch (error) {
    await result.release(() => Promise.resolve(), true);
    throw error;
  }
  const stream = await openStream(HOST_STREAM, out.address, { signal }, result);
  result.stream = stream;
  origins.set(stream, handle);
  return stream;
}

/** Calls a function that an abort of the signal cancels. */
export function abortableCall(
  handle: Handle,
  name: AdbcFunctionName,
  action: string,
  args: readonly AdbcArgument[],
  signal: AbortSignal | undefined,
): Promise<void> {
  return handle.task(action, async () => {
    checkAborted(action, signal);
    const onAbort = (): void => void handle.interrupt().catch(() => {});
    signal?.addEventListener("abort", onAbort);
    try {
      await handle.driver.call(name, action, [handle.address, ...args]);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  });
}

/**
 * Waits for something until the signal aborts, not for a driver that does not react.
 *
 * @param discard Gets what comes after that
 */
export async function untilAborted<T>(
  promise: Promise<T>,
  action: string,
  signal: AbortSignal | undefined,
  discard: (value: T) => void = () => {},
): Promise<T> {
  if (signal === undefined) return await promise;
  const abort = Promise.withResolvers<never>();
  const onAbort = (): void => {
    abort.reject(cancelled(action, signal));
    promise.then(discard, () => {});
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([abort.promise, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

const CALL_KEYS: Record<keyof CallOptions, true> = { signal: true };

/** The signal of the options of a call. @throws {DipcError} `invalid_argument` for other options */
export function signalOf(call: string, options: CallOptions): AbortSignal | undefined {
  checkOptionNames(call, options, CALL_KEYS);
  return options.signal;
}

function checkAborted(action: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(action, signal);
}

function cancelled(action: string, { reason }: AbortSignal): DipcError {
  return new DipcError("cancelled", `cannot ${action}: it was cancelled; do it again without a signal that aborts`, {
    cause: reason,
  });
}
