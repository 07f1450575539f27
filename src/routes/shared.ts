/**
 * The client's side of shared memory: gets it from a server of the same machine, makes bodies of lists of addresses, and gives back
 * what is not used any more.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import type { LentRegion, LentRegionOptions } from "../memory/lent_region.ts";
import { MappedRegion } from "../memory/mapped_region.ts";
import { addressesIn, parseAddressList } from "../protocol/address_list.ts";
import {
  encodeHello,
  MAX_ANSWER_BYTES,
  type MemoryKind,
  NONCE_BYTES,
  parseAnswer,
  SHARE_ENTRY,
  type SharedMemoryFacts,
} from "../protocol/share_handshake.ts";
import { peerError, type RequestEntry } from "../protocol/envelope.ts";
import type { AddressedBodies } from "../stream/body_sharing.ts";
import { closeDescriptor, LocalSocket, MessageReceiver } from "../wire/local_socket.ts";
import { FreedAddresses } from "./freed_addresses.ts";
import type { KeepOptions } from "../wire/transport.ts";
import type { Keepable } from "../wire/idle_pool.ts";
import { idleSessions } from "./idle_sessions.ts";

/** Longest wait for a server of the same machine, and then for its memory, in milliseconds; after it bodies are sent. */
const ANSWER_MS = 1_000;

/** Opens memory of one kind that a server lends. */
export interface MemoryOpener {
  /** The kind. */
  readonly kind: MemoryKind;
  /** Why memory of this process cannot be opened; empty if it can. */
  readonly sameProcess: string;
  /**
   * Opens it, once it is checked.
   *
   * @param facts What the server says of it
   * @param descriptor What came with that; stays the caller's. −1 if nothing did
   * @param options What is called later; the longest wait, in milliseconds, until it is filled
   * @throws {DipcError} why it cannot be opened
   */
  open(
    facts: SharedMemoryFacts,
    descriptor: number,
    options: LentRegionOptions & { timeoutMs: number },
  ): LentRegion | Promise<LentRegion>;
}

/** Maps memory of a server that lies in host memory. */
export const hostMemory: MemoryOpener = {
  kind: "host",
  sameProcess: "",
  open: ({ byteLength }, descriptor, options) => MappedRegion.map(descriptor, byteLength, options),
};

/** Options of {@linkcode SharedSession.open}. */
export interface SharedOptions {
  /** Ticket of the stream. */
  readonly ticket: Uint8Array;
  /** Longest wait, in milliseconds. */
  readonly timeoutMs: number;
  /** What opens the memory. */
  readonly memory: MemoryOpener;
}

/** A server sends nothing after its answer. */
const NOTHING = new MessageReceiver(1);

/** The memory of a server, for one stream after another. */
export class SharedSession implements AddressedBodies, Keepable {
  /** What the request by UCX says, so that the server knows whose memory it is. */
  readonly entry: RequestEntry;
  /** How it is kept after the stream; `null` if it is not. */
  #keep: KeepOptions | null = null;
  readonly #socket: LocalSocket;
  readonly #facts: SharedMemoryFacts;
  readonly #region: LentRegion;
  readonly #freed: FreedAddresses;

  private constructor(socket: LocalSocket, nonce: Uint8Array, facts: SharedMemoryFacts, region: LentRegion) {
    this.entry = { type: SHARE_ENTRY, bytes: nonce };
    this.#socket = socket;
    this.#facts = facts;
    this.#region = region;
    this.#freed = new FreedAddresses((message) => {
      region.settle?.();
      return socket.send(message);
    });
  }

  /** @throws {DipcError} why the memory cannot be had */
  static async open(name: string, { ticket, timeoutMs, memory }: SharedOptions): Promise<SharedSession> {
    const key = `${name} ${memory.kind} ${ticket.toHex()}`;
    const kept = idleSessions.take(key) as SharedSession | null;
    if (kept !== null) return kept;
    const socket = LocalSocket.connect(name);
    try {
      checkServer(socket, memory);
      const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
      if (socket.send(encodeHello({ nonce, ticket, kind: memory.kind })) !== "sent") throw lost();
      if (!await socket.readable(Math.min(timeoutMs, ANSWER_MS))) {
        throw new LocalError("timeout", "cannot get shared memory: the server did not answer in time");
      }
      const { facts, descriptor } = receiveAnswer(socket, memory.kind);
      try {
        let session: SharedSession;
        const region = await memory.open(facts, descriptor, {
          onFree: (addresses, byteLength) => session.#freed.add(addresses, byteLength),
          onUnused: () => session.#end(),
          onResting: () => idleSessions.put(key, session, session.#keep!),
          timeoutMs: Math.min(timeoutMs, ANSWER_MS),
        });
        return session = new SharedSession(socket, nonce, facts, region);
      } finally {
        if (descriptor >= 0) closeDescriptor(descriptor);
      }
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  bodyOf(list: Uint8Array<ArrayBuffer>, header: MessageHeader): Body {
    const parsed = parseAddressList(list, header, this.#facts);
    const addresses = addressesIn(parsed, header, this.#facts.base);
    const { bodyLength, buffers } = header;
    if (parsed.packedAt >= 0) return this.#region.body(parsed.packedAt, bodyLength, addresses);
    return this.#region.gather({ offsets: parsed.offsets, buffers, byteLength: bodyLength, addresses });
  }

  flush(): void {
    this.#freed.flush();
  }

  close(keep: KeepOptions | null = null): void {
    const region = this.#region;
    this.#keep = keep;
    if (keep !== null && region.rest !== undefined) region.rest();
    else region.close();
    this.flush();
  }

  isSound(): boolean {
    return !this.#freed.isGone && this.#socket.receive(NOTHING) === null;
  }

  cut(): void {
    this.#region.close();
  }

  /** The memory is unmapped: the end of the connection says so. */
  #end(): void {
    this.#freed.end();
    this.#socket.close();
  }
}

/** Another user's program may listen under the server's name. */
function checkServer(socket: LocalSocket, { sameProcess }: MemoryOpener): void {
  if (sameProcess !== "" && socket.peerProcess === Deno.pid) {
    throw new LocalError("unsupported", `cannot use the server's memory: the server is this process, ${sameProcess}`);
  }
  if (socket.isOwnUser || socket.peerUser === 0) return;
  throw new LocalError(
    "permission_denied",
    `cannot use the server's memory: its socket belongs to the user ${socket.peerUser}, not to this one`,
  );
}

/** What a server has answered. */
interface Granted {
  readonly facts: SharedMemoryFacts;
  /** The memfd; −1 for memory that has none. */
  readonly descriptor: number;
}

/** Reads the answer to a hello. Descriptors that do not belong to it are closed. */
function receiveAnswer(socket: LocalSocket, kind: MemoryKind): Granted {
  const answer = socket.receive(new MessageReceiver(MAX_ANSWER_BYTES));
  if (answer === null || answer === "gone") throw lost();
  const { bytes, isCut, descriptors } = answer;
  try {
    const parsed = parseAnswer(bytes);
    if ("code" in parsed) throw peerError(parsed);
    const isCuda = parsed.cuda !== undefined;
    if (isCuda !== (kind === "cuda")) {
      throw new LocalError(
        "protocol",
        `cannot get shared memory: the server lends ${isCuda ? "that of a GPU" : "a memfd"}`,
      );
    }
    const expected = isCuda ? 0 : 1;
    if (isCut || descriptors.length !== expected) {
      throw new LocalError(
        "protocol",
        `cannot get shared memory: ${descriptors.length} descriptors came, expected ${expected}`,
      );
    }
    return { facts: parsed, descriptor: descriptors[0] ?? -1 };
  } catch (error) {
    for (const descriptor of descriptors) closeDescriptor(descriptor);
    throw error;
  }
}

function lost(): LocalError {
  return new LocalError("connection_lost", "cannot get shared memory: the server has closed the connection");
}
