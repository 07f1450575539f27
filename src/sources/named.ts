/**
 * Errors of reading a file or stream say which one it was.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";

/**
 * Calls a function whose errors do not know what they are about.
 *
 * @param name What is read, as messages name it: a path in quotes, `standard input`
 * @param read Reads it
 * @returns What the function returns
 * @throws {DipcError} what the function throws, with the name in its message
 */
export function named<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw withName(name, error);
  }
}

/**
 * An error that says what could not be read.
 *
 * @param name What is read, as messages name it
 * @param thrown What was thrown; the same value is returned if it has the name, or is not an error of dipc
 */
export function withName(name: string, thrown: unknown): unknown {
  if (!(thrown instanceof DipcError) || thrown.message.includes(name)) return thrown;
  const { code, message, cause, foreign, batches } = thrown;
  const why = message.replace(/^cannot read Arrow metadata: /, "");
  return new LocalError(code, `cannot read ${name}: ${why}`, { cause, foreign, batches });
}
