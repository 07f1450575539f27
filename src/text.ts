/**
 * Small helpers for text that people read.
 *
 * @module
 */

/**
 * Characters that must not reach a terminal: control characters, and those that break lines or change the direction of the text around
 * them.
 */
// deno-lint-ignore no-control-regex -- these are what is looked for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Makes a text that a peer or a file chose safe to print: it cannot move the cursor, colour the terminal or reverse the
 * writing. Such characters become visible escapes such as `\u001b`.
 *
 * @param text Text to print
 * @param whitespace How line ends and tabs are shown: a space for a run of them, or `\n`, `\r` and `\t` for each
 */
export function printable(text: string, whitespace: "space" | "escape" = "space"): string {
  const line = whitespace === "space" ? text.replace(/[\r\n\t]+/g, " ") : text;
  return line.replace(UNSAFE, escaped);
}

function escaped(character: string): string {
  return SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The text of a thrown value: the message of an error, anything else converted. */
export function textOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return `a value of type ${typeof error}`; // such as an object without a prototype
  }
}

/** A number with its noun: `1 batch`, `2 batches`. */
export function plural(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
