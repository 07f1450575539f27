/**
 * A client that reads by a remote key: it gives back bodies on the connection of its stream, and has all of them until that is closed.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Block, Body } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { MAX_FREED } from "../protocol/address_list.ts";
import { FULL_MASK } from "../protocol/tag.ts";
import type { WAIT } from "../stream/body_sharing.ts";
import type { SendableMessage } from "../stream/sendable.ts";
import { type Channel, FAILED, PENDING, type Receive } from "../wire/transport.ts";
import { Lending } from "./lending.ts";
import type { SharingSettings } from "./options.ts";
import type { LendableMemory } from "./shared_memory.ts";
import type { RemoteLending } from "./stream_plane.ts";

/** Messages of one client that are taken in before others get their turn. */
const TURN_MESSAGES = 64;
/** A client that has nothing left to give back mostly closes at once; longest wait for that, in milliseconds. */
const CLOSE_MS = 5_000;
/** How often a client is looked at that holds memory after its stream, in milliseconds. */
const CHECK_MS = 250;

/** A client that was sent a list of addresses, or will be. */
export class RemoteSession extends Lending<LendableMemory> implements RemoteLending {
  readonly #onLeave: (session: RemoteSession) => void;
  readonly #channel: Channel;
  readonly #freeData: bigint;
  /** A message whose bytes are still to come. */
  #receiving: { receive: Receive; block: Block } | null = null;

  /**
   * @param channel The connection; stays the caller's
   * @param freeData The tag of messages that give something back
   * @param memory What is lent
   * @param parts Limits, and what is called when the client has left
   */
  constructor(
    channel: Channel,
    freeData: bigint,
    memory: LendableMemory,
    { settings, onLeave }: { settings: SharingSettings; onLeave: (session: RemoteSession) => void },
  ) {
    super(memory, settings);
    this.#onLeave = onLeave;
    this.#channel = channel;
    this.#freeData = freeData;
  }

  override share(message: SendableMessage, isHungry: boolean): Body | null | typeof WAIT {
    const overdue = this.overdue();
    if (overdue !== null) throw overdue;
    return super.share(message, isHungry);
  }

  drain(): boolean {
    for (let i = 0; i < TURN_MESSAGES; i++) {
      if (this.#receiving === null && !this.#begin()) break;
      const { receive, block } = this.#receiving!;
      if (receive.poll() === PENDING) break;
      try {
        if (receive.poll() === FAILED) throw receive.error!;
        this.takeBack(block.bytes().subarray(0, receive.byteLength));
      } finally {
        this.#receiving = null;
        block.release();
      }
    }
    return !this.isGone;
  }

  async returned(signal: AbortSignal): Promise<void> {
    const channel = this.#channel;
    const isBack = (): boolean => {
      if (channel.failure !== null) return true;
      this.drain();
      return this.leases === 0;
    };
    const isOver = (): boolean => channel.failure !== null || (this.drain(), false);
    try {
      while (!await channel.until(isBack, { signal, timeoutMs: CHECK_MS })) {
        const overdue = this.overdue();
        if (overdue !== null) throw overdue;
      }
      await channel.until(isOver, { signal, timeoutMs: CLOSE_MS });
    } catch (error) {
      // A client that has left has no access any more.
      if (channel.failure === null) throw error;
    }
  }

  override leave(): void {
    super.leave();
    this.#receiving?.block.release();
    this.#receiving = null;
    this.#onLeave(this);
  }

  /** Begins to receive what has arrived. @returns whether there was anything */
  #begin(): boolean {
    const message = this.#channel.probe();
    if (message === null) return false;
    const { tag, byteLength } = message;
    if (tag !== this.#freeData || byteLength > 8 * MAX_FREED) {
      throw new DipcError(
        "protocol",
        "cannot send the stream: the client sent a tagged message that gives no memory back while it was running",
      );
    }
    const block = hostPool().acquire(byteLength);
    this.#receiving = { block, receive: this.#channel.receive(tag, FULL_MASK, block, byteLength) };
    return true;
  }
}
