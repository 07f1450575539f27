/**
 * The limit on a line of text, named with the column and row that exceed it.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { LineTooLong, MAX_LINE_BYTES } from "./text/output.ts";

/** What V8 and Deno throw for a text that is longer than they allow. */
const TOO_LONG = /Invalid string length|buffer exceeds maximum length|Cannot create a string longer than/;

/** Whether an error is that of a text which is longer than the engine allows, or than a line may be. */
export function isTooLongForText(error: unknown): boolean {
  return error instanceof LineTooLong || (error instanceof Error && TOO_LONG.test(error.message));
}

/**
 * The error for a cell that could not be made into text.
 *
 * @param error What was thrown
 * @param column Name of the column
 * @param row Number of the row in the whole stream, from 0
 * @returns `limit_exceeded` if the line would be too long, otherwise the same error
 */
export function cellError(error: unknown, column: string, row: number): unknown {
  if (!isTooLongForText(error)) return error;
  return new DipcError(
    "limit_exceeded",
    `cannot write column "${column}", row ${row} (from 0) as text: with it the line has more than ` +
      `${MAX_LINE_BYTES / 2 ** 20} MiB, the most that fits into memory at once; write Arrow or Parquet instead`,
    { cause: error },
  );
}
