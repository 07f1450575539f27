/**
 * An ADBC driver that was initialised: its functions, called on other threads.
 *
 * @module
 */
import {
  ADBC_ERROR_FUNCTIONS,
  ADBC_FUNCTIONS,
  ADBC_LAYOUT,
  ADBC_VERSIONS,
  type AdbcFunctionName,
  type AdbcInit,
} from "../../ffi/adbc.ts";
import { callPointer } from "../../ffi/raw_memory.ts";
import { readAddress } from "../c_data/raw.ts";
import { LocalError } from "../errors.ts";
import { Arena, copyOf } from "../c_data/arena.ts";
import {
  adbcError,
  type AdbcFacts,
  type DetailFunctions,
  emptyAdbcError,
  readAdbcError,
  releaseAdbcError,
} from "./failure.ts";

const AT = ADBC_LAYOUT.AdbcDriver;
const NOT_IMPLEMENTED = 2;

/** A revision of ADBC. */
export type AdbcVersion = "1.1.0" | "1.0.0";

/** Any argument of a function of a driver. */
export type AdbcArgument = bigint | number;

type Call = (...args: AdbcArgument[]) => Promise<number>;

/** An initialised driver. Each database has its own. */
export class Driver {
  /** The newest revision of ADBC that it has. */
  readonly version: AdbcVersion;
  /** What was opened. */
  readonly path: string;
  readonly #arena: Arena;
  readonly #struct: bigint;
  readonly #calls = new Map<AdbcFunctionName, Call>();
  readonly #details: DetailFunctions | null;
  readonly #errorOfStream: ((stream: bigint, status: bigint) => bigint) | null;
  #isReleased = false;

  private constructor(path: string, version: AdbcVersion, arena: Arena, struct: bigint) {
    this.path = path;
    this.version = version;
    this.#arena = arena;
    this.#struct = struct;
    const [count, get, ofStream] = (["ErrorGetDetailCount", "ErrorGetDetail", "ErrorFromArrayStream"] as const).map((
      name,
    ) => this.#pointer(name));
    const { ErrorGetDetailCount, ErrorGetDetail, ErrorFromArrayStream } = ADBC_ERROR_FUNCTIONS;
    if (count === null || get === null) {
      this.#details = null;
    } else {
      const counter = new Deno.UnsafeFnPointer(
        count as Deno.PointerObject<typeof ErrorGetDetailCount>,
        ErrorGetDetailCount,
      );
      const getter = new Deno.UnsafeFnPointer(get as Deno.PointerObject<typeof ErrorGetDetail>, ErrorGetDetail);
      this.#details = {
        count: (error) => counter.call(error),
        get: (error, index) => getter.call(error, index),
      };
    }
    if (ofStream === null) {
      this.#errorOfStream = null;
    } else {
      const finder = new Deno.UnsafeFnPointer(
        ofStream as Deno.PointerObject<typeof ErrorFromArrayStream>,
        ErrorFromArrayStream,
      );
      this.#errorOfStream = (stream, status) => finder.call(stream, status);
    }
  }

  /**
   * Initialises a driver as the newest revision of ADBC that it knows.
   *
   * @param path What was opened
   * @param init Its entry point
   * @throws {DipcError} What the driver reports
   */
  static async start(path: string, init: AdbcInit): Promise<Driver> {
    const arena = new Arena();
    try {
      const struct = arena.zeros(AT.size);
      const newest = await initialise(init, "1.1.0", struct);
      if (newest === null) return new Driver(path, "1.1.0", arena, struct);
      const older = arena.zeros(AT.size);
      if (newest.status === NOT_IMPLEMENTED && await initialise(init, "1.0.0", older) === null) {
        return new Driver(path, "1.0.0", arena, older);
      }
      throw adbcError(`initialise the ADBC driver ${path}`, newest.status, newest.facts);
    } catch (error) {
      arena[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether the driver has a function. */
  has(name: AdbcFunctionName): boolean {
    return this.#pointer(name) !== null;
  }

  /**
   * Calls a function on another thread. The caller sees to it that no other call on the same connection runs, and that what the
   * arguments point to stays.
   *
   * @param name The function
   * @param action What it is called for, as it follows "cannot"
   * @param args Its arguments without that for the error
   * @throws {DipcError} `unsupported` if the driver does not have it; what it reports
   */
  async call(name: AdbcFunctionName, action: string, args: readonly AdbcArgument[]): Promise<void> {
    const call = this.#call(name, action);
    using arena = new Arena();
    const error = arena.bytes(emptyAdbcError(this.version !== "1.0.0"));
    const status = await call(...args, error);
    try {
      if (status !== 0) throw adbcError(action, status, readAdbcError(error, this.#details));
    } finally {
      releaseAdbcError(error);
    }
  }

  /**
   * The error of a stream that has just failed, if the driver knows more of it than the stream.
   *
   * @param stream Its address
   * @param action What it was called for, as it follows "cannot"
   */
  streamError(stream: bigint, action: string): LocalError | null {
    if (this.#errorOfStream === null) return null;
    using arena = new Arena();
    const status = arena.zeros(8);
    const error = this.#errorOfStream(stream, status);
    const number = copyOf(status, 1)[0];
    if (error === 0n || number === 0) return null;
    return adbcError(action, number, readAdbcError(error, this.#details));
  }

  /** Ends the driver. No database of it may be left. Idempotent. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    const release = readAddress(this.#struct + BigInt(AT.release));
    if (release !== 0n) {
      using arena = new Arena();
      const error = arena.bytes(emptyAdbcError(this.version !== "1.0.0"));
      callPointer(release, this.#struct, error);
      releaseAdbcError(error);
    }
    this.#arena[Symbol.dispose]();
  }

  #call(name: AdbcFunctionName, action: string): Call {
    const known = this.#calls.get(name);
    if (known !== undefined) return known;
    const pointer = this.#pointer(name);
    if (pointer === null) {
      throw new LocalError(
        "unsupported",
        `cannot ${action}: the driver ${this.path} does not have ${name}; it is one of ADBC ${this.version}`,
      );
    }
    const definition: Deno.ForeignFunction<readonly Deno.NativeType[], "u8", true> = {
      parameters: [...ADBC_FUNCTIONS[name], "usize"],
      result: "u8",
      nonblocking: true,
    };
    const callable = new Deno.UnsafeFnPointer(pointer as Deno.PointerObject<typeof definition>, definition);
    const call: Call = async (...args) => await callable.call(...args);
    this.#calls.set(name, call);
    return call;
  }

  /** What a driver of ADBC 1.0.0 may leave in the later fields has no meaning. */
  #pointer(name: AdbcFunctionName | keyof typeof ADBC_ERROR_FUNCTIONS): Deno.PointerValue {
    const isLater = AT[name] >= AT.ErrorGetDetailCount;
    if (isLater && this.version === "1.0.0") return null;
    return Deno.UnsafePointer.create(readAddress(this.#struct + BigInt(AT[name])));
  }
}

/** Calls the entry point. @returns `null` if it succeeded */
async function initialise(
  init: AdbcInit,
  version: AdbcVersion,
  struct: bigint,
): Promise<{ readonly status: number; readonly facts: AdbcFacts } | null> {
  using arena = new Arena();
  const error = arena.bytes(emptyAdbcError(version !== "1.0.0"));
  const status = await init(ADBC_VERSIONS[version], struct, error);
  try {
    return status === 0 ? null : { status, facts: readAdbcError(error, null) };
  } finally {
    releaseAdbcError(error);
  }
}
