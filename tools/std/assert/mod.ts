/**
 * Local stand-in for the part of `jsr:@std/assert` that the tests use, over `node:assert`, so that the tests run where
 * the JSR registry cannot be reached. Same names, same signatures, same meaning; remove the `links` entry of
 * `deno.json` to use the real package.
 *
 * @module
 */
import nodeAssert from "node:assert";
import { inspect } from "node:util";

/** Thrown when an assertion does not hold. */
export class AssertionError extends Error {
  /** @param message What did not hold */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

// deno-lint-ignore no-explicit-any
type AnyConstructor = new (...args: any[]) => any;

function show(value: unknown): string {
  return inspect(value, { depth: 8, maxArrayLength: 40, breakLength: 100, sorted: true });
}

function failed(what: string, msg?: string): AssertionError {
  return new AssertionError(msg === undefined ? what : `${what}: ${msg}`);
}

function deepEqual(actual: unknown, expected: unknown): boolean {
  try {
    nodeAssert.deepStrictEqual(actual, expected);
    return true;
  } catch {
    return false;
  }
}

/** Asserts that `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Fails. */
export function fail(msg?: string): never {
  throw new AssertionError(`Failed assertion${msg ? `: ${msg}` : "."}`);
}

/** Asserts deep, strict equality. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (deepEqual(actual, expected)) return;
  throw failed(`Values are not equal\nactual:   ${show(actual)}\nexpected: ${show(expected)}\n`, msg);
}

/** Asserts that two values are not deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!deepEqual(actual, expected)) return;
  throw failed(`Expected values to differ, both are ${show(actual)}`, msg);
}

/** Asserts `Object.is(actual, expected)`. */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  if (Object.is(actual, expected)) return;
  throw failed(`Values are not strictly equal\nactual:   ${show(actual)}\nexpected: ${show(expected)}\n`, msg);
}

/** Asserts that a value is neither `null` nor `undefined`. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual !== undefined && actual !== null) return;
  throw failed(`Expected a value, got ${actual}`, msg);
}

/** Asserts that a value is an instance of a class. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  throw failed(`Expected an instance of ${expectedType.name}, got ${show(actual)}`, msg || undefined);
}

/** Asserts that a text contains another. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (actual.includes(expected)) return;
  throw failed(`Expected ${show(actual)} to contain ${show(expected)}`, msg);
}

/** Asserts that a text matches an expression. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  // A global or sticky expression keeps its place between calls; a fresh one does not.
  if (new RegExp(expected.source, expected.flags.replace(/[gy]/g, "")).test(actual)) return;
  throw failed(`Expected ${show(actual)} to match ${expected}`, msg);
}

/** Asserts `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (actual > expected) return;
  throw failed(`Expected ${show(actual)} > ${show(expected)}`, msg);
}

/** Asserts `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (actual < expected) return;
  throw failed(`Expected ${show(actual)} < ${show(expected)}`, msg);
}

function checkError<E extends Error>(
  error: unknown,
  // deno-lint-ignore no-explicit-any
  ErrorClass?: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) throw failed(`Expected an Error to be thrown, got ${show(error)}`, msg);
  if (ErrorClass !== undefined && !(error instanceof ErrorClass)) {
    const { name } = ErrorClass as unknown as { name: string };
    throw failed(`Expected error to be instance of ${name}, got ${error.constructor.name}: ${error.message}`, msg);
  }
  if (msgIncludes !== undefined && !error.message.includes(msgIncludes)) {
    throw failed(`Expected error message to include ${show(msgIncludes)}, got ${show(error.message)}`, msg);
  }
}

/** Asserts that a function throws, and returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that a function throws an error of a class, and returns it. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  // deno-lint-ignore no-explicit-any
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  // deno-lint-ignore no-explicit-any
  classOrMsg?: (abstract new (...args: any[]) => E) | string,
  msgIncludes?: string,
  msg?: string,
): E | Error | unknown {
  const note = typeof classOrMsg === "string" ? classOrMsg : msg;
  let threw = false;
  let error: unknown;
  try {
    fn();
  } catch (thrown) {
    threw = true;
    error = thrown;
  }
  if (!threw) throw failed("Expected function to throw", note);
  if (typeof classOrMsg === "function") checkError(error, classOrMsg, msgIncludes, note);
  return error;
}

/** Asserts that a promise rejects, and returns what it rejected with. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** Asserts that a promise rejects with an error of a class, and returns it. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  // deno-lint-ignore no-explicit-any
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  // deno-lint-ignore no-explicit-any
  classOrMsg?: (abstract new (...args: any[]) => E) | string,
  msgIncludes?: string,
  msg?: string,
): Promise<E | Error | unknown> {
  const note = typeof classOrMsg === "string" ? classOrMsg : msg;
  let isPromise = false;
  let rejected = false;
  let error: unknown;
  try {
    const result = fn();
    isPromise = typeof result?.then === "function";
    await result;
  } catch (thrown) {
    rejected = true;
    error = thrown;
  }
  // A function that throws before it returns a promise is a defect that `await` would hide.
  if (!isPromise) throw failed("Expected function to return a promise", note);
  if (!rejected) throw failed("Expected function to reject", note);
  if (typeof classOrMsg === "function") checkError(error, classOrMsg, msgIncludes, note);
  return error;
}
