/**
 * The requests of one client over UCX: waits for them, receives and reads them.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Block } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import {
  MAX_REQUEST_BYTES,
  parseRequest,
  REQUEST_ERRORS,
  REQUEST_KEEP,
  REQUEST_NO_ADDRESSES,
  REQUEST_STOP,
  traceparentOf,
} from "../protocol/envelope.ts";
import type { StreamRole } from "../protocol/role.ts";
import { SHARE_ENTRY } from "../protocol/share_handshake.ts";
import { FULL_MASK } from "../protocol/tag.ts";
import { type Channel, FAILED, PENDING, type Receive, type UnexpectedMessage } from "../wire/transport.ts";
import type { WantData } from "./stream_plane.ts";

/** The request of a client that has connected is on its way: how long it is polled for, in milliseconds. */
const EAGER_MS = 2;
/** Most bytes of a request to stop: an envelope without a ticket, with room for entries of a later version. */
const MAX_STOP_BYTES = 256;

/** A parsed request of a client. */
export interface ClientRequest {
  /** `null` if its tag is not one of this server's. */
  readonly role: StreamRole | null;
  readonly ticket: Uint8Array;
  /** Whether it came in an envelope, so that the client is known to be in error mode PEER. */
  readonly isEnveloped: boolean;
  /** Whether the client understands error messages. */
  readonly acceptsErrors: boolean;
  /** Whether the client may send another request on this connection. */
  readonly keeps: boolean;
  /** Whether it only ends the stream before it. */
  readonly stops: boolean;
  /** Names the session in which the client reads bodies in place, if it does. */
  readonly nonce: Uint8Array | undefined;
  /** `traceparent` of the client's span, if it has sent one. */
  readonly traceparent: string | undefined;
  /** Whether the client takes bodies by address; one that sends no envelope does not say. */
  readonly takesAddresses: boolean;
}

/** Reads the requests of one connection. */
export class RequestReader {
  readonly #channel: Channel;
  readonly #wantData: WantData;
  readonly #stop: AbortSignal;
  /** A request to stop whose bytes are still to come. */
  #stopping: { receive: Receive; block: Block } | null = null;

  /**
   * @param channel The connection
   * @param wantData The tags of requests for each role
   * @param stop Aborted when the server stops
   */
  constructor(channel: Channel, wantData: WantData, stop: AbortSignal) {
    this.#channel = channel;
    this.#wantData = wantData;
    this.#stop = stop;
  }

  /** Whether something has arrived. */
  get hasArrived(): boolean {
    return this.#channel.probe() !== null || this.#channel.queuedFrames !== 0;
  }

  /**
   * Receives a request.
   *
   * @param timeoutMs Longest wait for it, in milliseconds
   * @throws {DipcError} `timeout`, `protocol`, `limit_exceeded`, `cancelled`, the channel's failure
   */
  async next(timeoutMs: number): Promise<ClientRequest> {
    const channel = this.#channel;
    const signal = this.#stop;
    if (!await channel.until(() => this.hasArrived, { signal, timeoutMs, eagerMs: EAGER_MS })) {
      throw new DipcError("timeout", `cannot answer the client: no request arrived within ${timeoutMs} ms`);
    }
    const message = channel.probe();
    if (message === null) throw new DipcError("protocol", "cannot answer the client: it sent an untagged message");
    const role = this.#roleOf(message.tag);
    if (message.byteLength > MAX_REQUEST_BYTES) {
      throw new DipcError(
        "limit_exceeded",
        `cannot answer the client: its request has ${message.byteLength} bytes, at most ${MAX_REQUEST_BYTES} are allowed`,
      );
    }
    const { block, receive } = this.#receive(message);
    let isSettled = receive.poll() !== PENDING;
    try {
      if (!isSettled) isSettled = await channel.until(() => receive.poll() !== PENDING, { signal, timeoutMs });
      if (!isSettled) {
        throw new DipcError("timeout", `cannot answer the client: its request did not arrive within ${timeoutMs} ms`);
      }
      if (receive.poll() === FAILED) throw receive.error!;
      return { role, ...read(block, receive) };
    } finally {
      // A receive that may still be written to keeps its block until the worker is gone.
      if (isSettled) block.release();
      else channel.close().then(() => block.release(), () => {});
    }
  }

  /**
   * Takes the message that a client has sent while its stream is running, if there is one.
   *
   * @returns whether it wants no more of the stream
   * @throws {DipcError} `protocol` for any other message
   */
  hasStopped(): boolean {
    if (this.#stopping === null) {
      const message = this.#channel.probe();
      if (message === null) return false;
      if (this.#roleOf(message.tag) === null || message.byteLength > MAX_STOP_BYTES) throw notSilent();
      this.#stopping = this.#receive(message);
    }
    const { receive, block } = this.#stopping;
    if (receive.poll() === PENDING) return false;
    try {
      if (receive.poll() === FAILED) throw receive.error!;
      if (!read(block, receive).stops) throw notSilent();
      return true;
    } finally {
      this.#release();
    }
  }

  /** Releases what is left. Call it after the channel's `close()` has resolved. */
  close(): void {
    this.#release();
  }

  #release(): void {
    this.#stopping?.block.release();
    this.#stopping = null;
  }

  #receive({ tag, byteLength }: UnexpectedMessage): { block: Block; receive: Receive } {
    const block = hostPool().acquire(byteLength);
    return { block, receive: this.#channel.receive(tag, FULL_MASK, block, byteLength) };
  }

  #roleOf(tag: bigint): StreamRole | null {
    for (const role of ["both", "metadata", "body"] as const) if (this.#wantData[role] === tag) return role;
    return null;
  }
}

function read(block: Block, receive: Receive): Omit<ClientRequest, "role"> {
  const { ticket, enveloped, flags, entries } = parseRequest(block.bytes().subarray(0, receive.byteLength));
  return {
    ticket,
    isEnveloped: enveloped,
    acceptsErrors: (flags & REQUEST_ERRORS) !== 0,
    keeps: (flags & REQUEST_KEEP) !== 0,
    stops: (flags & REQUEST_STOP) !== 0,
    traceparent: traceparentOf(entries),
    nonce: entries.find(({ type }) => type === SHARE_ENTRY)?.bytes,
    takesAddresses: !enveloped || (flags & REQUEST_NO_ADDRESSES) === 0,
  };
}

function notSilent(): DipcError {
  return new DipcError("protocol", "cannot send the stream: the client sent a tagged message while it was running");
}
