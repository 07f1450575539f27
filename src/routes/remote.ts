/**
 * The client's side of memory that a server lends by UCX's remote keys: makes bodies of lists of addresses, and gives back what it has
 * read. Bodies are copied at once, so that neither side can change what the other one has.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { Block, Body, Pool } from "../memory/block.ts";
import { wrapBytes } from "../memory/wrap.ts";
import { addressesIn, type AddressList, parseAddressList } from "../protocol/address_list.ts";
import type { UcxUri } from "../protocol/uri.ts";
import type { AddressedBodies, BodyFetch } from "../stream/body_sharing.ts";
import {
  type Channel,
  DONE,
  FAILED,
  type Operation,
  PENDING,
  type RemoteMemory,
  type RemoteRange,
} from "../wire/transport.ts";
import { FreedAddresses } from "./freed_addresses.ts";

/** Where memory may lie of which only the server knows where it ends: addresses of a program, without the lowest page. */
const ANYWHERE: RemoteRange = { base: 4096n, byteLength: 2 ** 56 - 4096 };
/** Most fetches of one body under way. */
const MAX_FETCHES = 32;

/** A run of bytes to read. */
interface Piece {
  /** Address in the server. */
  readonly address: bigint;
  /** Offset in the body. */
  readonly at: number;
  readonly byteLength: number;
}

/** The memory of a server, for one stream. */
export class RemoteSession implements AddressedBodies {
  readonly #memory: RemoteMemory;
  readonly #pool: Pool;
  readonly #freed: FreedAddresses;

  /**
   * @param channel The connection, made with remote memory
   * @param uri What the server says about its memory
   * @param pool Memory for the bodies
   * @throws {DipcError} why the memory cannot be read
   */
  constructor(channel: Channel, { remoteHandle, freeData }: UcxUri, pool: Pool) {
    if (channel.openRemote === undefined || remoteHandle === null || freeData === null) {
      throw new LocalError("unsupported", "cannot read the server's memory: the transport has no remote memory");
    }
    this.#memory = channel.openRemote(remoteHandle);
    this.#pool = pool;
    let sending: Operation[] = [];
    this.#freed = new FreedAddresses((message) => {
      sending = sending.filter((operation) => operation.poll() === PENDING);
      const operation = channel.sendTagged(freeData, wrapBytes(message), false, "body");
      if (operation !== null) sending.push(operation);
      return operation?.poll() === FAILED ? "gone" : "sent";
    });
  }

  /** Why bodies are fetched, and not mapped; empty if they are mapped. */
  get fetchReason(): string {
    return this.#memory.fetchReason;
  }

  bodyOf(list: Uint8Array<ArrayBuffer>, header: MessageHeader): Body | BodyFetch {
    const memory = this.#memory;
    const range = memory.range ?? ANYWHERE;
    const parsed = parseAddressList(list, header, range);
    const addresses = addressesIn(parsed, header, range.base);
    const pieces = piecesOf(parsed, header, range.base);
    const block = this.#pool.acquire(header.bodyLength);
    clearGaps(block, header.bodyLength, pieces);
    const giveBack = (): void => {
      if (addresses.length > 0) this.#freed.add(addresses, header.bodyLength);
    };
    if (memory.range === null) return new Fetch(memory, block, pieces, giveBack);
    for (const { address, at, byteLength } of pieces) memory.copy(address, block.address + BigInt(at), byteLength);
    giveBack();
    return block.toBody(header.bodyLength);
  }

  flush(): void {
    this.#freed.flush();
  }

  close(): void {
    this.#freed.end();
  }
}

/** What has to be read: one run if the buffers lie as in a packed body, otherwise one for each buffer. */
function piecesOf({ offsets, packedAt }: AddressList, { buffers }: MessageHeader, base: bigint): Piece[] {
  const pieces: Piece[] = [];
  for (let i = 0; i < offsets.length; i++) {
    const at = buffers[2 * i], byteLength = buffers[2 * i + 1];
    if (byteLength > 0) pieces.push({ address: base + BigInt(offsets[i]), at, byteLength });
  }
  if (packedAt < 0 || pieces.length === 0) return pieces;
  let at = Infinity, end = 0;
  for (const piece of pieces) {
    at = Math.min(at, piece.at);
    end = Math.max(end, piece.at + piece.byteLength);
  }
  return [{ address: base + BigInt(packedAt + at), at, byteLength: end - at }];
}

/** What is not read must not show what the block held before. */
function clearGaps(block: Block, bodyLength: number, pieces: readonly Piece[]): void {
  const bytes = block.bytes();
  if (pieces.length !== 1) return void bytes.fill(0, 0, bodyLength);
  const [{ at, byteLength }] = pieces;
  bytes.fill(0, 0, at).fill(0, at + byteLength, bodyLength);
}

/** A body that is being fetched. */
class Fetch implements BodyFetch {
  error: BodyFetch["error"] = null;
  readonly #memory: RemoteMemory;
  readonly #pieces: readonly Piece[];
  readonly #onDone: () => void;
  #next = 0;
  #running: Operation[] = [];
  #state: 0 | 1 | 2 = PENDING;

  constructor(memory: RemoteMemory, readonly block: Block, pieces: readonly Piece[], onDone: () => void) {
    this.#memory = memory;
    this.#pieces = pieces;
    this.#onDone = onDone;
  }

  poll(): 0 | 1 | 2 {
    if (this.#state !== PENDING) return this.#state;
    this.#running = this.#running.filter((operation) => this.#isRunning(operation));
    while (this.error === null && this.#running.length < MAX_FETCHES && this.#next < this.#pieces.length) {
      const { address, at, byteLength } = this.#pieces[this.#next++];
      const operation = this.#memory.fetch(address, this.block, at, byteLength);
      if (operation !== null && this.#isRunning(operation)) this.#running.push(operation);
    }
    if (this.error !== null) return this.#state = FAILED;
    if (this.#running.length > 0) return PENDING;
    this.#onDone();
    return this.#state = DONE;
  }

  #isRunning(operation: Operation): boolean {
    const status = operation.poll();
    if (status === FAILED) this.error ??= operation.error;
    return status === PENDING;
  }
}
