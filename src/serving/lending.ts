/**
 * What one client has of a server's memory: bodies are lent to it by the streams that it reads, and it gives them back.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { Leases } from "../memory/leases.ts";
import { addressListBytes, parseFreed, writeAddressList } from "../protocol/address_list.ts";
import { type BodySharing, WAIT } from "../stream/body_sharing.ts";
import type { SendableHeader, SendableMessage } from "../stream/sendable.ts";
import { countLeased } from "../telemetry/stream_span.ts";
import type { SharingSettings } from "./options.ts";
import type { LendableMemory, PlacedBody } from "./shared_memory.ts";

/** A client to which bodies are lent, whichever way it gives them back. */
export abstract class Lending<Memory extends LendableMemory> implements BodySharing {
  /** What is lent. */
  readonly memory: Memory;
  readonly #settings: SharingSettings;
  readonly #leases = new Leases();
  /** Bytes of leases that telemetry knows of. */
  #counted = 0;
  /** Whether its connection is over. */
  isGone = false;
  /** The buffers of the last batch that could be listed; batches of a stream mostly have the same. */
  #listable: ArrayLike<number> | null = null;

  /**
   * @param memory What is lent
   * @param settings Limits
   */
  constructor(memory: Memory, settings: SharingSettings) {
    this.memory = memory;
    this.#settings = settings;
  }

  /** Bytes lent to the client. */
  get leasedBytes(): number {
    return this.#leases.bytes;
  }

  /** Addresses lent to the client. */
  get leases(): number {
    return this.#leases.count;
  }

  mayShare({ header, body }: SendableMessage): boolean {
    const buffers = buffersOf(header);
    if (body === null || buffers === null || body.space !== this.memory.space) return false;
    const least = Math.max(this.#settings.minBodyBytes, addressListBytes(buffers.length / 2));
    return body.byteLength >= least && this.#isListable(buffers);
  }

  weigh(message: SendableMessage): number {
    const { byteLength } = message.body!;
    if (!this.memory.isConstant || !this.mayShare(message)) return byteLength;
    return addressListBytes(buffersOf(message.header)!.length / 2);
  }

  share(message: SendableMessage, isHungry: boolean): Body | null | typeof WAIT {
    if (!this.mayShare(message)) return null;
    const body = message.body!;
    // What was lent now would never come back.
    if (this.isGone && body.space === "host") return null;
    if (this.isGone) throw gone();
    const placed = this.#place(body);
    if (placed === null) return isHungry || this.isGone || body.byteLength > this.#most ? null : WAIT;
    try {
      return this.#lend(placed, buffersOf(message.header)!);
    } finally {
      placed.memory.drop();
    }
  }

  /**
   * Takes in what the client gives back, as far as it has arrived.
   *
   * @returns false once the connection is over
   */
  abstract drain(): boolean;

  /** The client has left, or the server stops: nothing is in use by it. */
  leave(): void {
    this.isGone = true;
    this.#leases.freeAll();
    this.#count();
  }

  /** What the client must be ended for, if it holds memory for too long; `null` if it does not. */
  overdue(): DipcError | null {
    const { leaseMs } = this.#settings;
    if (this.memory.isConstant || performance.now() - this.#leases.oldestMs <= leaseMs) return null;
    return new DipcError(
      "timeout",
      `cannot share memory any longer: the client has held a batch for more than ${leaseMs} ms; dispose batches, or copy ` +
        "what you keep",
    );
  }

  /**
   * Takes back what a `free_data` message lists.
   *
   * @throws {DipcError} `protocol`
   */
  protected takeBack(message: Uint8Array): void {
    try {
      this.#leases.free(parseFreed(message));
    } finally {
      this.#count();
    }
  }

  #count(): void {
    countLeased(this.#leases.bytes - this.#counted);
    this.#counted = this.#leases.bytes;
  }

  /** Most bytes that the client may hold. */
  get #most(): number {
    return this.memory.isConstant ? Infinity : this.#settings.clientBytes;
  }

  #place(body: Body): PlacedBody | null {
    const hasRoom = (): boolean => this.#leases.bytes + body.byteLength <= this.#most;
    const placed = hasRoom() ? this.memory.place(body) : null;
    // What the client has given back may be waiting in the socket.
    if (placed !== null || !this.drain() || !hasRoom()) return placed;
    return this.memory.place(body);
  }

  #lend({ address, memory }: PlacedBody, buffers: ArrayLike<number>): Body {
    const listBytes = addressListBytes(buffers.length / 2);
    const block = hostPool().acquire(listBytes);
    writeAddressList(block.bytes().subarray(0, listBytes), address, buffers);
    const addresses: bigint[] = [];
    for (let i = 0; i < buffers.length; i += 2) {
      if (buffers[i + 1] > 0) addresses.push(address + BigInt(buffers[i]));
    }
    this.#leases.lend(memory, addresses);
    this.#count();
    return block.toBody(listBytes);
  }

  /** Whether a list can stand for a body: it has something to list, and all of it is aligned. */
  #isListable(buffers: ArrayLike<number>): boolean {
    if (buffers === this.#listable) return true;
    let hasBytes = false;
    for (let i = 0; i < buffers.length; i += 2) {
      if (buffers[i + 1] === 0) continue;
      if (buffers[i] % 8 !== 0) return false;
      hasBytes = true;
    }
    if (hasBytes) this.#listable = buffers;
    return hasBytes;
  }
}

/** The body may be in memory from which it cannot be sent. */
function gone(): DipcError {
  return new DipcError(
    "connection_lost",
    "cannot share memory any longer: the client has closed its connection for that",
  );
}

/** The buffers of a message; `null` if nobody says where they are. */
function buffersOf(header: SendableHeader): ArrayLike<number> | null {
  return (header as { buffers?: Float64Array }).buffers ?? null;
}
