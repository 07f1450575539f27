/**
 * Native memory for the arguments and results of one call, which a driver uses on another thread.
 *
 * @module
 */
import { addressOf, libc } from "../../ffi/libc.ts";
import { allocate } from "../../ffi/raw_memory.ts";
import { scratch } from "./raw.ts";
import { DipcError } from "../errors.ts";

const encoder = new TextEncoder();

/** Memory that is freed together. */
export class Arena implements Disposable {
  readonly #blocks: bigint[] = [];

  /** Memory that begins as zeros. */
  zeros(byteLength: number): bigint {
    return this.bytes(new Uint8Array(byteLength));
  }

  /** A copy of some bytes. */
  bytes(bytes: Uint8Array): bigint {
    const address = allocate(Math.max(1, bytes.byteLength));
    this.#blocks.push(address);
    if (bytes.byteLength === 0) return address;
    // Small arrays of JavaScript have no address that stays.
    const source = scratch(bytes.byteLength);
    source.bytes.set(bytes);
    libc().memcpy(address, source.address, BigInt(bytes.byteLength));
    return address;
  }

  /**
   * A C string.
   *
   * @param what What it is, for the message, such as `"the query"`
   * @throws {DipcError} `invalid_argument` if it has a character that C cannot have in a string
   */
  text(what: string, text: string): bigint {
    if (typeof text !== "string") {
      throw new DipcError("invalid_argument", `cannot use ${what}: it is ${typeof text}; give a string`);
    }
    if (text.includes("\0")) {
      throw new DipcError("invalid_argument", `cannot use ${what}: it has a zero character; leave it out`);
    }
    return this.bytes(encoder.encode(`${text}\0`));
  }

  /** As {@linkcode text}, or a null pointer. */
  optionalText(what: string, text: string | null | undefined): bigint {
    return text === undefined || text === null ? 0n : this.text(what, text);
  }

  /** An array of 64-bit words. */
  words(words: readonly bigint[]): bigint {
    return this.bytes(new Uint8Array(BigUint64Array.from(words).buffer));
  }

  /** Frees everything. Idempotent. */
  [Symbol.dispose](): void {
    for (const block of this.#blocks.splice(0)) libc().free(block);
  }
}

/** Copies native memory. The caller knows that it is there. */
export function copyOf(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  const target = scratch(byteLength);
  libc().memcpy(addressOf(target.bytes), address, BigInt(byteLength));
  return target.bytes.slice(0, byteLength);
}
