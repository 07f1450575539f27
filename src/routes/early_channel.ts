/**
 * A connection by UCX that is begun before the stream is known, as those who use it see it, and what it has in common with one that is
 * made later.
 *
 * @module
 */
import type { ReaderLimits } from "../limits.ts";
import { MAX_ERROR_BYTES } from "../protocol/envelope.ts";
import type { Channel, KeepOptions, PeerAddress } from "../wire/transport.ts";

/** A connection that was begun before it was known where the stream is. */
export interface EarlyChannel {
  /**
   * The connection, which is the caller's then.
   *
   * @param peer The server that it must lead to
   * @param signal Aborts the wait for it
   * @returns `null` if there is none to that server, or it has failed; never rejects
   */
  take(peer: PeerAddress, signal?: AbortSignal): Promise<Channel | null>;
  /** Notes that a stream has come on a connection that can be kept. */
  note(peer: PeerAddress): void;
}

/** Whether connections are kept at all. */
export function isKeeping({ connections, milliseconds }: KeepOptions): boolean {
  return connections > 0 && milliseconds > 0;
}

/** Most bytes of a metadata message: the server's reason for rejecting must pass even a tighter limit. */
export function metadataLimit({ maxMetadataBytes }: ReaderLimits): number {
  return Math.max(maxMetadataBytes, MAX_ERROR_BYTES);
}
