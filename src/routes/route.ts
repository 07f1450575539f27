/**
 * How a stream gets here: the interface of a route, and what is known of the one that was taken.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import type { MessageInput } from "../stream/message_input.ts";
import type { RouteOptions, StreamUri } from "./options.ts";

/** How data comes: by UCX, or by Flight's DoGet. */
export type RouteName = "ucx" | "flight";

/** One part of a stream: where it comes from. A `ucx:` URI is one part, a flight has as many as it has endpoints. */
export interface EndpointStats {
  /** How its data comes; `null` until it has been requested. */
  readonly route: RouteName | null;
  /** Why so; empty until it has been requested. */
  readonly routeReason: string;
  /** The URI in use, both URIs if metadata and bodies come from two; `null` until one is. */
  readonly location: string | null;
  /** Record batches that have arrived. */
  readonly batches: number;
}

/** The routes that the parts of one stream take, as they are now. */
export interface StreamRoutes {
  /** Names of the transports that UCX chose. */
  readonly transports: readonly string[];
  /** The parts, in order. */
  readonly endpoints: readonly EndpointStats[];
  /** Why that route, if the stream has no parts. */
  readonly reason?: string;
  /** To be called when a part's route is settled, that is when its first message or its end has arrived. */
  onSettled?: (endpoint: EndpointStats) => void;
}

/** A running stream, its schema taken. */
export interface OpenStream {
  /** The messages after the schema. */
  readonly input: MessageInput;
  /** The schema message. */
  readonly schema: MessageHeader;
  /** The routes that its parts take. */
  readonly routes: StreamRoutes;
}

/** A way from a URI to a running stream. */
export interface Route {
  /**
   * Starts a stream.
   *
   * @param uri Where to ask
   * @param options As checked by `checkOptions`, and the memory that bodies are received into
   * @throws {DipcError} as `connect` does
   */
  open(uri: StreamUri, options: RouteOptions): Promise<OpenStream>;
}

/** The route of the whole stream: Flight if any part took it. */
export function routeOf({ endpoints, reason }: StreamRoutes): { route: RouteName; routeReason: string } {
  const known = endpoints.filter(({ route }) => route !== null);
  const shown = known.find(({ route }) => route === "flight") ?? known[0];
  return { route: shown?.route ?? "flight", routeReason: shown?.routeReason ?? reason ?? "" };
}
