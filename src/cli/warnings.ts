/**
 * What looks wrong with the data that a command reads, although it is not an error.
 *
 * @module
 */
import { printable } from "../text.ts";
import { printError } from "./output.ts";

/** The warnings of one command. */
export class Warnings {
  /** Each of them, in order; the `warnings` of the JSON object of a command. */
  readonly texts: string[] = [];

  /** Keeps a warning; one that repeats itself is kept once. */
  readonly onWarning = (warning: string): void => {
    if (!this.texts.includes(warning)) this.texts.push(warning);
  };

  /** Writes them to standard error. */
  async print(): Promise<void> {
    for (const text of this.texts) await printError(warningLine(text));
  }
}

/** The line on standard error: `warning: what, why`. */
export function warningLine(text: string): string {
  return `warning: ${printable(text)}\n`;
}
