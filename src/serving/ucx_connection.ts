/**
 * The life of one UCX connection to a server: a request, its stream, perhaps further ones, and an orderly end.
 *
 * @module
 */
import { asDipcError, DipcError } from "../errors.ts";
import { grpcStatusOf } from "../grpc/status.ts";
import { encodeError, type ErrorFacts } from "../protocol/envelope.ts";
import { ERROR_MESSAGE } from "../protocol/prefix.ts";
import { OutgoingStream, type OutgoingTotals } from "../stream/outgoing.ts";
import { NoSchemaError, PeerError, RefusedError, tellPeer } from "../tell_peer.ts";
import { StreamSpan } from "../telemetry/stream_span.ts";
import type { Channel } from "../wire/transport.ts";
import type { ServerEventDetail, ServerSettings } from "./options.ts";
import type { MemorySharing, RemoteLending, SharingSession, StreamAdmission, WantData } from "./stream_plane.ts";
import { type ClientRequest, RequestReader } from "./ucx_request.ts";

/** Longest wait for a client to close a finished connection, in milliseconds. */
const CLOSE_MS = 5_000;
/** A client that asks again mostly does so at once: to fall asleep before, and to be woken up, would take longer, in milliseconds. */
const EAGER_MS = 0.5;
/** A connection is not cut sooner than this after its stream, in milliseconds: the news could overtake the end of the stream. */
const GRACE_MS = 100;

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
  /** The session of a client that reads bodies of a dataset by a remote key, if it can. */
  openRemote(dataset: string, channel: Channel): RemoteLending | undefined;
  /** Called once a request is parsed and admitted. */
  onRequest(detail: ServerEventDetail): void;
  /**
   * Called once for each request with the outcome: `error` is set if it failed, `totals` if anything was sent. If the client accepts
   * nothing, it does not wait for it to take notice.
   */
  onOutcome(detail: ServerEventDetail): void;
  /**
   * Called when a stream has ended and its connection could wait for another request.
   *
   * @returns whether it may
   */
  onRest(connection: UcxConnection): boolean;
  /**
   * Called when a connection that waited has another request.
   *
   * @returns whether the server has room for another client
   */
  onWake(connection: UcxConnection): boolean;
}

/** One connection. */
export class UcxConnection {
  readonly #channel: Channel;
  readonly #host: ConnectionHost;
  readonly #connection: number;
  readonly #requests: RequestReader;
  #isRefused: boolean;
  /** Whether it waits for another request. */
  isResting = false;
  #restingSince = 0;
  #givingUp: ReturnType<typeof setTimeout> | undefined;
  #detail: ServerEventDetail;
  #outgoing: OutgoingStream | null = null;
  #remote: RemoteLending | null = null;
  #span: StreamSpan | null = null;
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
    this.#connection = connection;
    this.#detail = { connection };
    this.#requests = new RequestReader(channel, host.wantData, host.stop);
  }

  /**
   * Answers the first request, and those that follow, then closes the connection. Never rejects.
   */
  async run(): Promise<void> {
    let request: ClientRequest | null = null;
    do {
      if (!await this.#serve(request)) return await this.#close();
      request = await this.#rest();
    } while (request !== null);
    // In order, so that the next connection finds a worker that has carried one.
    if (this.#host.stop.aborted) this.#channel.cut!();
    else await this.#channel.close({ flush: true });
    this.#requests.close();
  }

  /** Closes a connection that waits for another request. */
  giveUp(): void {
    const left = this.#restingSince + GRACE_MS - performance.now();
    if (left > 0) this.#givingUp ??= setTimeout(() => this.#channel.cut!(), left);
    else this.#channel.cut!();
  }

  /**
   * Answers one request.
   *
   * @param request What has arrived; `null` if it is still to come
   * @returns whether the connection can carry another one
   */
  async #serve(request: ClientRequest | null): Promise<boolean> {
    const detail: ServerEventDetail = this.#detail = { connection: this.#connection };
    this.#outgoing = null;
    this.#isSentWhole = this.#isConcluded = false;
    this.#lingerMs = 0;
    try {
      request ??= await this.#requests.next(this.#host.settings.requestTimeoutMs);
      this.#isPeerMode = request.isEnveloped;
      await this.#answer(request);
      if (!this.#mayKeep(request) || !await this.#settleAll()) return false;
      await this.#outgoing!.release();
    } catch (error) {
      detail.error = asDipcError(error);
      // A client that leaves without a request has no stream that could have failed.
      if (request === null && detail.error.code === "connection_lost") this.#isConcluded = true;
      if (this.#hasStalled()) this.#conclude();
      return false;
    }
    this.#conclude();
    this.#restingSince = performance.now();
    return this.isResting = this.#host.onRest(this);
  }

  #hasStalled(): boolean {
    return this.#outgoing !== null && this.#outgoing.hasStalled;
  }

  /** Ends the connection after its last stream. */
  async #close(): Promise<void> {
    const detail = this.#detail;
    const channel = this.#channel;
    // An error message must arrive too, so the connection is flushed unless the client violated the protocol or is gone.
    // One that accepts nothing would not accept that either.
    const isViolation = detail.error?.code === "protocol" && !this.#isStale;
    const flush = this.#isSentWhole || (channel.failure === null && !isViolation && !this.#hasStalled());
    if (this.#lingerMs > 0) await this.#awaitClose(this.#lingerMs);
    try {
      await channel.close({ flush, discard: !this.#isPeerMode });
      this.#requests.close();
      this.#remote?.leave();
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
    const { batches = 0, bodyBytes = 0, sharedBytes = 0 } = totals ?? {};
    const facts = { "dipc.shared_bytes": sharedBytes };
    const waitedMs = this.#outgoing?.waitedMs;
    this.#span?.end({ batches, bodyBytes, waitedMs, facts, error: this.#detail.error });
    this.#span = null;
    this.#host.onOutcome(this.#detail);
  }

  /** Whether the client may ask again after this stream, and this side can tell when nothing of it is left. */
  #mayKeep({ keeps, role }: ClientRequest): boolean {
    const { keepAliveMs } = this.#host.settings;
    return keeps && role === "both" && this.#remote === null && keepAliveMs > 0 && this.#channel.isQuiet !== undefined;
  }

  /** Waits until nothing of the stream is under way. @returns whether the connection is sound then */
  async #settleAll(): Promise<boolean> {
    const channel = this.#channel;
    const isQuiet = (): boolean => channel.isQuiet === true;
    if (isQuiet()) return true;
    try {
      // A client that sends frames will not be quiet any more.
      const isSettled = (): boolean => isQuiet() || channel.queuedFrames !== 0;
      return await channel.until(isSettled, { timeoutMs: CLOSE_MS, signal: this.#host.stop }) && isQuiet();
    } catch {
      return false;
    }
  }

  /**
   * Waits for the next request, which keeps neither the server from stopping nor a client from its place.
   *
   * @returns the request; `null` if the connection is over
   */
  async #rest(): Promise<ClientRequest | null> {
    const { settings, stop, onWake } = this.#host;
    const channel = this.#channel;
    const end = this.#restingSince + settings.keepAliveMs;
    try {
      for (;;) {
        const timeoutMs = Math.max(0, end - performance.now());
        if (!await channel.until(() => this.#requests.hasArrived, { timeoutMs, signal: stop, eagerMs: EAGER_MS })) {
          return null;
        }
        const request = await this.#requests.next(settings.requestTimeoutMs);
        // One to stop that has crossed the end of its stream.
        if (request.stops) continue;
        this.isResting = false;
        this.#isRefused = !onWake(this);
        return request;
      }
    } catch (error) {
      // That it ends is expected; only what the client should not have sent is reported.
      const failure = asDipcError(error);
      if (failure.code === "protocol" || failure.code === "limit_exceeded") {
        this.#host.onOutcome({ connection: this.#connection, error: failure });
      }
      return null;
    } finally {
      clearTimeout(this.#givingUp);
      this.#givingUp = undefined;
    }
  }

  async #answer(
    { role, ticket, acceptsErrors, keeps, nonce, takesAddresses, traceparent }: ClientRequest,
  ): Promise<void> {
    const { settings, admission, stop, onRequest } = this.#host;
    const { windowBytes, windowBatches, idleTimeoutMs } = settings;
    const channel = this.#channel;
    const span = this.#span = new StreamSpan("sent", traceparent);
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
      span.set({ "dipc.dataset": grant.entry.name });
      onRequest(this.#detail);
      if (nonce !== undefined && role === "both") session = this.#host.claim(nonce, grant.entry.name);
      else if (takesAddresses && role === "both") {
        this.#remote = this.#host.openRemote(grant.entry.name, channel) ?? null;
      }
      const remote = this.#remote;
      session?.enter();
      const outgoing = this.#outgoing = new OutgoingStream(channel, grant.entry.dataset, {
        role,
        windowBytes,
        windowBatches,
        idleTimeoutMs,
        signal: session === undefined ? stop : AbortSignal.any([stop, session.signal]),
        sharing: session ?? remote ?? undefined,
        onFirstBody: () => grant.spend(),
        hasStopped: remote !== null ? () => !remote.drain() : keeps ? () => this.#requests.hasStopped() : undefined,
      });
      await span.run(() => outgoing.run());
      if (outgoing.isStopped) return await this.#stopStream(outgoing);
      if (remote !== null) return await this.#untilReturned(remote);
      this.#isSentWhole = true;
      // The other half of a stream may take much longer, and closing this one would look like a lost connection.
      this.#lingerMs = role === "both" ? CLOSE_MS : idleTimeoutMs;
    } catch (cause) {
      // The streams of a server that shuts down end with that reason, not with the wait that it aborted.
      const ended = [stop, session?.signal].find((signal) => signal?.aborted);
      const error = ended?.reason ?? cause;
      if (acceptsErrors && role !== "body" && channel.failure === null) {
        this.#sendError(error, this.#outgoing === null ? { outcome: "refused" } : factsOf(error));
      }
      // Also if no error is sent with bodies: the metadata's connection reports why, and must not lose the race.
      if (acceptsErrors) this.#lingerMs = CLOSE_MS;
      throw error;
    } finally {
      session?.exit();
    }
  }

  /** A client may read what was lent to it after its stream, too. */
  async #untilReturned(remote: RemoteLending): Promise<void> {
    await remote.returned(this.#host.stop);
    this.#isSentWhole = true;
  }

  /** Ends a stream of which the client wants no more. Its connection can carry another one. */
  async #stopStream(outgoing: OutgoingStream): Promise<void> {
    const error = new DipcError("cancelled", "cannot complete the stream: the client wanted no more of it");
    this.#detail.error = error;
    this.#sendError(error, {});
    await outgoing.settle();
  }

  #sendError(error: unknown, facts: ErrorFacts): void {
    const { code, text } = tellPeer(error);
    this.#channel.sendFrame(ERROR_MESSAGE, 0, encodeError(code, text, facts));
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
}

/** What a client learns of the error of a dataset besides its text. What was written for the peer is an answer, and has a status. */
function factsOf(error: unknown): ErrorFacts {
  if (error instanceof RefusedError) return { outcome: "refused" };
  if (error instanceof NoSchemaError) return { outcome: "empty" };
  return error instanceof PeerError ? { status: grpcStatusOf(error) } : {};
}
