/**
 * The calls of a gateway's clients: finds the engine of each, and what in its messages is changed.
 *
 * @module
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../errors.ts";
import * as proto from "../flight/gen/flight_pb.ts";
import { parse } from "../flight/service/actions.ts";
import type { FlightServerLimits } from "../flight/service/options.ts";
import type { ServerCall } from "../grpc/server_call.ts";
import { GrpcStatus } from "../grpc/status.ts";
import type { Pool } from "../memory/block.ts";
import type { Engine } from "./engine.ts";
import { FetchFailures } from "./failures.ts";
import type { Fetches } from "./fetches.ts";
import { credentialsIn, ENGINE_HEADER, ERROR_TRAILERS, passedOn } from "./headers.ts";
import type { OfferContext, Offers } from "./offers.ts";
import { passFetch } from "./pass_fetch.ts";
import { placesOf, type Relay, relayCall, type Relayed } from "./relay.ts";
import type { Credentials, GatewayTickets } from "./tickets.ts";

/** What the calls need. */
export interface CallParts {
  /** By name, in order. */
  readonly engines: ReadonlyMap<string, Engine>;
  readonly tickets: GatewayTickets;
  readonly credentials: Credentials;
  readonly offers: Offers;
  readonly limits: FlightServerLimits;
  /** The fetches that clients share; `null` if each has its own. */
  readonly fetches: Fetches | null;
  /** Memory for the bodies of those. */
  pool(): Pool | undefined;
}

/** The engine of a call. */
interface Chosen {
  readonly engine: Engine;
  /** First step of the path that has named it, which the engine does not see; `null` if it was named otherwise. */
  readonly step: string | null;
}

/** The calls. */
export class GatewayCalls {
  readonly #parts: CallParts;
  readonly #failures = new FetchFailures();

  constructor(parts: CallParts) {
    this.#parts = parts;
  }

  /**
   * Passes a call on and its answer back, up to the status.
   *
   * @throws {DipcError} What kept it from being answered by an engine
   */
  async run(call: ServerCall): Promise<Relayed> {
    switch (call.method) {
      case "GetFlightInfo":
      case "PollFlightInfo":
      case "GetSchema":
        return await this.#describe(call);
      case "ListFlights":
        return await this.#list(call);
      case "DoGet":
        return await this.#get(call);
      case "DoAction":
        return await this.#action(call);
      case "DoPut":
      case "DoExchange":
        return await this.#stream(call);
      default:
        return await this.#relay(call, { engine: this.#named(call) });
    }
  }

  async #describe(call: ServerCall): Promise<Relayed> {
    const bytes = await this.#message(call);
    const only = this.#unmistakable(call);
    const descriptor = only === null ? parse(proto.FlightDescriptorSchema, bytes) : undefined;
    const { engine, step } = only === null ? this.#byPath(descriptor) : { engine: only, step: null };
    const request = step === null ? bytes : toBinary(proto.FlightDescriptorSchema, descriptor!);
    const context = this.#context(call, { engine, step });
    const { offers } = this.#parts;
    const rewrite = call.method === "GetSchema"
      ? undefined
      : call.method === "GetFlightInfo"
      ? (info: Uint8Array) => offers.info(info, context)
      : (poll: Uint8Array) => offers.poll(poll, context);
    return await this.#relay(call, { engine, request: [request], isWhole: true, rewrite });
  }

  /** The flights of the engine that is named; of all, one after the other, if there are several and none is. */
  async #list(call: ServerCall): Promise<Relayed> {
    const { offers, engines } = this.#parts;
    const request = [await this.#message(call)];
    const named = this.#header(call);
    const all: Chosen[] = named === null && engines.size > 1
      ? [...engines.values()].map((engine) => ({ engine, step: engine.name }))
      : [{ engine: named ?? this.#first(), step: null }];
    let bytes = 0;
    let hasListed = false;
    for (const chosen of all) {
      const context = this.#context(call, chosen);
      const rewrite = (info: Uint8Array) => offers.info(info, context);
      const relayed = await this.#relay(call, { engine: chosen.engine, request, isWhole: true, rewrite });
      bytes += relayed.bytes;
      // An engine without this call, such as one of Flight SQL, has no flights to list.
      if (relayed.error !== null && relayed.status !== GrpcStatus.unimplemented) return { ...relayed, bytes };
      hasListed ||= relayed.error === null;
      const isLast = chosen === all.at(-1);
      if (isLast && !hasListed) return { ...relayed, bytes };
      for (const name of ERROR_TRAILERS) call.trailers.delete(name);
      if (isLast) return { bytes, error: null, status: GrpcStatus.ok };
    }
    throw new DipcError("internal", "cannot list the flights: there is no engine");
  }

  async #get(call: ServerCall): Promise<Relayed> {
    const { tickets, fetches, pool } = this.#parts;
    const bytes = await this.#message(call);
    const { ticket } = parse(proto.TicketSchema, bytes);
    // One that the client has made itself is for the engine to judge.
    if (!tickets.isOne(ticket)) {
      return await this.#relay(call, { engine: this.#named(call), request: [bytes], isWhole: true });
    }
    const found = await tickets.unwrap(ticket);
    const engine = this.#engine(found.engine);
    const places = placesOf(found.locations);
    if (fetches !== null) {
      const parts = { engine, ticket: found.ticket, places, headers: passedOn(call.headers), pool: pool() };
      return await passFetch(call, fetches, parts);
    }
    const request = [toBinary(proto.TicketSchema, create(proto.TicketSchema, { ticket: found.ticket }))];
    const fetch = (onSent?: () => void) => this.#relay(call, { engine, places, request, isWhole: true, onSent });
    return found.mayRepeat ? await fetch() : await this.#failures.once(ticket, call, fetch);
  }

  async #action(call: ServerCall): Promise<Relayed> {
    const { offers } = this.#parts;
    const { bytes, type, engine: name } = await offers.action(await this.#message(call));
    const engine = name === null ? this.#named(call) : this.#engine(name);
    const context = this.#context(call, { engine, step: null });
    const rewrite = type === "RenewFlightEndpoint"
      ? (result: Uint8Array) => offers.renewed(result, context)
      : undefined;
    return await this.#relay(call, { engine, request: [bytes], isWhole: true, rewrite });
  }

  /** The first message of a stream names its flight; if only one engine can be meant, it is not read. */
  async #stream(call: ServerCall): Promise<Relayed> {
    const only = this.#unmistakable(call);
    if (only !== null) return await this.#relay(call, { engine: only });
    const { limits: { maxMetadataBytes, maxBodyBytes, requestTimeoutMs, idleTimeoutMs } } = this.#parts;
    const most = Math.min(maxMetadataBytes + maxBodyBytes, 2 ** 31 - 1);
    const bytes = await call.input.message(most, requestTimeoutMs, idleTimeoutMs);
    if (bytes === null) throw new DipcError("protocol", "cannot read the client's stream: it has no messages");
    const first = parse(proto.FlightDataSchema, bytes);
    const { engine, step } = this.#byPath(first.flightDescriptor);
    const request = step === null ? bytes : toBinary(proto.FlightDataSchema, first);
    return await this.#relay(call, { engine, request: [request] });
  }

  #relay(call: ServerCall, relay: Omit<Relay, "idleTimeoutMs">): Promise<Relayed> {
    return relayCall(call, { ...relay, idleTimeoutMs: this.#parts.limits.idleTimeoutMs });
  }

  #context(call: ServerCall, { engine, step }: Chosen): OfferContext {
    // Only of clients that the engine has answered: strangers must not fill the memory for them.
    const remember = () => this.#parts.credentials.numberOf(credentialsIn(call.headers));
    return { engine: engine.name, remember, approach: call.approach, step };
  }

  /** The only message of a call that is not a stream. */
  async #message(call: ServerCall): Promise<Uint8Array> {
    const { maxRequestBytes, requestTimeoutMs } = this.#parts.limits;
    const message = await call.input.message(maxRequestBytes, requestTimeoutMs);
    if (message === null) throw new DipcError("protocol", "cannot read the request: it is missing");
    return message;
  }

  #first(): Engine {
    const [engine] = this.#parts.engines.values();
    return engine;
  }

  /** The engine that a header names, otherwise the first one. */
  #named(call: ServerCall): Engine {
    return this.#header(call) ?? this.#first();
  }

  /** @throws {DipcError} `not_found` */
  #header(call: ServerCall): Engine | null {
    const name = call.headers.get(ENGINE_HEADER);
    return name === null ? null : this.#engine(name);
  }

  /** The engine, if that is clear without the message. @throws {DipcError} `not_found` */
  #unmistakable(call: ServerCall): Engine | null {
    return this.#header(call) ?? (this.#parts.engines.size === 1 ? this.#first() : null);
  }

  /** The engine that the first step of a path names, which is taken away; otherwise the first one. */
  #byPath(descriptor: proto.FlightDescriptor | undefined): Chosen {
    const { engines } = this.#parts;
    const engine = engines.size > 1 ? engines.get(descriptor?.path[0] ?? "") : undefined;
    if (engine === undefined) return { engine: this.#first(), step: null };
    descriptor!.path.shift();
    return { engine, step: engine.name };
  }

  #engine(name: string): Engine {
    const { engines } = this.#parts;
    const engine = engines.get(name);
    if (engine !== undefined) return engine;
    const names = [...engines.keys()].filter((each) => each !== "");
    const known = names.length === 0 ? "its only one has no name" : `it has ${names.join(", ")}`;
    throw new DipcError("not_found", `cannot find the engine ${JSON.stringify(name)} behind this gateway: ${known}`);
  }
}
