/**
 * Which route the data of a stream takes, and why.
 *
 * @module
 */

/** How data comes: by UCX, or by Flight's DoGet. */
export type RouteName = "ucx" | "flight";

/** One part of a stream and its source. A `ucx:` URI is one part, a flight has as many as it has endpoints. */
export interface EndpointStats {
  /** How its data comes; `null` until it has been requested. */
  readonly route: RouteName | null;
  /** Why it comes by that route; empty until it has been requested. */
  readonly routeReason: string;
  /** The URI in use, both URIs if metadata and bodies come from two; `null` until one is. */
  readonly location: string | null;
  /** Record batches that have arrived. */
  readonly batches: number;
  /** Bytes of bodies that were read in the server's memory instead of being sent. Default 0. */
  readonly sharedBytes?: number;
  /**
   * Why bodies travel although the server offers its memory; empty if it is used. `null`, or left out, if the server does not
   * offer that.
   */
  readonly sharingReason?: string | null;
}

/** The routes that the parts of one stream take, as they are now. */
export interface StreamRoutes {
  /** Names of the transports that UCX chose. */
  readonly transports: readonly string[];
  /** Why they are not the fastest that this machine has; empty if nothing was in the way. */
  readonly transportsReason: string;
  /** The parts, in order. */
  readonly endpoints: readonly EndpointStats[];
  /** Why that route, if the stream has no parts. */
  readonly reason?: string;
  /** Called when a part's route is settled, that is when its first message or its end has arrived. */
  onSettled?: (endpoint: EndpointStats) => void;
}

/** The route of the whole stream: Flight if any part took it. */
export function routeOf({ endpoints, reason }: StreamRoutes): { route: RouteName; routeReason: string } {
  const known = endpoints.filter(({ route }) => route !== null);
  const shown = known.find(({ route }) => route === "flight") ?? known[0];
  return { route: shown?.route ?? "flight", routeReason: shown?.routeReason ?? reason ?? "" };
}

/** How the bodies of the whole stream come: how much did not travel, and why the rest does. */
export function sharingOf({ endpoints }: StreamRoutes): { sharedBytes: number; sharingReason: string | null } {
  const offered = endpoints.map(({ sharingReason }) => sharingReason ?? null).filter((reason) => reason !== null);
  return {
    sharedBytes: endpoints.reduce((sum, endpoint) => sum + (endpoint.sharedBytes ?? 0), 0),
    sharingReason: offered.find((reason) => reason !== "") ?? offered[0] ?? null,
  };
}
