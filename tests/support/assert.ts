/**
 * The one assertion about dipc's errors that all tests share.
 *
 * @module
 */
import { assertEquals, assertInstanceOf, assertMatch, assertStringIncludes, fail } from "@std/assert";
import { DipcError, type DipcErrorCode } from "../../src/errors.ts";

/**
 * Expects that a function fails with a {@linkcode DipcError}.
 *
 * @param code The error's code
 * @param text What its message contains or matches; `""` when only the code matters
 * @param act What must fail. If it returns a promise, the promise must reject and has to be awaited here
 * @param about Which of several cases this is, shown when the expectation fails
 * @returns the error
 */
export function assertDipcError(
  code: DipcErrorCode,
  text: string | RegExp,
  act: () => PromiseLike<unknown>,
  about?: string,
): Promise<DipcError>;
export function assertDipcError(
  code: DipcErrorCode,
  text: string | RegExp,
  act: () => unknown,
  about?: string,
): DipcError;
export function assertDipcError(
  code: DipcErrorCode,
  text: string | RegExp,
  act: () => unknown,
  about = "",
): DipcError | Promise<DipcError> {
  const check = (error: unknown): DipcError => {
    assertInstanceOf(error, DipcError, about);
    assertEquals(error.code, code, `${about} ${error.message}`.trim());
    if (typeof text === "string") assertStringIncludes(error.message, text, about);
    else assertMatch(error.message, text, about);
    return error;
  };
  let result: unknown;
  try {
    result = act();
  } catch (error) {
    return check(error);
  }
  const succeeded = (): never => fail(`expected the error "${code}", found none ${about}`.trim());
  return isPromise(result) ? Promise.resolve(result).then(succeeded, check) : succeeded();
}

function isPromise(result: unknown): result is PromiseLike<unknown> {
  return typeof (result as PromiseLike<unknown> | null | undefined)?.then === "function";
}
