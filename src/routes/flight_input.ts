/**
 * The messages of all endpoints of a flight as one stream.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { EndpointStats, StreamRoutes } from "./stats.ts";
import type { EndOptions, MessageInput } from "../stream/message_input.ts";
import type { EndpointOptions } from "./candidates.ts";
import { EndpointInput, sameSchema } from "./endpoint_input.ts";
import { WaitingEndpoint } from "./endpoint_renewal.ts";
import type { FlightEndpoint } from "../flight/model.ts";

const NOT_REQUESTED: EndpointStats = { route: null, routeReason: "", location: null, batches: 0 };

/** What {@linkcode FlightInput} reads. */
export interface FlightInputOptions extends EndpointOptions {
  /** Endpoints of the flight. */
  endpoints: readonly FlightEndpoint[];
  /** Whether their order is that of the data. */
  ordered: boolean;
  /** Most endpoints that are open concurrently. */
  parallel: number;
  /** Called when the stream is over. */
  close: () => Promise<void>;
}

/** An endpoint that is open, or being opened. */
interface Part {
  readonly input: EndpointInput;
  /** The read under way. */
  pending: Promise<void> | null;
  /** Its result, until it is handed out. */
  arrived: { message: IpcMessage | null } | null;
}

/** All endpoints of a flight. */
export class FlightInput implements MessageInput {
  readonly #options: FlightInputOptions;
  readonly #waiting: WaitingEndpoint[];
  readonly #parts: Part[] = [];
  readonly #all: (EndpointInput | null)[];
  #opened = 0;
  #schema: MessageHeader | null = null;
  /** Endpoints one after the other: their order counts, or each has dictionaries of its own, which would mix. */
  #isSequential = true;
  #failure: { error: unknown } | null = null;
  #turn = 0;
  /** The routes that the endpoints take. */
  readonly routes: StreamRoutes;

  /** @param options The endpoints and how to fetch them */
  constructor(options: FlightInputOptions) {
    // Once an endpoint has sent its schema, that one counts.
    this.#options = { ...options, flightSchema: () => this.#schema ?? options.flightSchema() };
    this.#waiting = options.endpoints.map((endpoint) => new WaitingEndpoint(endpoint, options.clients.first));
    this.#all = options.endpoints.map(() => null);
    const all = this.#all;
    this.routes = {
      get transports() {
        return [...new Set(all.flatMap((input) => input?.transports ?? []))];
      },
      get transportsReason() {
        return all.find((input) => (input?.transportsReason ?? "") !== "")?.transportsReason ?? "";
      },
      get endpoints() {
        return all.map((input) => input?.stats ?? NOT_REQUESTED);
      },
    };
  }

  /** Bytes of metadata received. */
  get metadataBytes(): number {
    return this.#all.reduce((sum, input) => sum + (input?.metadataBytes ?? 0), 0);
  }

  /**
   * Starts the first endpoint, then as many as are read concurrently.
   *
   * @returns the schema message of the first
   */
  async open(): Promise<MessageHeader> {
    const first = this.#start();
    this.#schema = await first.input.open();
    this.#isSequential = this.#options.ordered || hasDictionaries(this.#schema);
    this.#fill();
    return this.#schema;
  }

  next(): IpcMessage | null | Promise<IpcMessage | null> {
    if (this.#failure !== null) throw this.#failure.error;
    const parts = this.#parts;
    // Round-robin, so that one endpoint that always has a message does not starve the others.
    const most = this.#isSequential ? Math.min(1, parts.length) : parts.length;
    for (let i = 0; i < most; i++) {
      const part = parts[this.#isSequential ? 0 : (this.#turn + i) % parts.length];
      if (part.pending !== null) continue;
      const message = part.arrived === null ? part.input.next() : part.arrived.message;
      part.arrived = null;
      if (message instanceof Promise) {
        this.#await(part, message);
      } else if (message !== null) {
        this.#turn = (this.#turn + i + 1) % parts.length;
        return message;
      } else {
        return this.#afterEnd(part);
      }
    }
    return parts.length === 0 ? null : this.#later();
  }

  async close(options?: EndOptions): Promise<void> {
    this.#failure ??= { error: new LocalError("closed", "cannot read the stream: it was closed") };
    for (const waiting of this.#waiting) waiting.release();
    await Promise.all(this.#all.map((input) => input?.close(options)));
    for (const part of this.#parts) {
      await part.pending;
      part.arrived?.message?.body?.release();
      part.arrived = null;
    }
    await this.#options.close();
  }

  async #later(): Promise<IpcMessage | null> {
    const parts = this.#isSequential ? this.#parts.slice(0, 1) : this.#parts;
    await Promise.race(parts.map((part) => part.pending));
    return await this.next();
  }

  async #afterEnd(part: Part): Promise<IpcMessage | null> {
    this.#parts.splice(this.#parts.indexOf(part), 1);
    this.#turn = 0;
    await part.input.close({ flush: true });
    this.#fill();
    return await this.next();
  }

  /** Keeps the result of a read; after a failure every later read fails. */
  #await(part: Part, message: Promise<IpcMessage | null>): void {
    part.pending = message.then((message) => {
      part.arrived = { message };
    }, (error) => {
      this.#failure ??= { error };
    }).finally(() => part.pending = null);
  }

  /** Opens endpoints up to the limit. */
  #fill(): void {
    while (this.#parts.length < this.#options.parallel && this.#opened < this.#waiting.length) {
      const part = this.#start();
      part.pending = part.input.open().then((schema) => sameSchema(this.#schema!, schema)).catch((error) => {
        this.#failure ??= { error };
      }).finally(() => part.pending = null);
    }
  }

  #start(): Part {
    const input = new EndpointInput(this.#waiting[this.#opened], this.#options);
    input.onSettled = (stats) => this.routes.onSettled?.(stats);
    this.#all[this.#opened++] = input;
    const part: Part = { input, pending: null, arrived: null };
    this.#parts.push(part);
    return part;
  }
}

function hasDictionaries(schema: MessageHeader): boolean {
  return !(schema instanceof VerifiedHeader) || schema.layout.dictionaries.size > 0;
}
