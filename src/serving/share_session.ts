/**
 * A client of shared memory that has mapped it: it gets the memory after its hello over a Unix socket, and gives back bodies there. Its
 * memory counts as in use until that connection is over, which is when it has unmapped it.
 *
 * @module
 */
import type { DipcError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import type { WAIT } from "../stream/body_sharing.ts";
import type { SendableMessage } from "../stream/sendable.ts";
import { closeDescriptor, type LocalSocket, type MessageReceiver } from "../wire/local_socket.ts";
import { Lending } from "./lending.ts";
import type { SharingSettings } from "./options.ts";
import type { DatasetMemory } from "./shared_memory.ts";
import type { SharingSession } from "./stream_plane.ts";

/** Messages of one client that are taken in before others get their turn. */
const TURN_MESSAGES = 64;

/** A client that was handed the memory of a dataset. */
export class ShareSession extends Lending<DatasetMemory> implements SharingSession {
  /** Name of the dataset. */
  readonly dataset: string;
  readonly #socket: LocalSocket;
  readonly #receiver: MessageReceiver;
  readonly #end = new AbortController();
  /** Streams under way. */
  #streams = 0;
  /** When the last stream was over, of `performance.now()`; `Infinity` while there is one, and before the first. */
  #restingSince = Infinity;

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
    super(memory, settings);
    this.#socket = socket;
    this.dataset = dataset;
    this.#receiver = receiver;
    memory.clients?.hold();
  }

  /** Aborted with the reason when its streams must end. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Since when the client has had no stream and nothing that was lent to it, of `performance.now()`; `Infinity` if it has. */
  get restingSince(): number {
    return this.leases === 0 ? this.#restingSince : Infinity;
  }

  enter(): void {
    this.#streams++;
    this.#restingSince = Infinity;
  }

  exit(): void {
    // The memory of a GPU is not taken from a client that may have opened it.
    if (--this.#streams === 0 && this.memory.space === "host") this.#restingSince = performance.now();
  }

  override share(message: SendableMessage, isHungry: boolean): Body | null | typeof WAIT {
    if (this.signal.aborted) throw this.signal.reason;
    return super.share(message, isHungry);
  }

  /**
   * Takes in what the client gives back. Of what has arrived some may be left: a client that never stops must not keep the server
   * from others.
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
        this.takeBack(message.bytes);
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

  override leave(): void {
    if (this.isGone) return;
    super.leave();
    this.memory.clients?.drop();
  }

  /** Ends a client that holds memory for too long. @returns the reason, if it did now */
  checkDeadline(): DipcError | null {
    const error = this.signal.aborted ? null : this.overdue();
    if (error !== null) this.end(error);
    return error;
  }
}
