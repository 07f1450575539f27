/**
 * The stream of one endpoint, by UCX if that works and by DoGet otherwise.
 *
 * Another route is taken as long as nothing was requested, or the server says that it has done nothing: what a ticket stands for may be
 * executed each time. If the endpoint may be requested again, the route may change until the first message has been handed out; later a
 * failure ends the stream, so that no batch is delivered twice or missed.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { LocalError } from "../errors.ts";
import { describeSchema } from "../ipc/describe.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { EndpointStats } from "./stats.ts";
import type { EndOptions, MessageInput } from "../stream/message_input.ts";
import { bound } from "../telemetry/telemetry.ts";
import {
  type FailedAttempt,
  failureOf,
  isAnswer,
  isDeadly,
  isFinal,
  isUnreached,
  isUntouched,
  reasonOf,
} from "./attempt.ts";
import { type Candidate, type EndpointOptions, planCandidates } from "./candidates.ts";
import type { WaitingEndpoint } from "./endpoint_renewal.ts";

/** The stream of one endpoint. */
export class EndpointInput implements MessageInput {
  readonly #waiting: WaitingEndpoint;
  readonly #options: EndpointOptions;
  /** Aborts opening. */
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Candidates that were not tried yet; `null` before the first attempt. */
  #candidates: Candidate[] | null = null;
  /** Whether a server promises that it may be requested more than once. */
  #mayRequestAgain = false;
  /** Whether the candidate that is being tried has requested it. */
  #wasRequested = false;
  /** The candidate that `input` is of. */
  #taken: Candidate | null = null;
  #input: MessageInput | null = null;
  #schema: MessageHeader | null = null;
  /** Why UCX was not used, up to now. */
  #reason = "";
  readonly #failures: FailedAttempt[] = [];
  /** Deadline of all `ucx:` locations together. */
  #ucxUntilMs: number | null = null;
  #isSettled = false;
  #isClosed = false;
  /** Runs with the span of the stream, also if it is the reader that comes to this endpoint. */
  readonly #inTrace = bound((run: () => Promise<MessageHeader>) => run());
  /** Bytes of metadata of abandoned inputs. */
  #metadataBytes = 0;
  #stats: { -readonly [Name in keyof EndpointStats]-?: EndpointStats[Name] } = {
    ...{ route: null, routeReason: "", location: null, batches: 0, sharedBytes: 0, sharingReason: null },
  };
  /** Names of UCX's transports in use. */
  transports: readonly string[] = [];
  /** Why they are not the fastest that this machine has; empty if nothing was in the way. */
  transportsReason = "";
  /** Called once, when the route is settled. */
  onSettled: (stats: EndpointStats) => void = () => {};

  /**
   * @param waiting The endpoint: ticket and locations
   * @param options Route, limits and clients
   */
  constructor(waiting: WaitingEndpoint, options: EndpointOptions) {
    this.#waiting = waiting;
    this.#options = options;
    const { signal } = options;
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
  }

  /** Route and location of the data. */
  get stats(): EndpointStats {
    return this.#stats;
  }

  /** Bytes of metadata received. */
  get metadataBytes(): number {
    return this.#metadataBytes + (this.#input?.metadataBytes ?? 0);
  }

  /**
   * Starts the stream by the first candidate that works.
   *
   * @returns the schema message
   * @throws {DipcError} the error of the last candidate, and why those before it were not used
   */
  open(): Promise<MessageHeader> {
    return this.#inTrace(() => this.#open());
  }

  async #open(): Promise<MessageHeader> {
    const candidates = this.#candidates ??= await this.#plan();
    if (candidates.length === 0) {
      throw new LocalError("unreachable", `cannot fetch the endpoint by UCX: ${this.#reason}`);
    }
    for (let candidate; (candidate = candidates.shift()) !== undefined;) {
      try {
        return await this.#take(candidate);
      } catch (error) {
        this.#abandon(candidate, error);
      }
    }
    throw failureOf(this.#failures);
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    if (this.#isSettled) {
      const message = this.#input!.next();
      if (message instanceof Promise) return message.then(this.#count);
      return this.#count(message);
    }
    return this.#first();
  }

  async close(options?: EndOptions): Promise<void> {
    this.#isClosed = true;
    this.#waiting.release();
    if (this.#input === null) this.#stop.abort(new LocalError("closed", "cannot read the stream: it was closed"));
    else await this.#input.close(options);
  }

  async #plan(): Promise<Candidate[]> {
    const endpoint = await this.#waiting.take();
    // Flight: whether a ticket is good twice is up to the server, unless it states how long the ticket is valid.
    this.#mayRequestAgain = endpoint.expirationTime !== null;
    const { candidates, reason } = planCandidates(endpoint, this.#options);
    this.#reason = reason;
    return candidates;
  }

  /** The first message decides: until it is there, the next candidate may be taken. */
  async #first(): Promise<IpcMessage | null> {
    for (;;) {
      try {
        const message = await this.#input!.next();
        this.#isSettled = true;
        this.onSettled(this.#stats);
        return this.#count(message);
      } catch (error) {
        this.#abandon(this.#taken!, error);
        if (this.#candidates!.length === 0) throw failureOf(this.#failures);
        await this.#input!.close();
        this.#metadataBytes += this.#input!.metadataBytes;
        this.#input = null;
        const schema = this.#schema!;
        sameSchema(schema, await this.open());
        this.#schema = schema;
      }
    }
  }

  #count = (message: IpcMessage | null): IpcMessage | null => {
    if (message?.header.kind === "batch") this.#stats.batches++;
    this.#stats.sharedBytes = this.#input!.sharedBytes ?? 0;
    return message;
  };

  async #take(candidate: Candidate): Promise<MessageHeader> {
    const opened = await this.#within(candidate);
    if (this.#isClosed) {
      await opened.input.close();
      throw new LocalError("closed", "cannot read the stream: it was closed");
    }
    this.#taken = candidate;
    this.#input = opened.input;
    this.#schema = opened.schema;
    this.transports = opened.transports;
    this.transportsReason = opened.transportsReason;
    this.#stats.sharingReason = opened.sharingReason;
    this.#stats.route = candidate.route;
    this.#stats.location = candidate.location;
    this.#stats.routeReason = candidate.route === "ucx" ? "the server offers UCX, and it answered" : this.#reason;
    return opened.schema;
  }

  /** Opens a candidate; one that is followed by others must be reached in time. */
  async #within(candidate: Candidate): ReturnType<Candidate["open"]> {
    const { route, ucxTimeoutMs } = this.#options;
    const signal = this.#signal;
    this.#wasRequested = false;
    const onRequest = (): void => void (this.#wasRequested = true);
    if (candidate.route !== "ucx" || route === "ucx") return await candidate.open(signal, onRequest);
    this.#ucxUntilMs ??= performance.now() + ucxTimeoutMs;
    // Not AbortSignal.timeout: once the data is requested, the server has the time that it would have by DoGet.
    const limit = new AbortController();
    const timer = setTimeout(
      () =>
        limit.abort(new LocalError("timeout", `cannot start the stream: no answer within ${ucxTimeoutMs / 1000} s`)),
      Math.max(1, this.#ucxUntilMs - performance.now()),
    );
    try {
      return await candidate.open(AbortSignal.any([signal, limit.signal]), () => {
        onRequest();
        clearTimeout(timer);
      });
    } catch (error) {
      throw limit.signal.aborted && !signal.aborted ? limit.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Notes a failure, and drops the candidates that must not be tried after it. @throws `error` if that is the end of it */
  #abandon({ route, location, isFallback }: Omit<Candidate, "open">, error: unknown): void {
    if (this.#isClosed || isFinal(error) || this.#signal.aborted) throw error;
    if (isDeadly(error)) this.#options.clients.noteDead(location);
    const failed = { route, location, isFallback, error };
    this.#failures.push(failed);
    if (route === "ucx") this.#reason = `UCX failed: ${reasonOf(error)}`;
    else if (!isUnreached(error)) this.#dropFallback();
    if (isUntouched(failed, this.#wasRequested)) return;
    if (isAnswer(failed) || !this.#mayRequestAgain) this.#candidates!.length = 0;
  }

  /** A location that has answered is one to believe: the server that was asked need not be tried. */
  #dropFallback(): void {
    const left = this.#candidates!.findIndex(({ isFallback }) => isFallback);
    if (left >= 0) this.#candidates!.splice(left, 1);
  }
}

/** @throws {DipcError} `invalid_data` if two parts of one flight differ */
export function sameSchema(expected: MessageHeader, found: MessageHeader): void {
  if (equalBytes(expected.bytes, found.bytes)) return;
  // Two servers may encode one schema differently.
  if (JSON.stringify(describeSchema(expected)) === JSON.stringify(describeSchema(found))) return;
  throw new LocalError("invalid_data", "cannot read the flight: its endpoints have different schemas");
}
