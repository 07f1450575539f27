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
import type { ReaderLimits } from "../limits.ts";
import type { Pool } from "../memory/block.ts";
import type { Alternative } from "../protocol/uri.ts";
import type { EndpointStats, RouteName } from "./stats.ts";
import type { MessageInput } from "../stream/message_input.ts";
import { openAlternative } from "./ucx.ts";
import type { Transport } from "../wire/transport.ts";
import type { ClientPool } from "./client_pool.ts";
import { sortLocations } from "./locations.ts";
import type { WaitingEndpoint } from "./endpoint_renewal.ts";
import type { FlightEndpoint } from "../flight/model.ts";

/** Longest reason that is shown, in characters. */
const REASON_CHARACTERS = 300;

/** What the endpoints of one flight have in common. */
export interface EndpointOptions {
  clients: ClientPool;
  route: "auto" | RouteName;
  /** Why the data comes by DoGet, if `route` is `"flight"`. */
  flightReason: string;
  /** Why UCX is not tried; `null` if it is. */
  ucxProblem: string | null;
  ucxTimeoutMs: number;
  timeoutMs: number;
  limits: ReaderLimits;
  signal?: AbortSignal;
  library?: string;
  transport?: Transport;
  /** Memory that receives bodies by UCX. */
  ucxPool: () => Pool;
}

/** One way to fetch the endpoint. */
interface Candidate {
  readonly route: RouteName;
  readonly location: string;
  open(signal: AbortSignal): Promise<OpenedCandidate>;
}

/** A running stream of the endpoint. */
interface OpenedCandidate {
  readonly input: MessageInput;
  readonly schema: MessageHeader;
  readonly transports: readonly string[];
  readonly transportsReason: string;
}

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
  #firstError: unknown = null;
  /** Deadline of all `ucx:` locations together. */
  #ucxUntilMs: number | null = null;
  #isSettled = false;
  #isClosed = false;
  /** Bytes of metadata of abandoned inputs. */
  #metadataBytes = 0;
  #stats: { route: RouteName | null; routeReason: string; location: string | null; batches: number } = {
    route: null,
    routeReason: "",
    location: null,
    batches: 0,
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
  async open(): Promise<MessageHeader> {
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

  async close(options?: { flush?: boolean }): Promise<void> {
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
        if (!mayRequestAgain || this.#candidates!.length === 0 || this.#isClosed || isFinal(error)) throw error;
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

  #abandon(candidate: Pick<Candidate, "route" | "location">, error: unknown): void {
    if (this.#isClosed || isFinal(error) || this.#signal.aborted) throw error;
    if (candidate.route === "ucx") this.#reason = `UCX failed: ${reasonOf(error)}`;
    else this.#firstError ??= error;
    if (this.#options.route === "ucx") this.#firstError ??= error;
  }

  #failure(): unknown {
    const error = this.#firstError;
    if (!(error instanceof DipcError) || this.#options.route !== "auto" || !this.#reason.startsWith("UCX failed")) {
      return error;
    }
    const message = `${error.message} (and before that: ${this.#reason})`;
    return new LocalError(error.code, message, {
      cause: error.cause ?? error,
      foreign: error.foreign,
    });
  }
}

function planCandidates(
  endpoint: FlightEndpoint,
  options: EndpointOptions,
): { candidates: Candidate[]; reason: string } {
  const { ucx, ucxProblem, flight } = sortLocations(endpoint.locations);
  const candidates: Candidate[] = [];
  let reason = options.flightReason;
  if (options.route !== "flight") {
    const problem = options.ucxProblem ?? ucxProblem;
    reason = ucx.length === 0 && ucxProblem === null ? "the server offers no ucx: location" : problem ?? "";
    if (problem === null) {
      for (const alternative of ucx) candidates.push(ucxCandidate(endpoint, alternative, options));
    }
  }
  if (options.route !== "ucx") {
    for (const location of flight) candidates.push(flightCandidate(endpoint, location, options));
  }
  return { candidates, reason };
}

function ucxCandidate(endpoint: FlightEndpoint, alternative: Alternative, options: EndpointOptions): Candidate {
  const { timeoutMs, limits, library, transport, ucxPool } = options;
  const { metadata, body } = alternative;
  const { ticket: path } = metadata;
  return {
    route: "ucx",
    location: [metadata, ...(body === null ? [] : [body])].map(({ host, port }) => `ucx://${host}:${port}`).join(
      " and ",
    ),
    async open(signal) {
      const request = (ticket: Uint8Array) =>
        openAlternative(alternative, { ticket, signal, timeoutMs, limits, library, transport, pool: ucxPool() });
      try {
        return await request(endpoint.ticket);
      } catch (error) {
        // The protocol requests with the endpoint's ticket. A server that only passes on the URI of another one may have
        // tickets of its own; the ticket there is that URI's path.
        const isOther = path !== null && !equalBytes(path, endpoint.ticket);
        if (!isOther || !(error instanceof DipcError) || error.code !== "not_found") throw error;
        return await request(path);
      }
    },
  };
}

function flightCandidate(endpoint: FlightEndpoint, location: string | null, { clients }: EndpointOptions): Candidate {
  return {
    route: "flight",
    location: location ?? clients.first.location.uri,
    async open(signal) {
      const client = await clients.at(location);
      const input = await client.openStream(endpoint.ticket, { signal });
      return { input, schema: input.schema!, transports: [], transportsReason: "" };
    },
  };
}

/** @throws {DipcError} `invalid_data` if two parts of one flight differ */
export function sameSchema(expected: MessageHeader, found: MessageHeader): void {
  if (equalBytes(expected.bytes, found.bytes)) return;
  // Two servers may encode one schema differently.
  if (JSON.stringify(describeSchema(expected)) === JSON.stringify(describeSchema(found))) return;
  throw new LocalError("invalid_data", "cannot read the flight: its endpoints have different schemas");
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
