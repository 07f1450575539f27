/**
 * The header fields of requests and answers: what RFC 9113, section 8, allows in them.
 *
 * @module
 */
import type { HeaderField } from "./static_table.ts";

/** A request's headers. */
export interface RequestHeaders {
  /** `:method`. */
  method: string;
  /** `:path`. */
  path: string;
  /** `:authority`, or the header `host`: how the client addressed the server; empty if it did not say. */
  authority: string;
  /** Every other field. */
  headers: Headers;
  /** Size of the body in bytes if the client announces it, otherwise `null`. */
  contentLength: number | null;
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// deno-lint-ignore no-control-regex
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/;
const BAD_VALUES = new RegExp(BAD_VALUE, "g");
const PSEUDO = new Set([":method", ":scheme", ":authority", ":path"]);
/** Maximum number of headers of one request: each costs more than its text. */
const MAX_FIELDS = 256;
/** Headers that only mean something to a connection of HTTP/1.1. */
const FORBIDDEN = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
/** Headers that have one value: repetitions are ignored. */
const SINGLE = new Set(["authorization", "content-type", "content-length", "host", "user-agent"]);

/**
 * Reads the fields of a request.
 *
 * @param fields Decoded fields, in their order
 * @returns The request, or what is wrong with it
 */
export function readRequest(fields: readonly HeaderField[]): RequestHeaders | string {
  const pseudo = new Map<string, string>();
  const headers = new Headers();
  const cookies: string[] = [];
  let hasRegular = false;
  if (fields.length > MAX_FIELDS) return `it has ${fields.length} headers, at most ${MAX_FIELDS} are accepted`;
  for (const [name, value] of fields) {
    if (BAD_VALUE.test(value) || value !== value.trim()) {
      return `the value of ${JSON.stringify(name)} has characters that are not allowed`;
    }
    if (name.startsWith(":")) {
      if (hasRegular || !PSEUDO.has(name) || pseudo.has(name)) return `${JSON.stringify(name)} is out of place`;
      pseudo.set(name, value);
      continue;
    }
    hasRegular = true;
    const error = nameError(name, value);
    if (error !== null) return error;
    if (name === "cookie") cookies.push(value);
    else if (!SINGLE.has(name) || !headers.has(name)) headers.append(name, value);
  }
  if (cookies.length > 0) headers.set("cookie", cookies.join("; "));
  const method = pseudo.get(":method");
  const path = pseudo.get(":path");
  if (method === undefined || !path || !pseudo.has(":scheme")) return "the method, scheme or path is missing";
  const length = headers.get("content-length");
  if (length !== null && !/^\d{1,15}$/.test(length)) return "its content-length is not a number";
  const authority = pseudo.get(":authority") ?? headers.get("host") ?? "";
  return { method, path, authority, headers, contentLength: length === null ? null : Number(length) };
}

/**
 * Reads the status of an answer, and checks its other fields.
 *
 * @param fields Decoded fields, in their order
 * @returns The status, or what is wrong with the fields
 */
export function readStatus(fields: readonly HeaderField[]): number | string {
  const [first, ...rest] = fields;
  if (first === undefined || first[0] !== ":status" || !/^[1-9]\d\d$/.test(first[1])) {
    return "its first header is not a status of three digits";
  }
  return fieldsError(rest) ?? Number(first[1]);
}

/**
 * Makes headers of fields that have been checked.
 *
 * @param fields Without pseudo-header fields
 */
export function headersOf(fields: readonly HeaderField[]): Headers {
  const headers = new Headers();
  for (const [name, value] of fields) headers.append(name, value);
  return headers;
}

/**
 * Percent-encodes the characters of some fields that no header can hold.
 *
 * @param fields Decoded fields, in their order
 * @param names Names of those fields
 */
export function withPlainText(fields: readonly HeaderField[], names: ReadonlySet<string>): readonly HeaderField[] {
  if (!fields.some(([name, value]) => names.has(name) && BAD_VALUE.test(value))) return fields;
  return fields.map(([name, value]) => [name, names.has(name) ? value.replace(BAD_VALUES, percent) : value]);
}

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/**
 * Checks fields other than pseudo-header fields. Space around a value is accepted, against RFC 9113, section 8.2.1, because
 * servers of gRPC leave it in their messages.
 *
 * @param fields Decoded fields, in their order
 * @returns What is wrong with them, or `null`
 */
export function fieldsError(fields: readonly HeaderField[]): string | null {
  for (const [name, value] of fields) {
    const error = nameError(name, value);
    if (error !== null) return error;
    if (BAD_VALUE.test(value)) return `the value of ${JSON.stringify(name)} has characters that are not allowed`;
  }
  return null;
}

function nameError(name: string, value: string): string | null {
  if (!NAME.test(name)) return `${JSON.stringify(name)} is not the name of a header`;
  if (FORBIDDEN.has(name) || (name === "te" && value !== "trailers")) return `${name} is not allowed in HTTP/2`;
  return null;
}
