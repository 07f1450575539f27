/**
 * The locations of one endpoint, in the order in which they are tried.
 *
 * @module
 */
import { type Alternative, groupLocations } from "../protocol/uri.ts";
import { isFlightUri, isReuseConnection } from "../flight/location.ts";
import { textOf } from "../text.ts";

/** Locations of an endpoint, by route. */
export interface Choices {
  /** By UCX. */
  readonly ucx: readonly Alternative[];
  /** Why the `ucx:` locations cannot be used; `null` if they can. */
  readonly ucxProblem: string | null;
  /** By DoGet; `null` is the connection that the endpoint came by. */
  readonly flight: readonly (string | null)[];
}

/**
 * Sorts the locations of an endpoint.
 *
 * @param locations Locations as the server sent them
 */
export function sortLocations(locations: readonly string[]): Choices {
  let ucx: readonly Alternative[] = [];
  let ucxProblem: string | null = null;
  try {
    ucx = groupLocations(locations);
  } catch (error) {
    ucxProblem = textOf(error);
  }
  const flight: (string | null)[] = [];
  for (const location of locations) {
    if (isReuseConnection(location)) flight.push(null);
    else if (isFlightUri(location)) flight.push(location);
  }
  // Without a Flight location the only choice is the server that sent the endpoint.
  return { ucx, ucxProblem, flight: flight.length === 0 ? [null] : flight };
}
