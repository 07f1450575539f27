/**
 * Names that a peer chose, in a form that is safe to print.
 *
 * @module
 */

/** Longest name shown, in UTF-16 code units. */
const LONGEST = 120;

/** Control characters, and those that change the direction of the text around them. */
// deno-lint-ignore no-control-regex -- these are what must not reach a terminal
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text without characters that steer a terminal, shortened where it is long. */
export function printable(text: string): string {
  return escapeUnsafe(shorten(text));
}

/** The same in quotation marks; those inside, and backslashes, are escaped. */
export function quoted(name: string): string {
  return `"${escapeUnsafe(shorten(name).replace(/[\\"]/g, "\\$&"))}"`;
}

function shorten(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function escapeUnsafe(text: string): string {
  return text.replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
