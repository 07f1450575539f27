/**
 * The UCX side of a server in several isolates. This isolate keeps the datasets, admission and counters, and replaces an isolate
 * that fails.
 *
 * @module
 */
import { asDipcError, type DipcError } from "../../errors.ts";
import type { Approach } from "../../reachable_host.ts";
import { type LoadedUcx, loadUcxForIsolates } from "../../wire/ucx/loaded.ts";
import type { PlaneMaker, PlaneParts } from "../server.ts";
import { newSocketName, randomWantData, type StreamPlane, urisAt } from "../stream_plane.ts";
import { DatasetSources } from "./dataset_sources.ts";
import { Isolate, type IsolateHost } from "./isolate.ts";
import { counterMemory, SharedCounter } from "./shared_counter.ts";

/** First and longest wait before an isolate is replaced, in milliseconds; it doubles while replacements fail soon. */
const FIRST_WAIT_MS = 100, LONGEST_WAIT_MS = 30_000;
/** An isolate that has run for this many milliseconds was not broken from the start. */
const SOUND_MS = 10_000;

/**
 * Loads UCX for a server in several isolates.
 *
 * @param isolates How many, at least 2
 * @param library Path of libucp; found by the usual rules by default
 * @param shares Whether a dataset is shared; `undefined` if none is
 * @returns what makes the UCX side
 * @throws {DipcError} `library_not_found`, `permission_denied`
 */
export function isolatesPlane(
  isolates: number,
  library: string | undefined,
  shares: ((name: string) => boolean) | undefined,
): PlaneMaker {
  const loaded = loadUcxForIsolates(library);
  return (parts) => new IsolatesPlane(isolates, loaded, parts, shares);
}

/** The place of one isolate: it has its port, whichever isolate listens there. */
interface Place {
  isolate: Isolate | null;
  port: number;
  /** Name of the socket that hands out shared memory. */
  share: string | undefined;
  startedAt: number;
  waitMs: number;
}

/** The UCX side of a server in several isolates. */
class IsolatesPlane implements StreamPlane, IsolateHost {
  readonly parts: PlaneParts;
  readonly sources: DatasetSources = new DatasetSources();
  readonly #library: LoadedUcx;
  readonly #counters: SharedArrayBuffer;
  readonly #counter: SharedCounter;
  readonly #shares: ((name: string) => boolean) | undefined;
  readonly #wantData = randomWantData();
  readonly #places: Place[];
  /** Aborted when no isolate is to be replaced any more. */
  readonly #ending = new AbortController();
  readonly #replacing = new Set<Promise<void>>();
  /** Times that URIs were requested: each time they begin with another listener. */
  #turn = 0;

  constructor(
    isolates: number,
    library: LoadedUcx,
    parts: PlaneParts,
    shares: ((name: string) => boolean) | undefined,
  ) {
    this.parts = parts;
    this.#shares = shares;
    this.#library = library;
    this.#counters = counterMemory(isolates);
    const counter = this.#counter = new SharedCounter(this.#counters, 0);
    Object.defineProperty(parts.stats, "idleConnections", { enumerable: true, get: () => counter.idle });
    const { port } = parts.settings;
    this.#places = Array.from({ length: isolates }, (_, index) => ({
      isolate: null,
      port: port === 0 ? 0 : port + index,
      share: this.#socketName(),
      startedAt: 0,
      waitMs: FIRST_WAIT_MS,
    }));
    parts.stop.addEventListener("abort", () => {
      for (const { isolate } of this.#places) isolate?.abort(parts.stop.reason);
    }, { once: true });
  }

  get port(): number {
    return this.#places[0].port;
  }

  get isBusy(): boolean {
    return this.#places.some(({ isolate }) => isolate?.isBusy);
  }

  get sharing(): StreamPlane["sharing"] {
    return this.#shares === undefined ? undefined : this.#counter.lentByAll;
  }

  #socketName(): string | undefined {
    return this.#shares === undefined ? undefined : newSocketName();
  }

  async listen(): Promise<void> {
    // All of them, so that none is left to start when another one cannot.
    const started = await Promise.allSettled(this.#places.map((place, index) => this.#start(place, index)));
    for (const result of started) if (result.status === "rejected") throw result.reason;
  }

  urisOf(name: string, approach?: Approach): string[] {
    const { settings } = this.parts;
    const first = this.#turn++ % this.#places.length;
    const inTurn = [...this.#places.slice(first), ...this.#places.slice(0, first)];
    const listening = inTurn.filter(({ port }) => port !== 0);
    const isShared = this.#shares?.(name) ?? false;
    return listening.flatMap(({ port, share }) =>
      urisAt(name, { port }, {
        settings,
        wantData: this.#wantData,
        approach,
        share: isShared ? share : undefined,
      })
    );
  }

  async stopAccepting(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#replacing);
    await Promise.all(this.#places.map(({ isolate }) => isolate?.stopAccepting()));
  }

  async idle(): Promise<void> {
    await Promise.all(this.#places.map(({ isolate }) => isolate?.idle()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#places.map(({ isolate }) => isolate?.close()));
    this.sources.close();
  }

  onFailure(isolate: Isolate, error: DipcError): void {
    const place = this.#places[isolate.index];
    // Before it has listened, whoever starts it is notified.
    if (place.isolate !== isolate) return;
    place.isolate = null;
    // The listeners of an isolate that was lost keep port and name until the process ends.
    if (isolate.isLost) {
      place.port = 0;
      place.share = this.#socketName();
    }
    this.parts.emit("error", { connection: 0, error });
    if (performance.now() - place.startedAt > SOUND_MS) place.waitMs = FIRST_WAIT_MS;
    const replacing = this.#replace(place, isolate.index).finally(() => this.#replacing.delete(replacing));
    this.#replacing.add(replacing);
  }

  async #replace(place: Place, index: number): Promise<void> {
    while (place.isolate === null && !this.#ending.signal.aborted) {
      await pause(place.waitMs, this.#ending.signal);
      place.waitMs = Math.min(2 * place.waitMs, LONGEST_WAIT_MS);
      if (this.#ending.signal.aborted) return;
      try {
        const { port } = place;
        await this.#start(place, index);
        if (place.port !== port) this.parts.onMoved();
      } catch (error) {
        this.parts.emit("error", { connection: 0, error: asDipcError(error) });
      }
    }
  }

  async #start(place: Place, index: number): Promise<void> {
    const settings = { ...this.parts.settings, port: place.port };
    const isolate = new Isolate({
      settings,
      wantData: this.#wantData,
      index,
      counters: this.#counters,
      library: this.#library,
      share: place.share,
    }, this);
    await isolate.listening();
    place.isolate = isolate;
    place.port = isolate.port;
    place.startedAt = performance.now();
  }
}

/** Waits, but not beyond the abort of a signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
