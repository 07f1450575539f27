/**
 * The life of one UCX connection to a server: one request, one stream, and an orderly end.
 *
 * @module
 */
import { asDipcError, DipcError } from "../errors.ts";
import { hostPool } from "../memory/host_pool.ts";
import { encodeError, MAX_REQUEST_BYTES, parseRequest, REQUEST_ERRORS } from "../protocol/envelope.ts";
import { ERROR_MESSAGE } from "../protocol/prefix.ts";
import type { StreamRole } from "../protocol/role.ts";
import { SHARE_ENTRY } from "../protocol/share_handshake.ts";
import { FULL_MASK } from "../protocol/tag.ts";
import { OutgoingStream, type OutgoingTotals } from "../stream/outgoing.ts";
import { tellPeer } from "../tell_peer.ts";
import { type Channel, FAILED, PENDING } from "../wire/transport.ts";
import type { ServerEventDetail, ServerSettings } from "./options.ts";
import type { MemorySharing, SharingSession, StreamAdmission, WantData } from "./stream_plane.ts";

/** Longest wait for a client to close a finished connection, in milliseconds. */
const CLOSE_MS = 5_000;

/** What all connections of a server share. */
export interface ConnectionHost {
  readonly settings: ServerSettings;
  readonly admission: StreamAdmission;
  /** The tag that requests for each role carry. */
  readonly wantData: WantData;
  /** Aborted when the server stops. */
  readonly stop: AbortSignal;
  /** The session in which a client reads bodies of a dataset in place. */
  readonly claim: MemorySharing["claim"];
  /** Called once a request is parsed and admitted. */
  onRequest(detail: ServerEventDetail): void;
  /**
   * Called once with the outcome: `error` is set if it failed, `totals` if anything was sent. If the client accepts nothing, it does
   * not wait for it to take notice.
   */
  onOutcome(detail: ServerEventDetail): void;
}

/** A parsed request of a client. */
interface ClientRequest {
  /** `null` if its tag is not one of this server's. */
  readonly role: StreamRole | null;
  readonly ticket: Uint8Array;
  /** Whether the client understands error messages. */
  readonly acceptsErrors: boolean;
  /** Names the session in which it reads bodies in place, if it does. */
  readonly nonce: Uint8Array | undefined;
}

/** One connection. */
export class UcxConnection {
  readonly #channel: Channel;
  readonly #host: ConnectionHost;
  readonly #detail: ServerEventDetail;
  readonly #isRefused: boolean;
  #outgoing: OutgoingStream | null = null;
  #isSentWhole = false;
  #isConcluded = false;
  /** Whether the request is for another server, or an earlier start of this one, which does not violate the protocol. */
  #isStale = false;
  /**
   * Whether the client is known to be in error mode PEER, as everybody who sends an envelope is. In mode NONE requests may stay
   * open forever after the client has died, so nothing of its connection is used again.
   */
  #isPeerMode = false;
  /** How long to wait for the client to close the connection, in milliseconds; 0 does not wait. */
  #lingerMs = 0;

  /**
   * @param channel The accepted connection; closed by {@linkcode UcxConnection.run}
   * @param connection Number of the connection, from 1
   * @param host The server, as its connections use it
   * @param isRefused Whether the server has no room, so that the answer is `busy`
   */
  constructor(channel: Channel, connection: number, host: ConnectionHost, isRefused = false) {
    this.#isRefused = isRefused;
    this.#channel = channel;
    this.#host = host;
    this.#detail = { connection };
  }

  /**
   * Answers the one request and closes the connection. Never rejects.
   */
  async run(): Promise<void> {
    const detail = this.#detail;
    const channel = this.#channel;
    try {
      await this.#answer(await this.#receiveRequest());
    } catch (error) {
      detail.error = asDipcError(error);
      if (this.#outgoing?.hasStalled) this.#conclude();
    }
    // An error message must arrive too, so the connection is flushed unless the client violated the protocol or is gone.
    // One that accepts nothing would not accept that either.
    const isViolation = detail.error?.code === "protocol" && !this.#isStale;
    const flush = this.#isSentWhole || (channel.failure === null && !isViolation && !this.#outgoing?.hasStalled);
    if (this.#lingerMs > 0) await this.#awaitClose(this.#lingerMs);
    try {
      await channel.close({ flush, discard: !this.#isPeerMode });
      await this.#outgoing?.release();
    } catch (error) {
      detail.error ??= asDipcError(error);
    }
    this.#conclude();
  }

  #conclude(): void {
    if (this.#isConcluded) return;
    this.#isConcluded = true;
    const totals: OutgoingTotals | undefined = this.#outgoing?.totals;
    if (totals !== undefined) this.#detail.totals = totals;
    this.#host.onOutcome(this.#detail);
  }

  async #answer({ role, ticket, acceptsErrors, nonce }: ClientRequest): Promise<void> {
    const { settings, admission, stop, onRequest } = this.#host;
    const { windowBytes, windowBatches, idleTimeoutMs } = settings;
    const channel = this.#channel;
    let session: SharingSession | undefined;
    try {
      if (this.#isRefused) {
        throw new DipcError(
          "busy",
          `cannot serve the stream: the server has all of its ${settings.maxConnections} connections in use; try again later`,
        );
      }
      if (role === null) {
        this.#isStale = true;
        throw new DipcError(
          "protocol",
          "cannot answer the client: the tag of its request matches no want_data value of this server; check that the " +
            "URI is the one that this server printed: it changes with every start",
        );
      }
      const grant = await admission.admit(ticket, role);
      this.#detail.dataset = grant.entry.name;
      onRequest(this.#detail);
      if (nonce !== undefined && role === "both") session = this.#host.claim(nonce, grant.entry.name);
      this.#outgoing = new OutgoingStream(channel, grant.entry.dataset, {
        role,
        windowBytes,
        windowBatches,
        idleTimeoutMs,
        signal: session === undefined ? stop : AbortSignal.any([stop, session.signal]),
        sharing: session,
        onFirstBody: () => grant.spend(),
      });
      await this.#outgoing.run();
      this.#isSentWhole = true;
      // The other half of a stream may take much longer, and closing this one would look like a lost connection.
      this.#lingerMs = role === "both" ? CLOSE_MS : idleTimeoutMs;
    } catch (cause) {
      // The streams of a server that shuts down end with that reason, not with the wait that it aborted.
      const ended = [stop, session?.signal].find((signal) => signal?.aborted);
      const error = ended?.reason ?? cause;
      if (acceptsErrors && role !== "body" && channel.failure === null) this.#sendError(error);
      // Also if no error is sent with bodies: the metadata's connection reports why, and must not lose the race.
      if (acceptsErrors) this.#lingerMs = CLOSE_MS;
      throw error;
    }
  }

  #sendError(error: unknown): void {
    const { code, text } = tellPeer(error);
    this.#channel.sendFrame(ERROR_MESSAGE, 0, encodeError(code, text));
  }

  /**
   * Lets the client close first: the news that a connection was closed can overtake what was sent on it, and UCX then
   * drops what is still in the socket, so that the client would lose the end of the stream. One that keeps sending instead
   * is disconnected.
   */
  async #awaitClose(timeoutMs: number): Promise<void> {
    const channel = this.#channel;
    try {
      const isOver = () => channel.failure !== null || channel.probe() !== null || channel.queuedFrames !== 0;
      await channel.until(isOver, { timeoutMs, signal: this.#host.stop });
    } catch {
      // The server is stopping, or the connection is gone: either way it is closed now.
    }
  }

  /** Waits for the connection's request and reads it. */
  async #receiveRequest(): Promise<ClientRequest> {
    const channel = this.#channel;
    const timeoutMs = this.#host.settings.requestTimeoutMs;
    const signal = this.#host.stop;
    const hasRequest = await channel.until(() => channel.probe() !== null || channel.queuedFrames !== 0, {
      signal,
      timeoutMs,
    });
    if (!hasRequest) {
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
    const block = hostPool().acquire(message.byteLength);
    let isSettled = false;
    try {
      const receive = channel.receive(message.tag, FULL_MASK, block, message.byteLength);
      isSettled = await channel.until(() => receive.poll() !== PENDING, { signal, timeoutMs });
      if (!isSettled) {
        throw new DipcError("timeout", `cannot answer the client: its request did not arrive within ${timeoutMs} ms`);
      }
      if (receive.poll() === FAILED) throw receive.error!;
      const request = parseRequest(block.bytes().subarray(0, receive.byteLength));
      this.#isPeerMode = request.enveloped;
      const nonce = request.entries.find(({ type }) => type === SHARE_ENTRY)?.bytes;
      return { role, ticket: request.ticket.slice(), acceptsErrors: (request.flags & REQUEST_ERRORS) !== 0, nonce };
    } finally {
      // A receive that may still be written to keeps its block until the worker is gone.
      if (isSettled) block.release();
      else channel.close().then(() => block.release(), () => {});
    }
  }

  #roleOf(tag: bigint): StreamRole | null {
    const { wantData } = this.#host;
    for (const role of ["both", "metadata", "body"] as const) if (wantData[role] === tag) return role;
    return null;
  }
}
