/**
 * Options of databases, connections and statements: texts, bytes, integers and doubles.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { readAddress } from "../c_data/raw.ts";
import { Arena, copyOf } from "../c_data/arena.ts";
import type { Handle } from "./handle.ts";

/** Value of an option. A boolean is the text `"true"` or `"false"`. */
export type AdbcOptionValue = string | boolean | number | bigint | Uint8Array;

/** Options by name, such as `{ uri: "postgresql://localhost/flights" }`. `undefined` is left out. */
export type AdbcOptions = Readonly<Record<string, AdbcOptionValue | undefined>>;

/** The types of options in ADBC. */
export type AdbcOptionType = "string" | "bytes" | "int" | "double";

/** What an option of each type is in JavaScript. */
export interface AdbcOptionTypes {
  /** Text. */
  readonly string: string;
  /** Bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** A 64-bit integer. */
  readonly int: bigint;
  /** A double. */
  readonly double: number;
}

/** Bytes of room for a value before its size is known. */
const ROOM = 1024;
/** The largest value that is read, in bytes. */
const MAX_BYTES = 2 ** 30;
const MIN_INT64 = -(2n ** 63n), MAX_INT64 = 2n ** 63n - 1n;

/**
 * Sets an option.
 *
 * @param type The type that it is sent as; default: text for texts and booleans, int for integers, double for other numbers
 * @throws {DipcError} `invalid_argument`; what the driver reports
 */
export async function setOption(
  handle: Handle,
  name: string,
  value: AdbcOptionValue,
  type: AdbcOptionType = typeOf(value),
): Promise<void> {
  const action = `set the option ${JSON.stringify(name)}`;
  using arena = new Arena();
  const key = arena.text("the name of an option", name);
  // Before ADBC 1.1.0 there was only text.
  const sent = type !== "bytes" && handle.driver.version === "1.0.0" ? "string" : type;
  switch (sent) {
    case "string":
      return await handle.call(handle.name("SetOption"), action, [
        key,
        arena.text(`the option ${name}`, String(value)),
      ]);
    case "bytes": {
      const bytes = value instanceof Uint8Array ? value : new TextEncoder().encode(String(value));
      const size = BigInt(bytes.byteLength);
      return await handle.call(handle.name("SetOptionBytes"), action, [key, arena.bytes(bytes), size]);
    }
    case "int":
      return await handle.call(handle.name("SetOptionInt"), action, [key, int64(name, value)]);
    case "double":
      return await handle.call(handle.name("SetOptionDouble"), action, [key, Number(value)]);
  }
}

/** Sets options in their order. */
export async function setOptions(handle: Handle, options: AdbcOptions): Promise<void> {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) await setOption(handle, name, value);
  }
}

/**
 * Reads an option.
 *
 * @throws {DipcError} `not_found` if the driver does not know it, `unsupported` if it is one of ADBC 1.0.0
 */
export async function getOption<T extends AdbcOptionType>(
  handle: Handle,
  name: string,
  type: T,
): Promise<AdbcOptionTypes[T]> {
  const action = `read the option ${JSON.stringify(name)}`;
  using arena = new Arena();
  const key = arena.text("the name of an option", name);
  const read = async (): Promise<AdbcOptionTypes[AdbcOptionType]> => {
    if (type === "string" || type === "bytes") return await getBytes(handle, key, action, type);
    const out = arena.zeros(8);
    await handle.call(handle.name(type === "int" ? "GetOptionInt" : "GetOptionDouble"), action, [key, out]);
    const view = new DataView(copyOf(out, 8).buffer);
    return type === "int" ? view.getBigInt64(0, true) : view.getFloat64(0, true);
  };
  return await read() as AdbcOptionTypes[T];
}

async function getBytes(
  handle: Handle,
  key: bigint,
  action: string,
  type: "string" | "bytes",
): Promise<string | Uint8Array<ArrayBuffer>> {
  const name = handle.name(type === "string" ? "GetOption" : "GetOptionBytes");
  for (let room = ROOM;;) {
    using arena = new Arena();
    const value = arena.zeros(room);
    const length = arena.words([BigInt(room)]);
    await handle.call(name, action, [key, value, length]);
    const size = readAddress(length);
    if (size <= BigInt(room)) {
      const bytes = copyOf(value, Number(size));
      return type === "bytes" ? bytes : new TextDecoder().decode(bytes).replace(/\0$/, "");
    }
    if (size > BigInt(MAX_BYTES)) throw new DipcError("limit_exceeded", `cannot ${action}: it has ${size} bytes`);
    room = Number(size);
  }
}

function typeOf(value: AdbcOptionValue): AdbcOptionType {
  if (value instanceof Uint8Array) return "bytes";
  if (typeof value === "bigint" || Number.isSafeInteger(value)) return "int";
  return typeof value === "number" ? "double" : "string";
}

function int64(name: string, value: AdbcOptionValue): bigint {
  const integer = typeof value === "bigint"
    ? value
    : Number.isSafeInteger(Number(value))
    ? BigInt(Number(value))
    : null;
  if (integer !== null && integer >= MIN_INT64 && integer <= MAX_INT64) return integer;
  throw new DipcError(
    "invalid_argument",
    `cannot set the option ${JSON.stringify(name)}: ${String(value)} is not an integer of 64 bits`,
  );
}
