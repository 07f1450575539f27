/**
 * The client's side of shared memory: gets it from a server of the same machine, makes bodies of lists of addresses, and gives back
 * what is not used any more.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";

import { hostPool } from "../memory/host_pool.ts";
import { MappedRegion } from "../memory/mapped_region.ts";
import { addressesIn, type AddressList, parseAddressList } from "../protocol/address_list.ts";
import {
  encodeHello,
  MAX_ANSWER_BYTES,
  NONCE_BYTES,
  parseAnswer,
  SHARE_ENTRY,
  type SharedMemoryFacts,
} from "../protocol/share_handshake.ts";
import { peerError, type RequestEntry } from "../protocol/envelope.ts";
import type { AddressedBodies } from "../stream/body_sharing.ts";
import { closeDescriptor, LocalSocket, MessageReceiver } from "../wire/local_socket.ts";
import { FreedAddresses } from "./freed_addresses.ts";

/** Longest wait for a server of the same machine, in milliseconds; after it bodies are sent. */
const ANSWER_MS = 1_000;

/** Options of {@linkcode SharedSession.open}. */
export interface SharedOptions {
  /** Ticket of the stream. */
  readonly ticket: Uint8Array;
  /** Longest wait, in milliseconds. */
  readonly timeoutMs: number;
}

/** The memory of a server, for one stream. */
export class SharedSession implements AddressedBodies {
  /** What the request by UCX says, so that the server knows whose memory it is. */
  readonly entry: RequestEntry;
  readonly #socket: LocalSocket;
  readonly #facts: SharedMemoryFacts;
  readonly #region: MappedRegion;
  readonly #freed: FreedAddresses;

  private constructor(socket: LocalSocket, nonce: Uint8Array, facts: SharedMemoryFacts, descriptor: number) {
    this.entry = { type: SHARE_ENTRY, bytes: nonce };
    this.#socket = socket;
    this.#facts = facts;
    this.#freed = new FreedAddresses((message) => socket.send(message));
    this.#region = MappedRegion.map(descriptor, facts.byteLength, {
      onFree: (addresses, byteLength) => this.#freed.add(addresses, byteLength),
      onUnused: () => this.#end(),
    });
  }

  /** @throws {DipcError} why the memory cannot be had */
  static async open(name: string, { ticket, timeoutMs }: SharedOptions): Promise<SharedSession> {
    const socket = LocalSocket.connect(name);
    try {
      checkServer(socket);
      const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
      if (socket.send(encodeHello({ nonce, ticket })) !== "sent") throw lost();
      if (!await socket.readable(Math.min(timeoutMs, ANSWER_MS))) {
        throw new LocalError("timeout", "cannot get shared memory: the server did not answer in time");
      }
      const { facts, descriptor } = receiveAnswer(socket);
      try {
        return new SharedSession(socket, nonce, facts, descriptor);
      } finally {
        closeDescriptor(descriptor);
      }
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  bodyOf(list: Uint8Array<ArrayBuffer>, header: MessageHeader): Body {
    const parsed = parseAddressList(list, header, this.#facts);
    const addresses = addressesIn(parsed, header, this.#facts.base);
    if (parsed.packedAt >= 0) return this.#region.body(parsed.packedAt, header.bodyLength, addresses);
    return this.#gather(parsed, header, addresses);
  }

  flush(): void {
    this.#freed.flush();
  }

  close(): void {
    this.#region.close();
    this.flush();
  }

  /** Copies a body whose buffers lie apart, and gives its memory back at once. */
  #gather({ offsets }: AddressList, { buffers, bodyLength }: MessageHeader, addresses: readonly bigint[]): Body {
    const block = hostPool().acquire(bodyLength);
    const target = block.bytes();
    target.fill(0, 0, bodyLength);
    for (let i = 0; i < offsets.length; i++) {
      const at = buffers[2 * i], length = buffers[2 * i + 1];
      if (length > 0) this.#region.copy(offsets[i], target.subarray(at, at + length));
    }
    // There may be nothing but padding.
    if (addresses.length > 0) this.#freed.add(addresses, bodyLength);
    return block.toBody(bodyLength);
  }

  /** The memory is unmapped: the end of the connection says so. */
  #end(): void {
    this.#freed.end();
    this.#socket.close();
  }
}

/** Another user's program may listen under the server's name. */
function checkServer(socket: LocalSocket): void {
  if (socket.isOwnUser || socket.peerUser === 0) return;
  throw new LocalError(
    "permission_denied",
    `cannot use the server's memory: its socket belongs to the user ${socket.peerUser}, not to this one`,
  );
}

/** Reads the answer to a hello. Descriptors that do not belong to it are closed. */
function receiveAnswer(socket: LocalSocket): { facts: SharedMemoryFacts; descriptor: number } {
  const answer = socket.receive(new MessageReceiver(MAX_ANSWER_BYTES));
  if (answer === null || answer === "gone") throw lost();
  const { bytes, isCut, descriptors } = answer;
  try {
    const parsed = parseAnswer(bytes);
    if ("code" in parsed) throw peerError(parsed);
    if (isCut || descriptors.length !== 1) {
      throw new LocalError(
        "protocol",
        `cannot get shared memory: ${descriptors.length} descriptors came, expected one`,
      );
    }
    return { facts: parsed, descriptor: descriptors[0] };
  } catch (error) {
    for (const descriptor of descriptors) closeDescriptor(descriptor);
    throw error;
  }
}

function lost(): LocalError {
  return new LocalError("connection_lost", "cannot get shared memory: the server has closed the connection");
}
