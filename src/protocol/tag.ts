/**
 * Body tags: the 64 bits under which the body of a message is sent.
 *
 * Layout (Dissociated IPC Protocol, "tagged messages"): bits 0–31 sequence number, bits 32–55 reserved and sent as 0,
 * bits 56–63 body type. A receiver matches only the sequence number and reads the type from the tag it received.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { integerRefusal } from "../options.ts";
import { checkSequence } from "./sequence.ts";

/** Body type 0: the bytes of the IPC body. */
export const BODY_BYTES = 0;
/** Body type 1: a list of memory addresses that the receiver can read itself. */
export const BODY_ADDRESSES = 1;

/** Mask of the bits a receiver matches: the sequence number. */
export const SEQUENCE_MASK = 0xFFFFFFFFn;

/** Mask that matches every bit: for requests (`want_data`) and for taking one unexpected message by its tag. */
export const FULL_MASK = 0xFFFFFFFFFFFFFFFFn;

// One 64-bit cell seen as a bigint and as two u32 words (every platform of libucp that Deno runs on is little-endian):
// reading a tag from it costs one small allocation and no bigint arithmetic, splitting one costs none.
const cell = new BigUint64Array(1);
const words = new Uint32Array(cell.buffer);

/**
 * The tag of a body.
 *
 * @param sequence Sequence number, u32
 * @param bodyType Body type, u8
 * @default bodyType `BODY_BYTES`
 * @throws {DipcError} `invalid_argument` if a number is out of range
 */
export function encodeTag(sequence: number, bodyType: number = BODY_BYTES): bigint {
  checkSequence(sequence);
  if ((bodyType & 0xFF) !== bodyType) {
    throw new DipcError("invalid_argument", integerRefusal("a body type", bodyType, 0, 255));
  }
  words[0] = sequence;
  words[1] = bodyType << 24;
  return cell[0];
}

/**
 * The tag of a body of type 0, for the hot path.
 *
 * @param sequence u32, not checked
 */
export function bodyTag(sequence: number): bigint {
  words[0] = sequence;
  words[1] = 0;
  return cell[0];
}

/** The sequence number in a tag: bits 0–31. */
export function tagSequence(tag: bigint): number {
  cell[0] = tag;
  return words[0];
}

/** The body type in a tag: bits 56–63. Reserved bits are ignored. */
export function tagBodyType(tag: bigint): number {
  cell[0] = tag;
  return words[1] >>> 24;
}

/** A tag as text for messages, such as `0x0000000000000007`. */
export function formatTag(tag: bigint): string {
  return "0x" + BigInt.asUintN(64, tag).toString(16).padStart(16, "0");
}
