/**
 * The route by a Flight server: requests the locations of a flight, and starts the streams of all its endpoints.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { parseFlightLocation } from "../flight/location.ts";
import type { FlightDescriptorInit, FlightInfo } from "../flight/model.ts";
import { EarlyConnection } from "./early_connection.ts";
import { connectClients, openInfo } from "./open_info.ts";
import type { RouteOptions } from "./options.ts";
import type { OpenStream, Route } from "./route.ts";

/** The route of the URIs of Flight servers. */
export const flightRoute: Route = {
  name: "flight",
  open: (uri, options) => openFlight(uri as string | URL, options),
};

async function openFlight(uri: string | URL, options: RouteOptions): Promise<OpenStream> {
  const requested = requestedFlight(uri, options);
  const clients = await connectClients(uri, options);
  const close = (): Promise<void> => clients.close();
  const early = new EarlyConnection(uri, options);
  try {
    if ("ticket" in requested) {
      const flightReason = "requested by ticket, which names no location";
      return await openInfo(infoOfTicket(requested.ticket), clients, {
        ...options,
        route: "flight",
        flightReason: options.route === "flight" ? undefined : flightReason,
        close,
      });
    }
    const asked = clients.first.getFlightInfo(requested.descriptor, { signal: options.signal });
    early.begin();
    return await openInfo(await asked, clients, { ...options, early, close });
  } catch (error) {
    await clients.close();
    throw error;
  } finally {
    await early.end();
  }
}

function requestedFlight(
  uri: string | URL,
  { ticket, route, flight: { path, command } = {} }: RouteOptions,
): { ticket: string | Uint8Array } | { descriptor: FlightDescriptorInit } {
  const named = [ticket, path, command].filter((value) => value !== undefined).length;
  if (named > 1) {
    throw new LocalError(
      "invalid_argument",
      "cannot choose a flight: flight.path, flight.command and ticket exclude each other; give one",
    );
  }
  if (ticket !== undefined) {
    if (route === "ucx") {
      throw new LocalError(
        "invalid_argument",
        "cannot fetch by UCX: a ticket names no ucx: locations; give flight.path or flight.command, or leave route out",
      );
    }
    return { ticket };
  }
  if (command !== undefined) return { descriptor: { command } };
  const steps = path ?? parseFlightLocation(uri).path;
  if (steps.length === 0) {
    throw new LocalError(
      "invalid_argument",
      "cannot choose a flight: none is named; give the path of the URI, flight.path, flight.command or ticket",
    );
  }
  return { descriptor: { path: steps } };
}

/** A ticket that the caller passes is redeemed at the server of the URI. */
function infoOfTicket(ticket: string | Uint8Array): FlightInfo {
  const bytes = typeof ticket === "string" ? new TextEncoder().encode(ticket) : ticket;
  const nothing = new Uint8Array(0);
  return {
    schema: nothing,
    descriptor: null,
    endpoints: [{ ticket: bytes, locations: [], expirationTime: null, appMetadata: nothing }],
    totalRecords: -1n,
    totalBytes: -1n,
    ordered: false,
    appMetadata: nothing,
  };
}
