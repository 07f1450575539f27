/**
 * Which road the data of a stream takes, and why.
 *
 * @module
 */

/** How data comes: by UCX, or by Flight's DoGet. */
export type Via = "ucx" | "flight";

/** One part of a stream: where it comes from. A `ucx:` URI is one part, a flight has as many as it has endpoints. */
export interface EndpointStats {
  /** How its data comes; `null` as long as it was not asked for. */
  readonly via: Via | null;
  /** Why so; empty as long as it was not asked for. */
  readonly viaReason: string;
  /** The URI that was asked, both URIs where metadata and bodies come from two; `null` as long as none was. */
  readonly location: string | null;
  /** Record batches that have come. */
  readonly batches: number;
}

/** The roads of one stream as they are now. */
export interface Roads {
  /** Names of the transports that UCX chose. */
  readonly transports: readonly string[];
  /** The parts, in order. */
  readonly endpoints: readonly EndpointStats[];
  /** Why that road, where the stream has no parts. */
  readonly reason?: string;
  /** To be called when a part's road is settled, that is when its first message or its end has come. */
  onSettled?: (endpoint: EndpointStats) => void;
}

/** What was taken for the whole stream: Flight where any part took it. */
export function roadOf({ endpoints, reason }: Roads): { via: Via; viaReason: string } {
  const known = endpoints.filter(({ via }) => via !== null);
  const shown = known.find(({ via }) => via === "flight") ?? known[0];
  return { via: shown?.via ?? "flight", viaReason: shown?.viaReason ?? reason ?? "" };
}

/**
 * The road of a stream that was asked for by `ucx:` URI.
 *
 * @param location The URI or URIs in use
 * @param transports Names of the transports
 */
export function ucxRoad(location: string, transports: readonly string[]): Roads {
  return { transports, endpoints: [{ via: "ucx", viaReason: "asked for by a ucx: URI", location, batches: 0 }] };
}
