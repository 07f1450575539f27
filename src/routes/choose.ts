/**
 * Chooses the route of a stream by its URI: the one place that does.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { flightUriFor, isFlightUri } from "../flight/location.ts";
import type { StreamUri } from "./options.ts";
import type { Route } from "./route.ts";
import { ucxRoute } from "./ucx.ts";

/** The route of a URI. Neither gRPC nor protobuf is loaded before it is needed. */
export async function chooseRoute(uri: StreamUri): Promise<Route> {
  const isOne = isUri(uri);
  if (!isOne && !(Array.isArray(uri) && uri.every(isUri))) {
    throw new LocalError(
      "invalid_argument",
      `cannot connect: ${
        Array.isArray(uri) ? "an element of the list" : uri === null ? "null" : typeof uri
      } is not a URI; give a ` +
        "string, a URL, or a list of them",
    );
  }
  const isFlight = isOne && isFlightUri(uri);
  const meant = isOne ? flightUriFor(String(uri)) : null;
  // What has another scheme may be meant for either.
  const isOther = isOne && !isFlight && /^(?!ucx:)[a-z][a-z0-9+.-]*:\/\//i.test(String(uri));
  if (meant !== null || isOther) {
    throw new LocalError(
      "invalid_uri",
      `cannot connect to ${
        JSON.stringify(String(uri))
      }: its scheme is neither ucx: nor that of a Flight server; for a ` +
        `Flight server use ${meant ?? "grpc://HOST:PORT/NAME"}, for one of UCX the whole URI that it printed`,
    );
  }
  return isFlight ? (await import("./flight.ts")).flightRoute : ucxRoute;
}

function isUri(uri: unknown): uri is string | URL {
  return typeof uri === "string" || uri instanceof URL;
}
