/**
 * The stream of one endpoint, by UCX if that works and by DoGet otherwise.
 *
 * The route may change until the first message has been handed out; later a failure ends the stream, so that no batch is
 * delivered twice or missed.
 *
 * @module
 */
import { equalBytes } from "../bytes.ts";
import { DipcError, LocalError } from "../errors.ts";
import { describeSchema } from "../ipc/describe.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { EndpointStats, RouteName } from "./stats.ts";
import type { EndOptions, MessageInput } from "../stream/message_input.ts";
import { AnswerError } from "../protocol/envelope.ts";
import { bound } from "../telemetry/telemetry.ts";
import { type Candidate, type EndpointOptions, planCandidates } from "./candidates.ts";
import type { WaitingEndpoint } from "./endpoint_renewal.ts";

/** Longest reason that is shown, in characters. */
const REASON_CHARACTERS = 300;

/** The stream of one endpoint. */
export class EndpointInput implements MessageInput {
  readonly #waiting: WaitingEndpoint;
  readonly #options: EndpointOptions;
  /** Aborts opening. */
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Candidates that were not tried yet; `null` before the first attempt. */
  #candidates: Candidate[] | null = null;
  #mayRequestAgain = false;
  #input: MessageInput | null = null;
  #schema: MessageHeader | null = null;
  /** Why UCX was not used, up to now. */
  #reason = "";
  /** What the locations that were tried by DoGet failed with. */
  readonly #failures: { readonly location: string; readonly error: unknown }[] = [];
  #ucxError: unknown = null;
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
    throw this.#failure();
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
    // A server may reject a second request for what it has begun to send, unless it states how long the ticket is valid.
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
        const mayRequestAgain = this.#stats.route === "ucx" || this.#mayRequestAgain;
        this.#dropFallback(this.#stats.route!, error);
        if (this.#isClosed || isFinal(error)) throw error;
        if (!mayRequestAgain || this.#candidates!.length === 0) {
          throw this.#stats.route === "flight" ? this.#afterAnswer(error, this.#stats.location!) : error;
        }
        await this.#input!.close();
        this.#metadataBytes += this.#input!.metadataBytes;
        this.#input = null;
        this.#abandon({ route: this.#stats.route!, location: this.#stats.location! }, error);
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

  /** Opens a candidate; one that is followed by others must answer in time. */
  async #within(candidate: Candidate): ReturnType<Candidate["open"]> {
    const { route, ucxTimeoutMs } = this.#options;
    const signal = this.#signal;
    if (candidate.route !== "ucx" || route === "ucx") return await candidate.open(signal);
    this.#ucxUntilMs ??= performance.now() + ucxTimeoutMs;
    // Not AbortSignal.timeout: once the candidate is open, its stream must not be aborted any more.
    const limit = new AbortController();
    const timer = setTimeout(
      () =>
        limit.abort(new LocalError("timeout", `cannot start the stream: no answer within ${ucxTimeoutMs / 1000} s`)),
      Math.max(1, this.#ucxUntilMs - performance.now()),
    );
    try {
      return await candidate.open(AbortSignal.any([signal, limit.signal]));
    } catch (error) {
      throw limit.signal.aborted && !signal.aborted ? limit.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }

  #abandon({ route, location }: Pick<Candidate, "route" | "location">, error: unknown): void {
    if (this.#isClosed || isFinal(error) || this.#signal.aborted) throw error;
    if (isDeadly(error)) this.#options.clients.noteDead(location);
    if (route === "flight") this.#failures.push({ location, error });
    else {
      this.#reason = `UCX failed: ${reasonOf(error)}`;
      this.#ucxError ??= error;
    }
    this.#dropFallback(route, error);
  }

  /** A location that has answered is one to believe: the server that was asked need not be tried. */
  #dropFallback(route: RouteName, error: unknown): void {
    if (route === "ucx" || isUnreached(error)) return;
    const left = this.#candidates!.findIndex(({ isFallback }) => isFallback);
    if (left >= 0) this.#candidates!.splice(left, 1);
  }

  /** An answer by UCX is why the fetch has failed; what a second request met may be no more than that it came second. */
  #afterAnswer(error: unknown, location: string): unknown {
    const answer = this.#ucxError;
    if (!(answer instanceof AnswerError)) return error;
    // Both say the same, one of them with the status of gRPC.
    if (error instanceof DipcError && error.code === answer.code) return error.foreign === undefined ? answer : error;
    const message = `${answer.message} (then ${location}: ${reasonOf(error)})`;
    return new LocalError(answer.code, message, { cause: answer, foreign: answer.foreign });
  }

  #failure(): unknown {
    const [first, ...others] = this.#failures;
    if (first !== undefined && this.#ucxError instanceof AnswerError) {
      return this.#afterAnswer(first.error, first.location);
    }
    const error = first === undefined ? this.#ucxError : first.error;
    if (!(error instanceof DipcError) || first === undefined) return error;
    const more = others.map(({ location, error }) => `then ${location}: ${reasonOf(error)}`);
    if (this.#options.route === "auto" && this.#reason.startsWith("UCX failed")) {
      more.unshift(`and before that: ${this.#reason}`);
    }
    if (more.length === 0) return error;
    const message = `${error.message} (${more.join("; ")})`;
    return new LocalError(error.code, message, {
      cause: error.cause ?? error,
      foreign: error.foreign,
    });
  }
}

/** @throws {DipcError} `invalid_data` if two parts of one flight differ */
export function sameSchema(expected: MessageHeader, found: MessageHeader): void {
  if (equalBytes(expected.bytes, found.bytes)) return;
  // Two servers may encode one schema differently.
  if (JSON.stringify(describeSchema(expected)) === JSON.stringify(describeSchema(found))) return;
  throw new LocalError("invalid_data", "cannot read the flight: its endpoints have different schemas");
}

/** Whether an error is one of reaching a server, not of the server. */
function isUnreached(error: unknown): boolean {
  const codes: readonly string[] = [
    ...["unreachable", "busy", "timeout", "connection_lost", "permission_denied", "invalid_uri"],
  ];
  return error instanceof DipcError && error.foreign === undefined && codes.includes(error.code);
}

/** Whether an error says that a location does not answer at all, so that other endpoints need not wait for it. */
function isDeadly(error: unknown): boolean {
  return isUnreached(error) && ["unreachable", "timeout"].includes((error as DipcError).code);
}

/** Errors that no other candidate can help with. */
function isFinal(error: unknown): boolean {
  return error instanceof DipcError && (error.code === "cancelled" || error.code === "closed") &&
    error.foreign === undefined;
}

function reasonOf(error: unknown): string {
  const text = (error instanceof DipcError ? `${error.code}: ${error.message}` : String(error)).replace(/\s+/g, " ");
  return text.length > REASON_CHARACTERS ? `${text.slice(0, REASON_CHARACTERS)}…` : text;
}
