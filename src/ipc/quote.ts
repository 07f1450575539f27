/**
 * Makes names that a peer chose safe to print.
 *
 * @module
 */
import { printable } from "../text.ts";

/** Longest name shown, in UTF-16 code units. */
const LONGEST = 120;

/** Text with the characters that control a terminal escaped, shortened if it is long. */
export function shortText(text: string): string {
  return printable(shorten(text), "escape");
}

/** The same in quotation marks; those inside, and backslashes, are escaped. */
export function quoted(name: string): string {
  return `"${printable(shorten(name).replace(/[\\"]/g, "\\$&"), "escape")}"`;
}

function shorten(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
