/**
 * Checks of options: integers in a range and words from a list, rejected with the same sentence everywhere.
 *
 * @module
 */
import { DipcError } from "./errors.ts";

const MAX_UINT64 = 2n ** 64n - 1n;

/**
 * Returns `value` if it is an integer in a range.
 *
 * @param name Name of the option, as the caller spells it
 * @param value Value of the caller
 * @param min Smallest value
 * @param max Largest value, at most 2⁵³ − 1
 * @default max `Number.MAX_SAFE_INTEGER`
 * @throws {DipcError} `invalid_argument` for anything else
 */
export function integerIn(name: string, value: unknown, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
  if (isIntegerIn(value, min, max)) return value;
  throw new DipcError("invalid_argument", integerRefusal(name, value, min, max));
}

/** Whether a value is an integer from `min` to `max`. */
export function isIntegerIn(value: unknown, min: number, max: number = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
}

/**
 * Returns `value` if it is one of a few words.
 *
 * @param name Name of the option, as the caller spells it
 * @param value Value of the caller
 * @param choices The words, two or more
 * @throws {DipcError} `invalid_argument` for anything else
 */
export function oneOf<const T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new DipcError("invalid_argument", choiceRefusal(name, value, choices));
}

/** The sentence that rejects a value outside a range; for bigints, if the bounds are bigints. */
export function integerRefusal<T extends number | bigint>(name: string, value: unknown, min: T, max: T): string {
  const kind = typeof min === "bigint" ? "a bigint" : "an integer";
  return refusal(name, value, `${kind} from ${bound(min)} to ${bound(max)}`);
}

/** The sentence that rejects a word that is not in a list. */
export function choiceRefusal(name: string, value: unknown, choices: readonly string[]): string {
  const words = choices.map((choice) => `"${choice}"`);
  return refusal(name, value, `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);
}

/**
 * The sentence that rejects a value.
 *
 * @param name Name of the option, as the caller spells it
 * @param value Value of the caller; text is shown in quotation marks
 * @param expected What to give instead
 */
export function refusal(name: string, value: unknown, expected: string): string {
  return `cannot use ${name}: it is ${
    typeof value === "string" ? JSON.stringify(value) : shown(value)
  }; give ${expected}`;
}

function shown(value: unknown): string {
  try {
    return String(value);
  } catch {
    return typeof value;
  }
}

function bound(value: number | bigint): string {
  if (value === Number.MAX_SAFE_INTEGER) return "2^53 - 1";
  return value === MAX_UINT64 ? "2^64 - 1" : String(value);
}

/**
 * Checks that options are an object with known names only: one that is misspelt would otherwise change nothing.
 *
 * @param call The function that takes them, for the message
 * @param options Options of the caller
 * @param known Names of all options
 * @param prefix What the names follow, such as `"flight."`
 * @throws {DipcError} `invalid_argument`
 */
export function checkOptionNames(
  call: string,
  options: unknown,
  known: Readonly<Record<string, unknown>>,
  prefix = "",
): asserts options is object {
  const what = prefix === "" ? "options" : `option ${prefix.slice(0, -1)}`;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new DipcError("invalid_argument", `cannot use the ${what} of ${call}: ${shown(options)} is not an object`);
  }
  const unknown = Object.entries(options).find(([name, value]) => value !== undefined && !Object.hasOwn(known, name));
  if (unknown === undefined) return;
  throw new DipcError(
    "invalid_argument",
    `cannot use the option ${prefix}${unknown[0]}: ${call} has no such option; it has ${Object.keys(known)}`,
  );
}
