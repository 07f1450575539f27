/**
 * The two messages by which a client gets a server's shared memory over a Unix socket: its hello, and the server's answer.
 *
 * Hello: `44 49 50 53 01 00 00 00` (`DIPS`, the version, zeros), nonce (16 bytes), u32 length of the ticket, ticket.
 * Answer: the same 8 bytes, but the sixth is 0 if the client may have the memory, and 1 if not. Then either u64 generation, u64 base
 * address of the memory in the server, u64 its size in bytes, with one descriptor beside the message; or JSON `{"code","message"}`.
 * All numbers are little-endian.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import { MAX_ERROR_BYTES, parseError, type PeerError } from "./envelope.ts";

const MAGIC = Uint8Array.of(0x44, 0x49, 0x50, 0x53, 1);
const HEAD_BYTES = 8, STATUS_AT = 5;
/** Bytes of the nonce that names a client's session. */
export const NONCE_BYTES = 16;
const TICKET_AT = HEAD_BYTES + NONCE_BYTES + 4;
const REGION_BYTES = HEAD_BYTES + 24;

/** Longest ticket of a hello, in bytes. */
const MAX_SHARE_TICKET = 65536;
/** Longest hello, in bytes. */
export const MAX_HELLO_BYTES: number = TICKET_AT + MAX_SHARE_TICKET;
/** Longest answer, in bytes. */
export const MAX_ANSWER_BYTES: number = HEAD_BYTES + MAX_ERROR_BYTES;
/** Type of the entry of a request that holds the nonce of a client's session: the client takes bodies of type 1 from its memory. */
export const SHARE_ENTRY = 1;

/** What a client says first. */
export interface ShareHello {
  /** Names the session: random, and in the request by UCX too. */
  readonly nonce: Uint8Array;
  /** The ticket of the stream. */
  readonly ticket: Uint8Array;
}

/** Encodes a hello. @throws {DipcError} `invalid_argument` if the ticket is too long */
export function encodeHello({ nonce, ticket }: ShareHello): Uint8Array<ArrayBuffer> {
  if (nonce.byteLength !== NONCE_BYTES || ticket.byteLength > MAX_SHARE_TICKET) {
    throw new DipcError(
      "invalid_argument",
      `cannot request shared memory: the ticket has ${ticket.byteLength} bytes, at most ${MAX_SHARE_TICKET} are allowed`,
    );
  }
  const bytes = new Uint8Array(TICKET_AT + ticket.byteLength);
  bytes.set(MAGIC);
  bytes.set(nonce, HEAD_BYTES);
  new DataView(bytes.buffer).setUint32(HEAD_BYTES + NONCE_BYTES, ticket.byteLength, true);
  bytes.set(ticket, TICKET_AT);
  return bytes;
}

/** Reads a hello; the result holds copies. @throws {DipcError} `protocol` */
export function parseHello(bytes: Uint8Array): ShareHello {
  checkHead(bytes, "hello", TICKET_AT);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(HEAD_BYTES + NONCE_BYTES, true);
  if (length !== bytes.byteLength - TICKET_AT) {
    throw new DipcError(
      "protocol",
      `cannot read a hello: it declares a ticket of ${length} bytes, but ${bytes.byteLength - TICKET_AT} follow`,
    );
  }
  return { nonce: bytes.slice(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES), ticket: bytes.slice(TICKET_AT) };
}

/** The memory that a client gets. */
export interface SharedMemoryFacts {
  /** Differs for every memory of a server. */
  readonly generation: bigint;
  /** Its address in the server: the addresses of lists count from there. */
  readonly base: bigint;
  /** Its size in bytes. */
  readonly byteLength: number;
}

/** Encodes the answer that goes with the descriptor. */
export function encodeGranted({ generation, base, byteLength }: SharedMemoryFacts): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(REGION_BYTES);
  bytes.set(MAGIC);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(HEAD_BYTES, generation, true);
  view.setBigUint64(HEAD_BYTES + 8, base, true);
  view.setBigUint64(HEAD_BYTES + 16, BigInt(byteLength), true);
  return bytes;
}

/** Encodes the answer to a client that gets nothing. @param error Result of `encodeError` */
export function encodeRefused(error: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEAD_BYTES + error.byteLength);
  bytes.set(MAGIC);
  bytes[STATUS_AT] = 1;
  bytes.set(error, HEAD_BYTES);
  return bytes;
}

/** Reads an answer. @throws {DipcError} `protocol` */
export function parseAnswer(bytes: Uint8Array): SharedMemoryFacts | PeerError {
  checkHead(bytes, "answer", HEAD_BYTES);
  if (bytes[STATUS_AT] === 1) return parseError(bytes.subarray(HEAD_BYTES));
  if (bytes[STATUS_AT] !== 0 || bytes.byteLength !== REGION_BYTES) {
    throw new DipcError(
      "protocol",
      `cannot read an answer: it has the status ${bytes[STATUS_AT]} and ${bytes.byteLength} bytes, expected ` +
        `0 and ${REGION_BYTES}, or 1`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = view.getBigUint64(HEAD_BYTES + 16, true), base = view.getBigUint64(HEAD_BYTES + 8, true);
  if (length === 0n || length > BigInt(Number.MAX_SAFE_INTEGER) || base + length > 1n << 64n) {
    throw new DipcError("protocol", `cannot read an answer: memory of ${length} bytes at ${base} cannot be`);
  }
  return { generation: view.getBigUint64(HEAD_BYTES, true), base, byteLength: Number(length) };
}

function checkHead(bytes: Uint8Array, what: string, least: number): void {
  if (bytes.byteLength >= least && equalBytes(bytes.subarray(0, MAGIC.byteLength), MAGIC)) return;
  throw new DipcError(
    "protocol",
    `cannot read ${
      what === "hello" ? "a hello" : "an answer"
    }: it does not begin with DIPS and the version 1, or has fewer ` +
      `than ${least} bytes`,
  );
}
