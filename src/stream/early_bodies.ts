/**
 * Bodies that run ahead of their metadata: they are left in UCX for a while, then received, because others may queue up after them.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Block, Pool } from "../memory/block.ts";
import { FULL_MASK, tagSequence } from "../protocol/tag.ts";
import type { Channel, Receive, UnexpectedMessage } from "../wire/transport.ts";

/** A body is left in UCX for this many probes. */
const PATIENT_PROBES = 32;
/** Bytes of such bodies that are always accepted, regardless of `maxInFlightBytes`: a sender's window. */
const LEAST_LIMIT = 16 * 2 ** 20;

/** A block and the receive into it. */
export interface PostedBody {
  block: Block;
  receive: Receive;
}

/** The bodies of one stream that are ahead. */
export class EarlyBodies {
  readonly #channel: Channel;
  readonly #pool: Pool;
  readonly #mostBytes: number;
  /** By sequence number. */
  readonly #bodies = new Map<number, PostedBody>();
  #byteLength = 0;
  /** Tag of the body that was seen last, and how often it was. */
  #tag = -1n;
  #probes = 0;

  /**
   * @param channel The connection that they arrive on
   * @param pool Memory for them
   * @param maxInFlightBytes Limit on their bytes; a sender's window is always accepted
   */
  constructor(channel: Channel, pool: Pool, maxInFlightBytes: number) {
    this.#channel = channel;
    this.#pool = pool;
    this.#mostBytes = Math.max(maxInFlightBytes, LEAST_LIMIT);
  }

  /** How many there are. */
  get count(): number {
    return this.#bodies.size;
  }

  /** Memory that they take in bytes. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** The body of a message whose metadata has come, if it was early; the caller's from now on. */
  take(sequence: number): PostedBody | null {
    const body = this.#bodies.get(sequence);
    if (body === undefined) return null;
    this.#bodies.delete(sequence);
    this.#byteLength -= body.block.capacity;
    return body;
  }

  /**
   * Notes that a body without metadata is the first unexpected message, and receives it if it has been so for long.
   *
   * @throws {DipcError} `protocol` for a second body of a message, `limit_exceeded`
   */
  see({ tag, byteLength }: UnexpectedMessage): void {
    if (tag !== this.#tag) {
      this.#tag = tag;
      this.#probes = 0;
    }
    if (++this.#probes < PATIENT_PROBES) return;
    const sequence = tagSequence(tag);
    if (this.#bodies.has(sequence)) {
      throw new LocalError(
        "protocol",
        `cannot receive the stream: a second body of sequence number ${sequence} arrived`,
      );
    }
    const total = this.#byteLength + byteLength;
    if (total > this.#mostBytes && this.#bodies.size > 0) {
      throw new LocalError(
        "limit_exceeded",
        `cannot receive the stream: ${total} bytes of bodies arrived ahead of their metadata, the limit is ${this.#mostBytes}`,
      );
    }
    const block = this.#pool.acquire(byteLength);
    this.#bodies.set(sequence, { block, receive: this.#channel.receive(tag, FULL_MASK, block, byteLength) });
    this.#byteLength += block.capacity;
    this.#tag = -1n;
  }

  /** Cancels all receives. */
  cancel(): void {
    for (const { receive } of this.#bodies.values()) receive.cancel();
  }

  /** Releases all blocks, once no receive writes to them any more. */
  release(): void {
    for (const { block } of this.#bodies.values()) block.release();
    this.#bodies.clear();
  }
}
