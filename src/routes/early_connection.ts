/**
 * A connection by UCX that is begun while `GetFlightInfo` is under way, to the address that the server named the last times: it takes several round trips and some milliseconds of both sides.
 *
 * It changes nothing but the time: its errors are ignored, nothing is prompted for, and one that is not used is cut when `connect` is
 * over.
 *
 * @module
 */
import { parseFlightLocation } from "../flight/location.ts";
import { isGranted } from "../permissions.ts";
import type { Channel, PeerAddress } from "../wire/transport.ts";
import { sharedTransport } from "../wire/ucx/shared.ts";
import { type EarlyChannel, isKeeping, metadataLimit } from "./early_channel.ts";
import type { RouteOptions } from "./options.ts";

/** Most Flight servers that are remembered. */
const MAX_KNOWN = 1000;
/** How many streams in a row must have come from one address: a server in isolates names them in turn. */
const STEADY = 2;
/** How long a server may think about its answer before the connection is cut: it takes a place there, in milliseconds. */
const PATIENCE_MS = 3_000;
/** Looks by which the end of a connection shows. */
const LOOKS = 2;

/** The address that the last streams of a Flight server came from. */
interface Source extends PeerAddress {
  /** How many in a row. */
  readonly streams: number;
}

/** By location of the Flight server and library; the latest is the last. */
const known = new Map<string, Source>();

/** Forgets where streams came from. */
export function forgetSources(): void {
  known.clear();
}

/** The connection of one `connect`. */
export class EarlyConnection implements EarlyChannel {
  readonly #options: RouteOptions;
  /** Names the server; `null` if its streams cannot come this way. */
  readonly #key: string | null;
  readonly #stop = new AbortController();
  /** Its peer, and itself; `null` if it was not begun, or has been taken. */
  #begun: { readonly peer: PeerAddress; readonly channel: Promise<Channel | null> } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param uri URI of the Flight server
   * @param options Those of `connect`
   */
  constructor(uri: string | URL, options: RouteOptions) {
    this.#options = options;
    const { route, transport, keep, library = "" } = options;
    const mayUse = route !== "flight" && transport === undefined && isKeeping(keep);
    this.#key = mayUse ? `${parseFlightLocation(uri).uri} ${library}` : null;
  }

  /** Begins it, if it is known where to, and no connection waits there. */
  begin(): void {
    const peer = this.#key === null ? undefined : known.get(this.#key);
    if (peer === undefined || peer.streams < STEADY || !isGranted({ name: "ffi" })) return;
    this.#begun = { peer, channel: this.#connect(peer).catch(() => null) };
    this.#timer = setTimeout(() => void this.end(), PATIENCE_MS);
  }

  async take({ host, port }: PeerAddress, signal?: AbortSignal): Promise<Channel | null> {
    const begun = this.#begun;
    if (begun === null || begun.peer.host !== host || begun.peer.port !== port) return null;
    this.#leave();
    const abort = (): void => this.#stop.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    const channel = await begun.channel;
    signal?.removeEventListener("abort", abort);
    // The server may have ended it meanwhile, and a ticket may not go out twice.
    for (let i = 0; i < LOOKS; i++) channel?.progress();
    if (channel === null || channel.failure === null) return channel;
    await channel.close();
    return null;
  }

  note({ host, port }: PeerAddress): void {
    if (this.#key === null) return;
    const last = known.get(this.#key);
    known.delete(this.#key);
    known.set(this.#key, { host, port, streams: last?.host === host && last.port === port ? last.streams + 1 : 1 });
    if (known.size > MAX_KNOWN) known.delete(known.keys().next().value!);
  }

  /** Cuts it if nobody has taken it; it is not begun again then before other streams have come from there. */
  async end(): Promise<void> {
    const begun = this.#begun;
    if (begun === null) return;
    this.#leave();
    known.delete(this.#key!);
    this.#stop.abort();
    const channel = await begun.channel;
    if (channel?.cut === undefined) await channel?.close();
    else channel.cut();
  }

  #leave(): void {
    this.#begun = null;
    clearTimeout(this.#timer);
  }

  async #connect(peer: PeerAddress): Promise<Channel | null> {
    const { signal, timeoutMs, limits, library } = this.#options;
    const stop = this.#stop.signal;
    const transport = await sharedTransport(library);
    const options = {
      timeoutMs,
      signal: signal === undefined ? stop : AbortSignal.any([signal, stop]),
      maxMetadataBytes: metadataLimit(limits),
    };
    if (transport.hasKept?.(peer, options) === false) return await transport.connect(peer, null, options);
    this.#leave();
    return null;
  }
}
