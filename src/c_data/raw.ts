/**
 * Reads memory at addresses.
 *
 * @module
 */
import { addressOf, libc } from "../../ffi/libc.ts";
import { allocate, rawMemory } from "../../ffi/raw_memory.ts";
import { fileErrno } from "../../ffi/files.ts";
import { DipcError } from "../errors.ts";

/** Memory of this module that C may write to, and views of it. */
export interface Scratch {
  /** Its address; the scratch must stay referenced while it is used. */
  readonly address: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: BigUint64Array<ArrayBuffer>;
  /** Low and high half of each word. */
  readonly halves: Uint32Array<ArrayBuffer>;
}

/** Smallest array that V8 does not move, in bytes. */
const LEAST_BYTES = 128;

/** Memory that C may write to, of `byteLength` bytes or more. */
export function scratch(byteLength: number): Scratch {
  const buffer = new ArrayBuffer(Math.max(LEAST_BYTES, Math.ceil(byteLength / 8) * 8));
  const bytes = new Uint8Array(buffer);
  return {
    address: addressOf(bytes),
    bytes,
    words: new BigUint64Array(buffer),
    halves: new Uint32Array(buffer),
  };
}

let word: Scratch | null = null;
let zeros = 0n;

/** Address of 256 bytes that are 0, for null pointers and for empty buffers; they are never freed. */
export function zeroAddress(): bigint {
  if (zeros !== 0n) return zeros;
  zeros = allocate(256);
  libc().memcpy(zeros, scratch(256).address, 256n);
  return zeros;
}

/** The 64-bit word at an address. */
export function readAddress(address: bigint): bigint {
  word ??= scratch(8);
  libc().memcpy(word.address, address, 8n);
  return word.words[0];
}

/** Addresses of this and higher halves are beyond 2⁵³, which no process has. */
const HIGH_LIMIT = 2 ** 21;

/**
 * The word at index `at` as a number.
 *
 * @returns The signed integer; NaN if its size is 2⁵³ or more
 */
export function integerAt(halves: Uint32Array, at: number): number {
  const high = halves[2 * at + 1];
  const low = halves[2 * at];
  if (high < HIGH_LIMIT) return high * 4294967296 + low;
  const signed = high | 0;
  return signed >= -HIGH_LIMIT && signed < 0 ? signed * 4294967296 + low : NaN;
}

/** `EFAULT` of errno.h. */
const EFAULT = 14;
/** A page of memory, at most; a text is read page by page because what follows it may not exist. */
const PAGE = 4096;

/**
 * Reads memory that may not be there: schemas come with counts and pointers that nothing else confirms, and a wrong one is
 * to be an error, not the end of the process.
 */
export class CarefulReader {
  readonly #vectors = scratch(32);
  readonly #page = scratch(PAGE);
  #canAsk = true;

  /**
   * Copies memory.
   *
   * @param target Address of at least `byteLength` bytes of this process
   * @param source Address of the memory
   * @returns Whether the memory can be read
   */
  read(target: bigint, source: bigint, byteLength: number): boolean {
    if (byteLength === 0) return true;
    if (this.#canAsk) {
      const { words, address } = this.#vectors;
      words[0] = target;
      words[1] = words[3] = BigInt(byteLength);
      words[2] = source;
      const count = rawMemory().process_vm_readv(Deno.pid, address, 1n, address + 16n, 1n, 0n);
      if (count === BigInt(byteLength)) return true;
      if (count >= 0n || fileErrno() === EFAULT) return false;
      // Some sandboxes forbid the call.
      this.#canAsk = false;
    }
    libc().memcpy(target, source, BigInt(byteLength));
    return true;
  }

  /**
   * Reads a C string.
   *
   * @param maxBytes Longest string in bytes
   * @returns Its bytes without the final 0, or `null` if it is not readable or too long
   */
  text(address: bigint, maxBytes: number): Uint8Array<ArrayBuffer> | null {
    const page = this.#page;
    let found = new Uint8Array(0);
    while (found.byteLength <= maxBytes) {
      const at = address + BigInt(found.byteLength);
      const length = PAGE - Number(at % BigInt(PAGE));
      if (!this.read(page.address, at, length)) return null;
      const end = page.bytes.subarray(0, length).indexOf(0);
      const next = new Uint8Array(found.byteLength + (end < 0 ? length : end));
      next.set(found);
      next.set(page.bytes.subarray(0, next.byteLength - found.byteLength), found.byteLength);
      found = next;
      if (end >= 0) return found;
    }
    return null;
  }
}

/** The error for a structure that contradicts the specification or the schema. */
export function invalidStruct(what: string): DipcError {
  return new DipcError("invalid_data", `cannot import Arrow data: ${what}; the library that exported it is at fault`);
}
