/**
 * What a gateway changes in the messages that pass through it: endpoints get tickets and locations of the gateway, and what a client
 * says about such an endpoint gets those of the engine again. Everything else stays as it is, fields that are not known here as well.
 *
 * @module
 */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { AnySchema, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { DipcError } from "../errors.ts";
import { isReuseConnection, REUSE_CONNECTION } from "../flight/location.ts";
import * as proto from "../flight/gen/flight_pb.ts";
import { parse } from "../flight/service/actions.ts";
import type { Approach } from "../reachable_host.ts";
import type { GatewayTickets } from "./tickets.ts";

/** Longest ticket that goes into a request by UCX, in bytes. */
const MAX_UCX_TICKET_BYTES = 60_000;

/** The gateway, as it offers itself. */
export interface OfferHost {
  readonly tickets: GatewayTickets;
  /** Location of the Flight side for a client that has reached it in some way. */
  flightLocation(approach: Approach): string;
  /** URIs of the UCX side; empty without one. */
  ucxLocations(approach: Approach): readonly string[];
}

/** For whom endpoints are changed. */
export interface OfferContext {
  /** Name of the engine. */
  readonly engine: string;
  /** Remembers the client's credentials. @returns their number */
  readonly remember: () => bigint;
  readonly approach: Approach;
  /** First step of the paths by which the client names the engine; `null` if it does otherwise. */
  readonly step: string | null;
}

/** Changes messages. */
export class Offers {
  readonly #host: OfferHost;

  constructor(host: OfferHost) {
    this.#host = host;
  }

  /** A FlightInfo for a client. */
  async info(bytes: Uint8Array, context: OfferContext): Promise<Uint8Array> {
    const info = fromBinary(proto.FlightInfoSchema, bytes);
    await this.#info(info, context);
    return toBinary(proto.FlightInfoSchema, info);
  }

  /** A PollInfo for a client. */
  async poll(bytes: Uint8Array, context: OfferContext): Promise<Uint8Array> {
    const poll = fromBinary(proto.PollInfoSchema, bytes);
    if (poll.info !== undefined) await this.#info(poll.info, context);
    addStep(poll.flightDescriptor, context.step);
    return toBinary(proto.PollInfoSchema, poll);
  }

  /** The Result of RenewFlightEndpoint for a client. */
  async renewed(bytes: Uint8Array, context: OfferContext): Promise<Uint8Array> {
    const result = fromBinary(proto.ResultSchema, bytes);
    const endpoint = fromBinary(proto.FlightEndpointSchema, result.body);
    await this.#endpoint(endpoint, context);
    result.body = toBinary(proto.FlightEndpointSchema, endpoint);
    return toBinary(proto.ResultSchema, result);
  }

  /**
   * An action for its engine: what it says about endpoints of the gateway is said about those of the engine.
   *
   * @returns the action, and the engine's name if its endpoints tell
   * @throws {DipcError} `permission_denied`, `invalid_argument`
   */
  async action(bytes: Uint8Array): Promise<{ bytes: Uint8Array; type: string; engine: string | null }> {
    const action = parse(proto.ActionSchema, bytes);
    const { type, body } = action;
    const changed = await this.#argument(type, body);
    if (changed === null) return { bytes, type, engine: null };
    action.body = changed.body;
    return { bytes: toBinary(proto.ActionSchema, action), type, engine: changed.engine };
  }

  /** The argument of an action about endpoints; `null` for every other one, and for one that is not understood: the engine may. */
  async #argument(type: string, body: Uint8Array): Promise<{ body: Uint8Array; engine: string | null } | null> {
    if (type === "RenewFlightEndpoint") {
      const request = understood(proto.RenewFlightEndpointRequestSchema, body);
      if (request?.endpoint === undefined) return null;
      const engine = await this.#engineEndpoint(request.endpoint);
      return { engine, body: toBinary(proto.RenewFlightEndpointRequestSchema, request) };
    }
    if (type === "CancelFlightInfo") {
      const request = understood(proto.CancelFlightInfoRequestSchema, body);
      if (request?.info === undefined) return null;
      const engine = await this.#engineInfo(request.info);
      return { engine, body: toBinary(proto.CancelFlightInfoRequestSchema, request) };
    }
    if (type !== "CancelQuery") return null;
    // Flight SQL's own: an Any with an ActionCancelQueryRequest, whose only field holds a FlightInfo, as a Ticket's holds bytes.
    const any = understood(AnySchema, body);
    const request = any && understood(proto.TicketSchema, any.value);
    const info = request && understood(proto.FlightInfoSchema, request.ticket);
    if (any === null || !request || !info) return null;
    const engine = await this.#engineInfo(info);
    request.ticket = toBinary(proto.FlightInfoSchema, info);
    any.value = toBinary(proto.TicketSchema, request);
    return { engine, body: toBinary(AnySchema, any) };
  }

  async #info(info: proto.FlightInfo, context: OfferContext): Promise<void> {
    for (const endpoint of info.endpoint) await this.#endpoint(endpoint, context);
    addStep(info.flightDescriptor, context.step);
  }

  async #endpoint(endpoint: proto.FlightEndpoint, context: OfferContext): Promise<void> {
    const { tickets, flightLocation, ucxLocations } = this.#host;
    const { engine, remember, approach } = context;
    const { expirationTime } = endpoint;
    const ticket = endpoint.ticket?.ticket ?? new Uint8Array(0);
    const locations = endpoint.location.map(({ uri }) => uri);
    const expiresAtMs = expirationTime === undefined ? Infinity : timestampMs(expirationTime);
    const wrapped = await tickets.wrap({ engine, ticket, locations, credentials: remember() }, expiresAtMs);
    if (wrapped === null) {
      throw new DipcError("limit_exceeded", "cannot pass the flight on: the engine's ticket is longer than 1 MiB");
    }
    endpoint.ticket = create(proto.TicketSchema, { ticket: wrapped.ticket });
    // An engine that does not say how long a ticket is good does not promise that it is good twice.
    if (expirationTime !== undefined && wrapped.expiresAtMs < expiresAtMs) {
      endpoint.expirationTime = timestampFromMs(wrapped.expiresAtMs);
    }
    const ucx = wrapped.ticket.byteLength > MAX_UCX_TICKET_BYTES ? [] : ucxLocations(approach);
    endpoint.location = offered(locations, ucx, () => flightLocation(approach)).map((uri) =>
      create(proto.LocationSchema, { uri })
    );
  }

  async #engineInfo(info: proto.FlightInfo): Promise<string | null> {
    let engine: string | null = null;
    for (const endpoint of info.endpoint) engine = await this.#engineEndpoint(endpoint) ?? engine;
    return engine;
  }

  async #engineEndpoint(endpoint: proto.FlightEndpoint): Promise<string | null> {
    const { tickets } = this.#host;
    if (endpoint.ticket === undefined || !tickets.isOne(endpoint.ticket.ticket)) return null;
    const { engine, ticket, locations } = await tickets.unwrap(endpoint.ticket.ticket);
    endpoint.ticket.ticket = ticket;
    endpoint.location = locations.map((uri) => create(proto.LocationSchema, { uri }));
    return engine;
  }
}

/**
 * The locations that an endpoint gets. Drivers try them in turn: the connection that they have comes first, and what only some of them
 * know last.
 */
function offered(locations: readonly string[], ucx: readonly string[], own: () => string): readonly string[] {
  if (ucx.length > 0) return [REUSE_CONNECTION, own(), ...ucx];
  // Without a location it is the server that was asked: this one.
  return locations.every(isReuseConnection) ? locations : [];
}

/** Puts the name of the engine before a path. */
function addStep(descriptor: proto.FlightDescriptor | undefined, step: string | null): void {
  if (step === null || descriptor?.type !== proto.FlightDescriptor_DescriptorType.PATH) return;
  descriptor.path.unshift(step);
}

/** A message, or `null` if it is not one. */
function understood<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> | null {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return null;
  }
}
