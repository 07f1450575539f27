/**
 * Which half of a stream.
 *
 * @module
 */

/** Which half of a stream a server sends or a connection carries. */
export type StreamRole = "both" | "metadata" | "body";

/** Every {@linkcode StreamRole}. */
export const STREAM_ROLES: readonly StreamRole[] = ["both", "metadata", "body"];
