/**
 * Names that a peer chose, in a form that is safe to print.
 *
 * @module
 */
import { printable } from "../text.ts";

/** Longest name shown, in UTF-16 code units. */
const LONGEST = 120;

/** Text without characters that steer a terminal, shortened if it is long. */
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
