/**
 * Calls of the callbacks of a stream that another library exports.
 *
 * @module
 */
import { cStringAt } from "../../ffi/c_string.ts";
import { errnoText } from "../../ffi/files.ts";
import { DipcError, type DipcErrorCode, LocalError } from "../errors.ts";
import { printable } from "../text.ts";
import { readAddress } from "./raw.ts";
import { C_LAYOUT } from "./structs.ts";

/** Either of the structures of streams. */
export type StreamName = "ArrowArrayStream" | "ArrowDeviceArrayStream";

const CALL = { parameters: ["usize", "usize"], result: "i32" } as const;
const CALL_LATER = { ...CALL, nonblocking: true } as const;
const TEXT = { parameters: ["usize"], result: "usize" } as const;

/** What a library requires of the user of its stream beyond the interface; without one, nothing. */
export interface StreamOwner {
  /** Runs a call of the library when none runs that it must not meet. */
  run<T>(call: () => T | Promise<T>): Promise<T>;
  /** The error of the call that has just failed, if the library says more than the stream. */
  errorOf(stream: bigint, action: string): DipcError | null;
  /** Makes calls that are under way or waiting for their turn end early. Never throws. */
  interrupt(): void;
  /**
   * Has the stream released, as the last call of it. Called once.
   *
   * @param call Releases it
   * @param isOver Whether nothing more would have come
   */
  release(call: () => Promise<void>, isOver: boolean): Promise<void>;
}

/** Codes of dipc for values of errno that say more than that something failed. */
const CODES: Readonly<Record<number, DipcErrorCode>> = {
  12: "out_of_memory", // ENOMEM
  22: "invalid_data", // EINVAL
  38: "unsupported", // ENOSYS
  95: "unsupported", // ENOTSUP
  110: "timeout", // ETIMEDOUT
  125: "cancelled", // ECANCELED
};

/** The callbacks of one stream. */
export class StreamCalls {
  readonly #address: bigint;
  readonly #getSchema: (stream: bigint, out: bigint) => number | Promise<number>;
  readonly #getNext: (stream: bigint, out: bigint) => number | Promise<number>;
  readonly #getLastError: Deno.UnsafeFnPointer<typeof TEXT>;
  readonly #owner: StreamOwner | null;

  /**
   * @param name Which structure it is
   * @param address Its address, at which it stays
   * @param isBlocking Calls on this thread, instead of one of Deno's
   * @param owner Decides when each call runs
   */
  constructor(name: StreamName, address: bigint, isBlocking: boolean, owner: StreamOwner | null) {
    const at = C_LAYOUT[name];
    const pointer = <T>(offset: number): Deno.PointerObject<T> => {
      const callback = readAddress(address + BigInt(offset));
      if (callback !== 0n) return Deno.UnsafePointer.create<T>(callback)!;
      throw new DipcError(
        "invalid_data",
        `cannot import an ${name}: one of its callbacks is missing; the library that exported it is at fault`,
      );
    };
    this.#address = address;
    this.#owner = owner;
    const caller = (offset: number): (stream: bigint, out: bigint) => number | Promise<number> => {
      if (isBlocking) {
        const callback = new Deno.UnsafeFnPointer(pointer(offset), CALL);
        return (stream, out) => callback.call(stream, out);
      }
      const callback = new Deno.UnsafeFnPointer(pointer(offset), CALL_LATER);
      return (stream, out) => callback.call(stream, out);
    };
    this.#getSchema = caller(at.get_schema);
    this.#getNext = caller(at.get_next);
    this.#getLastError = new Deno.UnsafeFnPointer(pointer(at.get_last_error), TEXT);
  }

  /** Has the schema written to an address. @throws {DipcError} as {@linkcode next} */
  schema(out: bigint): void | Promise<void> {
    return this.#inTurn(() =>
      this.#checked(this.#getSchema(this.#address, out), "read the schema of an imported stream")
    );
  }

  /** Has the next array written to an address. @throws {DipcError} what the stream reports, with its errno and its text */
  next(out: bigint): void | Promise<void> {
    return this.#inTurn(() => this.#checked(this.#getNext(this.#address, out), "read an imported stream"));
  }

  #inTurn(call: () => void | Promise<void>): void | Promise<void> {
    return this.#owner === null ? call() : this.#owner.run(call);
  }

  #checked(status: number | Promise<number>, action: string): void | Promise<void> {
    if (typeof status !== "number") return status.then((status) => this.#check(status, action));
    this.#check(status, action);
  }

  #check(status: number, action: string): void {
    if (status === 0) return;
    const known = this.#owner?.errorOf(this.#address, action) ?? null;
    if (known !== null) throw known;
    throw foreignError(action, status, cStringAt(this.#getLastError.call(this.#address)));
  }
}

/**
 * The error that a library has reported.
 *
 * @param action What could not be done
 * @param status Its errno
 * @param message Its text, if it gave one
 * @param metadata What else it gave
 */
export function foreignError(
  action: string,
  status: number,
  message: string | null,
  metadata?: ReadonlyMap<string, string>,
): DipcError {
  const text = message ?? errnoText(status);
  return new LocalError(
    CODES[status] ?? "io",
    `cannot ${action}: ${printable(text, "escape")} (errno ${status}); see the library that exported it`,
    { foreign: { system: "errno", status, text, ...(metadata === undefined ? {} : { metadata }) } },
  );
}
