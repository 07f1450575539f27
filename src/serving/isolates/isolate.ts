/**
 * The main isolate's end of an isolate that holds connections of a server.
 *
 * @module
 */
import { withDeadline } from "../../deadline.ts";
import { type DipcError, LocalError } from "../../errors.ts";
import { workerStartError } from "../../permissions.ts";
import type { Grant } from "../admission.ts";
import type { DatasetMemory } from "../shared_memory.ts";
import type { ServerEventDetail } from "../options.ts";
import type { PlaneParts } from "../server.ts";
import type { StreamEventType } from "../stream_plane.ts";
import type { DatasetSources } from "./dataset_sources.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Lender } from "./lender.ts";
import type { FromIsolate, IsolateStart, PostedEvent, PostedMemory, ToIsolate } from "./messages.ts";
import { fromPortable, toPortable } from "./portable_error.ts";
import { SharedCounter } from "./shared_counter.ts";

/**
 * Never called: a module that is only named in a `new Worker` is not part of the program for `deno cache` and
 * `deno compile`, one that is imported somewhere is.
 *
 * @ignore
 */
export const workerModule = (): Promise<unknown> => import("./isolate_worker.ts");

/** Longest wait for an isolate to listen, in milliseconds: its modules may have to be fetched and compiled. */
const START_MS = 120_000;
/** Longest wait for an isolate to release its native memory, in milliseconds: connections are given 5 s twice to close. */
const END_MS = 15_000;

/** What all isolates of a server share. */
export interface IsolateHost {
  readonly parts: PlaneParts;
  readonly sources: DatasetSources;
  /** Called once when an isolate has failed and nothing of it is left that could be waited for. */
  onFailure(isolate: Isolate, error: DipcError): void;
}

/** One isolate, from its start to its end. */
export class Isolate {
  /** Port of its listener, once it listens. */
  port = 0;
  readonly #start: IsolateStart;
  readonly #host: IsolateHost;
  readonly #worker: Worker;
  readonly #lender: Lender;
  #heartbeat: Heartbeat | null = null;
  readonly #grants = new Map<number, Grant>();
  #lastGrant = 0;
  /** Open connections, with the dataset if it is known. */
  readonly #open = new Map<number, string | undefined>();
  /** Why it is ending, if that is a failure. */
  #failure: DipcError | null = null;
  #isOver = false;
  /** Whether it did not end by itself: UCX keeps what the isolate had of it, its port as well. */
  isLost = false;
  readonly #listening = Promise.withResolvers<number>();
  readonly #notAccepting = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<void>();
  #idle = Promise.withResolvers<void>();

  /**
   * Starts the isolate.
   *
   * @param start What it needs
   * @param host The server
   * @throws {DipcError} `permission_denied`, `unsupported`
   */
  constructor(start: IsolateStart, host: IsolateHost) {
    this.#start = start;
    this.#host = host;
    this.#lender = new Lender((message) => this.#post(message), host.parts.stop);
    this.#listening.promise.catch(() => {}); // also if nobody waits for it any more
    let worker: Worker;
    try {
      worker = this.#worker = new Worker(new URL("./isolate_worker.ts", import.meta.url), { type: "module" });
    } catch (cause) {
      throw this.#startError(cause);
    }
    worker.onmessage = ({ data }: MessageEvent<FromIsolate>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#lose(this.#heartbeat === null ? this.#startError(event.message) : this.#failed(event.message));
    };
    this.#post({ op: "start", start });
  }

  /** Number of the isolate, from 0. */
  get index(): number {
    return this.#start.index;
  }

  /** Whether it has connections. */
  get isBusy(): boolean {
    return this.#open.size > 0;
  }

  /** Resolves once it listens. @throws {DipcError} `unreachable` if the address cannot be bound, `internal`, errors of UCX */
  async listening(): Promise<void> {
    this.port = await withDeadline(this.#listening.promise, START_MS, () => {
      const error = this.#failed(`it has not started within ${START_MS / 1000} s`);
      this.#lose(error);
      throw error;
    });
  }

  /** Accepts no further connections. */
  async stopAccepting(): Promise<void> {
    this.#post({ op: "stop accepting" });
    await Promise.race([this.#notAccepting.promise, this.#over.promise]);
  }

  /** Aborts all streams. */
  abort(reason: unknown): void {
    this.#post({ op: "abort", reason: toPortable(reason) });
  }

  /** Resolves once it has no connection. */
  async idle(): Promise<void> {
    while (this.isBusy) await this.#idle.promise;
  }

  /** Ends the isolate; it has no connection. */
  async close(): Promise<void> {
    this.#post({ op: "close" });
    await withDeadline(this.#over.promise, END_MS);
    if (!this.#isOver) this.#lose(this.#failed("it has not ended in time"));
  }

  #post(message: ToIsolate): void {
    if (!this.#isOver) this.#worker.postMessage(message);
  }

  #startError(cause: unknown): DipcError {
    return workerStartError(`start isolate ${this.index + 1} of the server`, cause);
  }

  #failed(why: string): DipcError {
    return new LocalError("internal", `cannot go on with isolate ${this.index + 1} of the server: ${why}`);
  }

  #receive(message: FromIsolate): void {
    switch (message.op) {
      case "listening":
        return this.#listens(message.port);
      case "not started":
        return this.#listening.reject(fromPortable(message.error));
      case "admit":
        return void this.#admit(message);
      case "spend":
        return this.#spend(message);
      case "forget":
        return void this.#grants.delete(message.grant);
      case "open":
        return this.#openRun(message);
      case "pull":
        return void this.#lender.pull(message.run);
      case "release":
        return this.#lender.release(message.bodies);
      case "end run":
        return void this.#lender.endRun(message.request, message.run);
      case "event":
        return this.#reportPosted(message.event);
      case "not accepting":
        return this.#notAccepting.resolve();
      case "crashed":
        return void this.#crashed(fromPortable(message.error));
      case "ended":
        return this.#finish();
      case "pong":
        return this.#heartbeat?.beat();
    }
  }

  /** Only from now on can it be expected to answer soon: it may have been compiled or fetched before. */
  #listens(port: number): void {
    this.#heartbeat = new Heartbeat(
      () => this.#post({ op: "ping" }),
      () => this.#lose(this.#failed("it does not answer any more")),
    );
    this.#listening.resolve(port);
  }

  async #admit({ request, ticket, role }: Extract<FromIsolate, { op: "admit" }>): Promise<void> {
    try {
      const grant = await this.#host.parts.admission.admit(ticket, role);
      const { name, dataset, shared } = grant.entry;
      const posted = await this.#host.sources.describe(dataset);
      const memory = shared && postedMemory(shared);
      const id = ++this.#lastGrant;
      this.#grants.set(id, grant);
      const { mustSpend } = grant;
      this.#post({ op: "admitted", request, grant: { id, name, dataset: posted, memory, mustSpend } });
    } catch (error) {
      this.#post({ op: "answer", request, error: toPortable(error) });
    }
  }

  #spend({ request, grant }: Extract<FromIsolate, { op: "spend" }>): void {
    try {
      this.#grants.get(grant)!.spend();
      this.#post({ op: "answer", request, error: null });
    } catch (error) {
      this.#post({ op: "answer", request, error: toPortable(error) });
    }
  }

  #openRun({ request, run, grant }: Extract<FromIsolate, { op: "open" }>): void {
    void this.#lender.open(request, run, this.#grants.get(grant)!.entry);
  }

  #reportPosted({ type, connection, dataset, totals, error }: PostedEvent): void {
    const detail: ServerEventDetail = { connection };
    if (dataset !== undefined) detail.dataset = dataset;
    if (totals !== undefined) detail.totals = totals;
    // What crosses is always one of dipc's errors: a connection reports no other.
    if (error !== undefined) detail.error = fromPortable(error) as DipcError;
    this.#report(type, detail);
  }

  #report(type: StreamEventType, detail: ServerEventDetail): void {
    const { stats, emit } = this.#host.parts;
    const { connection, dataset } = detail;
    if (type === "connection") stats.connections++;
    // A connection that has waited for another request opens again with it.
    if (type === "connection" || (type === "request" && !this.#open.has(connection))) stats.activeConnections++;
    if (type === "connection" || type === "request") this.#open.set(connection, dataset);
    emit(type, detail);
    // What ends a connection is its last event.
    if ((type !== "end" && type !== "error") || !this.#open.delete(connection)) return;
    stats.activeConnections--;
    if (this.isBusy) return;
    this.#idle.resolve();
    this.#idle = Promise.withResolvers();
  }

  /** It ends by itself now; only if that takes too long is it ended. */
  async #crashed(cause: Error): Promise<void> {
    const error = this.#failure ??= this.#failed(`an error was not caught: ${cause.message}`);
    await withDeadline(this.#over.promise, END_MS);
    if (!this.#isOver) this.#lose(error);
  }

  /** Ends an isolate that does not end by itself: what UCX has of it stays, so what it sends from has to stay, too. */
  #lose(error: DipcError): void {
    if (this.#isOver) return;
    this.isLost = true;
    this.#failure ??= error;
    this.#lender.abandon();
    this.#finish();
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#heartbeat?.stop();
    this.#worker.terminate();
    const error = this.#failure ?? this.#failed("it ended unexpectedly");
    void this.#lender.close();
    this.#grants.clear();
    for (const [connection, dataset] of [...this.#open]) {
      this.#report("error", dataset === undefined ? { connection, error } : { connection, dataset, error });
    }
    new SharedCounter(this.#start.counters, this.index).forget();
    this.#listening.reject(error);
    this.#over.resolve();
    if (this.#failure !== null) this.#host.onFailure(this, this.#failure);
  }
}

/** What an isolate needs to know of the memory of a dataset. */
function postedMemory(memory: DatasetMemory): PostedMemory {
  return memory.isConstant ? { kind: "packed", grant: memory.grant() } : { kind: "arena" };
}
