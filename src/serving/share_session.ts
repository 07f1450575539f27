/**
 * What one client of shared memory may do and has: it gets the memory after its hello, is lent bodies by the streams that name its
 * nonce, and gives them back. Its memory counts as in use until its connection is over, which is when it has unmapped it.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import { Leases } from "../memory/leases.ts";
import { addressListBytes, parseFreed, writeAddressList } from "../protocol/address_list.ts";
import { WAIT } from "../stream/body_sharing.ts";
import type { SendableHeader, SendableMessage } from "../stream/sendable.ts";
import { closeDescriptor, type LocalSocket, type MessageReceiver } from "../wire/local_socket.ts";
import type { SharingSettings } from "./options.ts";
import type { DatasetMemory, PlacedBody } from "./shared_memory.ts";
import type { SharingSession } from "./stream_plane.ts";

/** Messages of one client that are taken in before others get their turn. */
const TURN_MESSAGES = 64;

/** A client that was handed the memory of a dataset. */
export class ShareSession implements SharingSession {
  /** Name of the dataset. */
  readonly dataset: string;
  readonly #socket: LocalSocket;
  /** Its memory. */
  readonly memory: DatasetMemory;
  readonly #settings: SharingSettings;
  readonly #receiver: MessageReceiver;
  readonly #leases = new Leases();
  readonly #end = new AbortController();
  /** Whether its connection is over. */
  isGone = false;
  /** Streams under way. */
  #streams = 0;
  /** When the last stream was over, of `performance.now()`; `Infinity` while there is one, and before the first. */
  #restingSince = Infinity;
  /** The buffers of the last batch that could be listed; batches of a stream mostly have the same. */
  #listable: ArrayLike<number> | null = null;

  /**
   * @param socket The connection; stays the caller's
   * @param dataset Name of the dataset
   * @param memory Its memory
   * @param parts Limits, and what receives messages of clients
   */
  constructor(
    socket: LocalSocket,
    dataset: string,
    memory: DatasetMemory,
    { settings, receiver }: { settings: SharingSettings; receiver: MessageReceiver },
  ) {
    this.#socket = socket;
    this.dataset = dataset;
    this.memory = memory;
    this.#settings = settings;
    this.#receiver = receiver;
    memory.clients?.hold();
  }

  /** Aborted with the reason when its streams must end. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Bytes lent to the client. */
  get leasedBytes(): number {
    return this.#leases.bytes;
  }

  /** Since when the client has had no stream and nothing that was lent to it, of `performance.now()`; `Infinity` if it has. */
  get restingSince(): number {
    return this.#leases.count === 0 ? this.#restingSince : Infinity;
  }

  /** Addresses lent to the client. */
  get leases(): number {
    return this.#leases.count;
  }

  enter(): void {
    this.#streams++;
    this.#restingSince = Infinity;
  }

  exit(): void {
    // The memory of a GPU is not taken from a client that may have opened it.
    if (--this.#streams === 0 && this.memory.space === "host") this.#restingSince = performance.now();
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
    if (this.signal.aborted) throw this.signal.reason;
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
   * Takes in what the client gives back. Of what has arrived some may be left: a client that never stops must not keep the server
   * from others.
   *
   * @returns false once the connection is over
   */
  drain(): boolean {
    for (let i = 0; i < TURN_MESSAGES && !this.isGone; i++) {
      const message = this.#socket.receive(this.#receiver);
      if (message === null) return true;
      if (message === "gone") {
        this.leave();
        break;
      }
      for (const descriptor of message.descriptors) closeDescriptor(descriptor);
      // After a violation nothing is believed any more.
      if (this.signal.aborted) continue;
      try {
        this.#leases.free(parseFreed(message.bytes));
      } catch (error) {
        this.end(error);
      }
    }
    return !this.isGone;
  }

  /** Ends its streams. What was lent stays lent until the connection is over. */
  end(reason: unknown): void {
    this.#end.abort(reason);
  }

  /** The client has left, or the server stops: nothing is in use by it. */
  leave(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.#leases.freeAll();
    this.memory.clients?.drop();
  }

  /** Ends a client that holds memory for too long. @returns the reason, if it did now */
  checkDeadline(): DipcError | null {
    const { leaseMs } = this.#settings;
    if (this.memory.isConstant || this.signal.aborted) return null;
    if (performance.now() - this.#leases.oldestMs <= leaseMs) return null;
    const error = new DipcError(
      "timeout",
      `cannot share memory any longer: the client has held a batch for more than ${leaseMs} ms; dispose batches, or copy ` +
        "what you keep",
    );
    this.end(error);
    return error;
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

/** The buffers of a message; `null` of one that another isolate lends. */
function buffersOf(header: SendableHeader): ArrayLike<number> | null {
  return "buffers" in header ? header.buffers as Float64Array : null;
}
