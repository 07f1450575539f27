/**
 * What a run answers, without what it is about: inputs that cause one answer are alike.
 *
 * @module
 */

/** A message without its numbers, its quotations and what follows a URI: what it says, not about what. */
export function shape(message: string): string {
  return message.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\b[a-z+]+:\/\/.*/is, "URI").replace(
    /-?[0-9][0-9a-fx.]*/g,
    "N",
  ).slice(0, 160);
}

const QUOTE = 0x22, BACKSLASH = 0x5c, COLON = 0x3a, SLASH = 0x2f, MINUS = 0x2d;

/**
 * A number that is the same for messages of one {@linkcode shape}, and nearly always another for others. It is many times
 * faster than the shape, which is needed only for the first message of each.
 *
 * @param kind Counts too, such as the code of an error
 */
export function shapeHash(kind: string, message: string): number {
  let hash = 0x811C9DC5;
  for (let i = 0; i < kind.length; i++) hash = Math.imul(hash ^ kind.charCodeAt(i), 0x01000193);
  for (let i = 0; i < message.length; i++) {
    const code = message.charCodeAt(i);
    if (code === QUOTE) {
      i = endOfQuotation(message, i);
    } else if (isDigit(code) || code === MINUS && isDigit(message.charCodeAt(i + 1))) {
      while (isPartOfNumber(message.charCodeAt(i + 1))) i++;
    } else if (code === COLON && message.charCodeAt(i + 1) === SLASH) {
      break;
    }
    hash = Math.imul(hash ^ (isDigit(code) ? MINUS : code), 0x01000193);
  }
  return hash >>> 0;
}

/** Index of the mark that ends a quotation; that of its start if none does. */
function endOfQuotation(message: string, start: number): number {
  for (let i = start + 1; i < message.length; i++) {
    const code = message.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i;
  }
  return start;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Digits, also hexadecimal ones, and a point. */
function isPartOfNumber(code: number): boolean {
  return isDigit(code) || code >= 0x61 && code <= 0x66 || code === 0x78 || code === 0x2e;
}
