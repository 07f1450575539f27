/**
 * The request that starts a transfer (the body of a `want_data` message), and the error message a server may answer with.
 *
 * A request is either the bare ticket, as in the published protocol, or an envelope, which is sent only to a server whose
 * URI has `dipc=1`: `44 49 50 43 01`, u16 flags, u32 ticket length, ticket, then entries (u16 type, u32 length, bytes)
 * that a server skips if it does not know them. All numbers are little-endian.
 *
 * @module
 */
import { DipcError, type DipcErrorCode, LocalError } from "../errors.ts";
import { integerIn } from "../options.ts";
import { printable } from "../text.ts";
import { PREFIX_BYTES } from "./prefix.ts";

/** Flag: send me error messages. */
export const REQUEST_ERRORS = 1;
/** Flag: no type-1 bodies (lists of addresses). */
export const REQUEST_NO_ADDRESSES = 4;
/** Flag: I may send another request on this connection, so keep it after the stream. Only to a server whose URI has `keep=1`. */
export const REQUEST_KEEP = 8;
/**
 * Flag: no request, but the end of the one before: the server sends no more of its stream than is under way, and ends it with an
 * error message `cancelled`. The ticket is empty. After the end of that stream it means nothing.
 */
export const REQUEST_STOP = 16;

/** Type of the request entry that is the W3C `traceparent` of the stream, in ASCII. */
export const TRACE_ENTRY = 2;
/** Longest `traceparent` that is read; version 00 has 55 characters. */
const MAX_TRACEPARENT_BYTES = 128;

/** The `traceparent` of a request; `undefined` if there is none. */
export function traceparentOf(entries: readonly RequestEntry[]): string | undefined {
  const bytes = entries.find(({ type }) => type === TRACE_ENTRY)?.bytes;
  return bytes === undefined || bytes.byteLength > MAX_TRACEPARENT_BYTES ? undefined : String.fromCharCode(...bytes);
}

/** First bytes of an envelope: `DIPC` and the version, 1. */
const ENVELOPE_MAGIC: readonly number[] = [0x44, 0x49, 0x50, 0x43, 0x01];

/** Bytes of an envelope before the ticket: magic, flags, ticket length. */
const HEAD_BYTES = 5 + 2 + 4;
/** Bytes of an entry before its content. */
const ENTRY_BYTES = 2 + 4;

/** Largest error message after its prefix, in bytes. */
export const MAX_ERROR_BYTES = 4096;

/** Something in an envelope after the ticket. */
export interface RequestEntry {
  /** u16 */
  readonly type: number;
  /** Content of the entry, opaque to servers that do not know its type. */
  readonly bytes: Uint8Array;
}

/** What a client requests. */
export interface Request {
  /** The opaque stream identifier. */
  readonly ticket: Uint8Array;
  /** Flags of the envelope, u16; 0 for a bare ticket. Unknown ones are kept. */
  readonly flags: number;
  /** True if it came in an envelope. */
  readonly enveloped: boolean;
  /** Entries in order; empty for a bare ticket. */
  readonly entries: readonly RequestEntry[];
}

/** Limits of {@linkcode parseRequest}. */
export interface RequestLimits {
  /**
   * Largest request as a whole, in bytes.
   *
   * @default 65536
   */
  maxRequestBytes?: number;
  /**
   * Most entries after the ticket.
   *
   * @default 64
   */
  maxEntries?: number;
}

/** Default of {@linkcode RequestLimits}: largest request in bytes. */
export const MAX_REQUEST_BYTES = 65536;
/** Default of {@linkcode RequestLimits}: most entries. */
const MAX_REQUEST_ENTRIES = 64;

/**
 * Encodes a request envelope.
 *
 * @param ticket The opaque stream identifier
 * @param flags Sum of `REQUEST_…` flags, u16
 * @param entries Further content
 * @throws {DipcError} `invalid_argument` if a number is out of range
 */
export function encodeRequest(
  ticket: Uint8Array,
  flags: number,
  entries: readonly RequestEntry[] = [],
): Uint8Array<ArrayBuffer> {
  integerIn("request flags", flags, 0, 65535);
  let total = HEAD_BYTES + ticket.byteLength;
  for (const entry of entries) {
    integerIn("a request entry's type", entry.type, 0, 65535);
    total += ENTRY_BYTES + entry.bytes.byteLength;
  }
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  bytes.set(ENVELOPE_MAGIC);
  view.setUint16(5, flags, true);
  view.setUint32(7, ticket.byteLength, true);
  bytes.set(ticket, HEAD_BYTES);
  let at = HEAD_BYTES + ticket.byteLength;
  for (const entry of entries) {
    view.setUint16(at, entry.type, true);
    view.setUint32(at + 2, entry.bytes.byteLength, true);
    bytes.set(entry.bytes, at + ENTRY_BYTES);
    at += ENTRY_BYTES + entry.bytes.byteLength;
  }
  return bytes;
}

/** Encodes the request to send no more of the stream that is running. */
export function encodeStop(): Uint8Array<ArrayBuffer> {
  return encodeRequest(new Uint8Array(0), REQUEST_ERRORS | REQUEST_KEEP | REQUEST_STOP);
}

/**
 * Whether a server's error message is the end of a stream that it was asked to stop.
 *
 * @param frame The whole frame, prefix and content
 * @throws {DipcError} what the server says instead
 */
export function isEndOfStopped(frame: Uint8Array): boolean {
  const error = parseError(frame.subarray(PREFIX_BYTES));
  if (error.code !== "cancelled") throw peerError(error);
  return true;
}

/** True if `bytes` start like an envelope. */
function isEnvelope(bytes: Uint8Array): boolean {
  for (let i = 0; i < ENVELOPE_MAGIC.length; i++) if (bytes[i] !== ENVELOPE_MAGIC[i]) return false;
  return true;
}

/**
 * Parses a request. Bytes that do not start like an envelope are a bare ticket.
 *
 * @param bytes The content of the `want_data` message; the result holds copies
 * @throws {DipcError} `limit_exceeded` if it is too large, `protocol` if an envelope does not hold what it declares
 */
export function parseRequest(bytes: Uint8Array, limits: RequestLimits = {}): Request {
  const { maxRequestBytes = MAX_REQUEST_BYTES, maxEntries = MAX_REQUEST_ENTRIES } = limits;
  const total = bytes.byteLength;
  if (total > maxRequestBytes) {
    throw new DipcError(
      "limit_exceeded",
      `cannot read a request: at most ${maxRequestBytes} bytes are allowed, found ${total}`,
    );
  }
  if (!isEnvelope(bytes)) return { ticket: bytes.slice(), flags: 0, enveloped: false, entries: [] };
  if (total < HEAD_BYTES) {
    throw new DipcError(
      "protocol",
      `cannot read a request envelope: expected at least ${HEAD_BYTES} bytes, found ${total}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, total);
  const flags = view.getUint16(5, true);
  const ticketBytes = view.getUint32(7, true);
  if (ticketBytes > total - HEAD_BYTES) {
    throw new DipcError(
      "protocol",
      `cannot read a request envelope: it declares a ticket of ${ticketBytes} bytes, but ${total - HEAD_BYTES} follow`,
    );
  }
  const ticket = bytes.slice(HEAD_BYTES, HEAD_BYTES + ticketBytes);
  const entries: RequestEntry[] = [];
  let at = HEAD_BYTES + ticketBytes;
  while (at < total) {
    if (entries.length === maxEntries) {
      throw new DipcError(
        "limit_exceeded",
        `cannot read a request envelope: at most ${maxEntries} entries are allowed`,
      );
    }
    if (total - at < ENTRY_BYTES) {
      throw new DipcError(
        "protocol",
        `cannot read entry ${entries.length} of a request envelope: expected ${ENTRY_BYTES} bytes, found ${total - at}`,
      );
    }
    const type = view.getUint16(at, true);
    const length = view.getUint32(at + 2, true);
    at += ENTRY_BYTES;
    if (length > total - at) {
      throw new DipcError(
        "protocol",
        `cannot read entry ${entries.length} of a request envelope: it declares ${length} bytes, but ${
          total - at
        } follow`,
      );
    }
    entries.push({ type, bytes: bytes.slice(at, at + length) });
    at += length;
  }
  return { ticket, flags, enveloped: true, entries };
}

/** What an error message says besides code and text. */
export interface ErrorFacts {
  /**
   * `"refused"`: nothing was done for the request, so that it can be made elsewhere. `"empty"`: the stream is complete, but has neither
   * rows nor a schema.
   */
  readonly outcome?: "refused" | "empty";
  /** The status of gRPC that the error has by Flight: what produces the data has answered with it. */
  readonly status?: number;
}

/** Content of a server's error message. */
export interface PeerError extends ErrorFacts {
  /** A code of {@linkcode DipcErrorCode}, or a newer one. */
  readonly code: string;
  /** The server's own text, without control characters. */
  readonly message: string;
}

/** Largest status of gRPC that is passed on, those of later versions included. */
const MAX_STATUS = 999;

// A record, so that the compiler notices a code that is missing here.
const KNOWN_CODES: Record<DipcErrorCode, true> = {
  invalid_argument: true,
  invalid_uri: true,
  not_found: true,
  permission_denied: true,
  library_not_found: true,
  unreachable: true,
  connection_lost: true,
  timeout: true,
  cancelled: true,
  protocol: true,
  invalid_data: true,
  limit_exceeded: true,
  unsupported: true,
  busy: true,
  out_of_memory: true,
  io: true,
  closed: true,
  ucx: true,
  cuda: true,
  adbc: true,
  duckdb: true,
  flight: true,
  internal: true,
};

/**
 * Encodes the content of an error message: JSON of at most {@linkcode MAX_ERROR_BYTES} bytes; a longer text is cut.
 *
 * @param code Error code, at most 64 characters
 * @param message The reason, for people
 * @param facts What else is known
 */
export function encodeError(code: DipcErrorCode, message: string, facts: ErrorFacts = {}): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const complete = encoder.encode(JSON.stringify({ code, message, ...facts }));
  if (complete.byteLength <= MAX_ERROR_BYTES) return complete;
  // Escapes and multi-byte characters make the size depend on the text: find the longest start that fits.
  const characters = Array.from(message.slice(0, MAX_ERROR_BYTES));
  let low = 0, high = characters.length;
  const build = (n: number) =>
    encoder.encode(JSON.stringify({ code, message: characters.slice(0, n).join("") + "…", ...facts }));
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (build(middle).byteLength <= MAX_ERROR_BYTES) low = middle;
    else high = middle - 1;
  }
  return build(low);
}

/**
 * Reads the content of an error message.
 *
 * @param bytes What follows the prefix
 * @param maxBytes Most bytes accepted
 * @throws {DipcError} `protocol` if it is too long or not `{"code": string, "message": string}` in UTF-8
 */
export function parseError(bytes: Uint8Array, maxBytes: number = MAX_ERROR_BYTES): PeerError {
  if (bytes.byteLength > maxBytes) {
    throw new DipcError(
      "protocol",
      `cannot read the server's error message: at most ${maxBytes} bytes are allowed, found ${bytes.byteLength}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new DipcError("protocol", "cannot read the server's error message: it is not JSON in UTF-8", { cause });
  }
  const { code, message, outcome, status } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  if (typeof code !== "string" || typeof message !== "string") {
    throw new DipcError("protocol", "cannot read the server's error message: it has no code and message");
  }
  // A peer's text ends up on terminals.
  return {
    ...{ code: printable(code).slice(0, 64), message: printable(message) },
    ...outcome === "refused" || outcome === "empty" ? { outcome } : {},
    ...Number.isInteger(status) && status as number > 0 && status as number <= MAX_STATUS
      ? { status: status as number }
      : {},
  };
}

/** What a server has answered instead of the stream: it was reached, and says why there is none. */
export class AnswerError extends LocalError {
  /** As in {@linkcode ErrorFacts}; `null` if the server does not say. */
  readonly outcome: "refused" | "empty" | null;

  /** @param error The server's error message */
  constructor({ code, message, outcome, status }: PeerError) {
    const isKnown = Object.hasOwn(KNOWN_CODES, code);
    const how = isKnown ? "" : ` with the unknown error code "${code}"`;
    super(
      isKnown ? code as DipcErrorCode : "protocol",
      `cannot receive the stream: the server answered${how}: ${message}`,
      status === undefined ? {} : { foreign: { system: "grpc", status, text: message } },
    );
    this.outcome = outcome ?? null;
  }
}

/** The error that a client throws for a server's error message. A code it does not know becomes `protocol`. */
export function peerError(error: PeerError): DipcError {
  return new AnswerError(error);
}
