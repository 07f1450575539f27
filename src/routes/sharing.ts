/**
 * Whether the bodies of a stream are read in the server's memory, and how: by a mapping of memory that a server of this machine hands
 * out, or by a remote key of UCX. What cannot be had is not tried in another way: then bodies are sent.
 *
 * @module
 */
import type { Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";
import type { RequestEntry } from "../protocol/envelope.ts";
import type { Alternative, UcxUri } from "../protocol/uri.ts";
import type { AddressedBodies } from "../stream/body_sharing.ts";
import { textOf } from "../text.ts";
import type { Channel } from "../wire/transport.ts";
import type { MemoryOpener } from "./shared.ts";

/** What a server offers of its memory: `refused` is not wanted, and says why. */
export type SharingOffer =
  | { readonly kind: "mapped"; readonly name: string; readonly ticket: Uint8Array }
  | { readonly kind: "remote"; readonly uri: UcxUri }
  | { readonly kind: "refused"; readonly reason: string };

/** What has become of an offer. */
export interface SharedOutcome {
  /** Makes bodies of lists of addresses; `null` if bodies are sent. */
  readonly session: AddressedBodies | null;
  /** What the request says about it, if it does. */
  readonly entries?: readonly RequestEntry[];
  /** Why bodies are sent, or fetched rather than mapped; empty if neither. */
  readonly reason: string;
}

/** The options of a stream that decide about an offer. */
export interface SharingWishes {
  readonly share?: boolean;
  readonly remoteKeys?: boolean;
  /** What opens memory that is handed out, if it is not host memory. */
  readonly lent?: MemoryOpener;
  readonly pool: Pool;
}

/**
 * What a server offers, and whether it is wanted.
 *
 * @param location What the URIs say
 * @param ticket The ticket of the stream
 * @param wishes Options of the caller
 * @returns `null` if it offers nothing
 */
export function offerOf(
  { metadata, body }: Alternative,
  ticket: Uint8Array | null,
  { share, remoteKeys, lent, pool }: SharingWishes,
): SharingOffer | null {
  const refused = (reason: string): SharingOffer => ({ kind: "refused", reason });
  const isMapped = metadata.share !== null && metadata.dipc && body === null && ticket !== null;
  const lender = body ?? metadata;
  if (!isMapped && (lender.remoteHandle === null || lender.freeData === null)) return null;
  if (share === false) return refused("the option share is off");
  if (isMapped) {
    if (lent === undefined && pool !== hostPool()) return refused("bodies are received into memory of the caller");
    return { kind: "mapped", name: metadata.share!, ticket: ticket! };
  }
  if (remoteKeys !== true) return refused("the server offers a remote key, and the option remoteKeys is off");
  if (pool.space !== "host") return refused("bodies are received into the memory of a GPU");
  return { kind: "remote", uri: lender };
}

/**
 * Gets the memory that a server of this machine hands out; it may be called while the connection is made.
 *
 * @param offer What the server offers
 * @param options Time-out, and what opens the memory
 * @returns what has become of it, `null` if that is decided by the connection, or nothing is offered; never rejects
 */
export async function openShared(
  offer: SharingOffer | null,
  { timeoutMs, lent }: { timeoutMs: number; lent?: MemoryOpener },
): Promise<SharedOutcome | null> {
  if (offer === null || offer.kind === "remote") return null;
  if (offer.kind === "refused") return { session: null, reason: offer.reason };
  try {
    // Loaded only now: most programs never need it.
    const { hostMemory, SharedSession } = await import("./shared.ts");
    const session = await SharedSession.open(offer.name, {
      ticket: offer.ticket,
      timeoutMs,
      memory: lent ?? hostMemory,
    });
    return { session, entries: [session.entry], reason: "" };
  } catch (error) {
    return { session: null, reason: textOf(error) };
  }
}

/**
 * Gets access to the memory that a remote key is for.
 *
 * @param offer What the server offers
 * @param channel The connection
 * @param pool Memory for the bodies
 * @returns what has become of it, `null` if no key is offered
 * @throws {DipcError} why it cannot be had, if the server cannot be requested to send bodies then
 */
export async function openRemote(
  offer: SharingOffer | null,
  channel: Channel,
  pool: Pool,
): Promise<SharedOutcome | null> {
  if (offer?.kind !== "remote") return null;
  try {
    const { RemoteSession } = await import("./remote.ts");
    const session = new RemoteSession(channel, offer.uri, pool);
    const { fetchReason } = session;
    return { session, reason: fetchReason === "" ? "" : `bodies are fetched: ${fetchReason}` };
  } catch (error) {
    if (!offer.uri.dipc) throw error;
    return { session: null, reason: textOf(error) };
  }
}
