/**
 * Chooses the route of a stream by its URI: the one place that does.
 *
 * @module
 */
import { isFlightUri } from "../flight/location.ts";
import type { StreamUri } from "./options.ts";
import type { Route } from "./route.ts";
import { ucxRoute } from "./ucx.ts";

/** The route of a URI. Neither gRPC nor protobuf is loaded before it is needed. */
export async function chooseRoute(uri: StreamUri): Promise<Route> {
  const isFlight = (typeof uri === "string" || uri instanceof URL) && isFlightUri(uri);
  return isFlight ? (await import("./flight.ts")).flightRoute : ucxRoute;
}
