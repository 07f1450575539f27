/**
 * The two messages by which a client gets a server's shared memory over a Unix socket: its hello, and the server's answer.
 *
 * Hello: `44 49 50 53 01 00 KK 00` (`DIPS`, the version, 0, the kind of memory, 0), nonce (16 bytes), u32 length of the ticket, ticket.
 * Answer: the same 8 bytes, but the sixth is 0 if the client may have the memory, and 1 if not. Then either u64 generation, u64 base
 * address of the memory, u64 its size in bytes, or JSON `{"code","message"}`. With memory of kind 0 one descriptor goes beside the
 * message. Of kind 1, CUDA IPC, the base address is 0, and there follow a `CUipcMemHandle` (64 bytes), a `CUipcEventHandle` (64
 * bytes, zeros for none), and the UUID of the GPU (16 bytes). All numbers are little-endian.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { DipcError } from "../errors.ts";
import { MAX_ERROR_BYTES, parseError, type PeerError } from "./envelope.ts";

const MAGIC = Uint8Array.of(0x44, 0x49, 0x50, 0x53, 1);
const HEAD_BYTES = 8, STATUS_AT = 5, KIND_AT = 6;
/** Bytes of the nonce that names a client's session. */
export const NONCE_BYTES = 16;
const TICKET_AT = HEAD_BYTES + NONCE_BYTES + 4;
const REGION_BYTES = HEAD_BYTES + 24;
/** Bytes of a handle of CUDA IPC, `CU_IPC_HANDLE_SIZE` of `cuda.h`, and of a UUID. */
const HANDLE_BYTES = 64, UUID_BYTES = 16;
const CUDA_REGION_BYTES = REGION_BYTES + 2 * HANDLE_BYTES + UUID_BYTES;

/** Longest ticket of a hello, in bytes. */
const MAX_SHARE_TICKET = 65536;
/** Longest hello, in bytes. */
export const MAX_HELLO_BYTES: number = TICKET_AT + MAX_SHARE_TICKET;
/** Longest answer, in bytes. */
export const MAX_ANSWER_BYTES: number = HEAD_BYTES + MAX_ERROR_BYTES;
/** Type of the entry of a request that holds the nonce of a client's session: the client takes bodies of type 1 from its memory. */
export const SHARE_ENTRY = 1;

/** Kinds of memory by their numbers: a memfd, which anybody maps, and memory of a GPU, which is opened by CUDA IPC. */
const KINDS = ["host", "cuda"] as const;

/** Where memory lies that is lent. */
export type MemoryKind = (typeof KINDS)[number];

/** What a client says first. */
export interface ShareHello {
  /** Names the session: random, and in the request by UCX too. */
  readonly nonce: Uint8Array;
  /** The ticket of the stream. */
  readonly ticket: Uint8Array;
  /** The memory that it can read. */
  readonly kind: MemoryKind;
}

/** Encodes a hello. @throws {DipcError} `invalid_argument` if the ticket is too long */
export function encodeHello({ nonce, ticket, kind }: ShareHello): Uint8Array<ArrayBuffer> {
  if (nonce.byteLength !== NONCE_BYTES || ticket.byteLength > MAX_SHARE_TICKET) {
    throw new DipcError(
      "invalid_argument",
      `cannot request shared memory: the ticket has ${ticket.byteLength} bytes, at most ${MAX_SHARE_TICKET} are allowed`,
    );
  }
  const bytes = new Uint8Array(TICKET_AT + ticket.byteLength);
  bytes.set(MAGIC);
  bytes[KIND_AT] = KINDS.indexOf(kind);
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
  const kind = kindOf(bytes);
  return { nonce: bytes.slice(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES), ticket: bytes.slice(TICKET_AT), kind };
}

/** The memory that a client gets. */
export interface SharedMemoryFacts {
  /** Differs for every memory of a server. */
  readonly generation: bigint;
  /** The first address of lists: that of the memory in the server, or 0 for CUDA IPC. */
  readonly base: bigint;
  /** Its size in bytes. */
  readonly byteLength: number;
  /** How it is opened, if it lies on a GPU; a memfd comes beside the message. */
  readonly cuda?: CudaMemoryFacts;
}

/** What opens memory of a GPU. */
export interface CudaMemoryFacts {
  /** `CUipcMemHandle`, 64 bytes. */
  readonly memory: Uint8Array;
  /** `CUipcEventHandle` of the event after which it is filled, 64 bytes; `null` if it is already. */
  readonly event: Uint8Array | null;
  /** UUID of the GPU, 16 bytes. */
  readonly gpu: Uint8Array;
}

/** Encodes the answer to a client that gets memory. */
export function encodeGranted({ generation, base, byteLength, cuda }: SharedMemoryFacts): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(cuda === undefined ? REGION_BYTES : CUDA_REGION_BYTES);
  bytes.set(MAGIC);
  if (cuda !== undefined) {
    bytes[KIND_AT] = KINDS.indexOf("cuda");
    bytes.set(cuda.memory, REGION_BYTES);
    if (cuda.event !== null) bytes.set(cuda.event, REGION_BYTES + HANDLE_BYTES);
    bytes.set(cuda.gpu, REGION_BYTES + 2 * HANDLE_BYTES);
  }
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

/** Reads an answer; the result holds copies. @throws {DipcError} `protocol` */
export function parseAnswer(bytes: Uint8Array): SharedMemoryFacts | PeerError {
  checkHead(bytes, "answer", HEAD_BYTES);
  if (bytes[STATUS_AT] === 1) return parseError(bytes.subarray(HEAD_BYTES));
  const isCuda = kindOf(bytes) === "cuda";
  const expected = isCuda ? CUDA_REGION_BYTES : REGION_BYTES;
  if (bytes[STATUS_AT] !== 0 || bytes.byteLength !== expected) {
    throw new DipcError(
      "protocol",
      `cannot read an answer: it has the status ${bytes[STATUS_AT]} and ${bytes.byteLength} bytes, expected ` +
        `0 and ${expected}, or 1`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = view.getBigUint64(HEAD_BYTES + 16, true), base = view.getBigUint64(HEAD_BYTES + 8, true);
  if (length === 0n || length > BigInt(Number.MAX_SAFE_INTEGER) || base + length > 1n << 64n) {
    throw new DipcError("protocol", `cannot read an answer: memory of ${length} bytes at ${base} cannot be`);
  }
  const facts = { generation: view.getBigUint64(HEAD_BYTES, true), base, byteLength: Number(length) };
  return isCuda ? { ...facts, cuda: cudaFactsIn(bytes.subarray(REGION_BYTES)) } : facts;
}

function cudaFactsIn(bytes: Uint8Array): CudaMemoryFacts {
  const event = bytes.slice(HANDLE_BYTES, 2 * HANDLE_BYTES);
  return {
    memory: bytes.slice(0, HANDLE_BYTES),
    event: event.every((byte) => byte === 0) ? null : event,
    gpu: bytes.slice(2 * HANDLE_BYTES),
  };
}

function kindOf(bytes: Uint8Array): MemoryKind {
  const kind = KINDS[bytes[KIND_AT]];
  if (kind !== undefined) return kind;
  throw new DipcError("protocol", `cannot share memory: its kind is ${bytes[KIND_AT]}, expected 0 or 1`);
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
