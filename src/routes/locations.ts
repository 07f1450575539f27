/**
 * The locations of one endpoint, put in the order in which they are tried.
 *
 * @module
 */
import { type Alternative, groupLocations } from "../protocol/uri.ts";
import { isFlightUri, isReuseConnection } from "../flight/location.ts";
import { textOf } from "../text.ts";

/** Where an endpoint can be fetched. */
export interface Choices {
  /** By UCX. */
  readonly ucx: readonly Alternative[];
  /** Why the `ucx:` locations cannot be used, where they cannot. */
  readonly ucxProblem: string | null;
  /** By DoGet; `null` is the connection that the endpoint came by. */
  readonly flight: readonly (string | null)[];
}

/**
 * Sorts the locations of an endpoint.
 *
 * @param locations As the server gave them
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
  // Without a location of Flight's own there is only the server that gave the endpoint.
  return { ucx, ucxProblem, flight: flight.length === 0 ? [null] : flight };
}
