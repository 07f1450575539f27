/**
 * The interface of a route: a way from a URI to a running stream.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import type { MessageInput } from "../stream/message_input.ts";
import type { RouteOptions, StreamUri } from "./options.ts";
import type { RouteName, StreamRoutes } from "./stats.ts";

/** A running stream whose schema has been read. */
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
  /** Its name. */
  readonly name: RouteName;
  /**
   * Starts a stream.
   *
   * @param uri Source of the stream
   * @param options Options, checked by `checkOptions`, and the memory that bodies are received into
   * @throws {DipcError} as `connect` does
   */
  open(uri: StreamUri, options: RouteOptions): Promise<OpenStream>;
}
