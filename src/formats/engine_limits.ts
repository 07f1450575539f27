/**
 * The limits of the JavaScript engine on a text, named with the column and row that exceed them.
 *
 * @module
 */
import { DipcError } from "../errors.ts";

/** Longest text of V8, in UTF-16 code units. */
const MAX_CHARACTERS = 2 ** 29 - 24;

/** What V8 and Deno throw for a text that is longer. */
const TOO_LONG = /Invalid string length|buffer exceeds maximum length|Cannot create a string longer than/;

/** Whether an error is that of a text which is longer than the engine allows. */
export function isTooLongForText(error: unknown): boolean {
  return error instanceof Error && TOO_LONG.test(error.message);
}

/**
 * The error for a cell that could not be made into text.
 *
 * @param error What was thrown
 * @param column Name of the column
 * @param row Number of the row in the whole stream, from 0
 * @returns `limit_exceeded` if the engine's limit is the reason, otherwise the same error
 */
export function cellError(error: unknown, column: string, row: number): unknown {
  if (!isTooLongForText(error)) return error;
  return new DipcError(
    "limit_exceeded",
    `cannot write column "${column}", row ${row} (from 0) as text: with it the line has more than ${MAX_CHARACTERS} ` +
      "characters, the most that the JavaScript engine allows; write Arrow or Parquet instead",
    { cause: error },
  );
}
