/**
 * The side of a server that lends memory by UCX's remote keys, to clients that know the protocol's specification and nothing of dipc.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { Arena } from "../memory/arena.ts";
import type { Body } from "../memory/block.ts";
import type { Channel, LentMemory, Listener } from "../wire/transport.ts";
import type { SharingSettings } from "./options.ts";
import { RemoteSession } from "./remote_session.ts";
import { type LendableMemory, type PlacedBody, placeIn } from "./shared_memory.ts";
import type { LenderStats, RemoteLender, RemoteOffer } from "./stream_plane.ts";

/** Memory that UCX provides, through which the bodies of one dataset stream. */
class RemoteMemory implements LendableMemory {
  readonly space = "host";
  readonly isConstant = false;
  readonly arena: Arena<LentMemory>;

  constructor(memory: LentMemory) {
    this.arena = new Arena(memory);
  }

  get usedBytes(): number {
    return this.arena.usedBytes;
  }

  place(body: Body): PlacedBody | null {
    return placeIn(this.arena, body);
  }
}

/** The memory and its clients. */
export class RemotePlane implements RemoteLender {
  readonly #freeData: bigint = crypto.getRandomValues(new BigUint64Array(1))[0] | 1n;
  readonly #memory = new Map<string, RemoteMemory>();
  readonly #sessions = new Set<RemoteSession>();
  readonly #settings: SharingSettings;

  /**
   * Provides memory for each dataset; its pages are used when they are written to.
   *
   * @param listener What clients connect to
   * @param datasets Names of the datasets
   * @param settings Limits
   * @throws {DipcError} `out_of_memory`, `unsupported`
   */
  constructor(listener: Listener, datasets: Iterable<string>, settings: SharingSettings) {
    this.#settings = settings;
    try {
      for (const name of datasets) this.#memory.set(name, new RemoteMemory(lend(listener, settings.arenaBytes)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get stats(): LenderStats {
    let leasedBytes = 0, arenaBytes = 0;
    for (const session of this.#sessions) leasedBytes += session.leasedBytes;
    for (const { usedBytes } of this.#memory.values()) arenaBytes += usedBytes;
    return { clients: this.#sessions.size, leasedBytes, arenaBytes };
  }

  offerOf(dataset: string): RemoteOffer | undefined {
    const memory = this.#memory.get(dataset);
    return memory && { freeData: this.#freeData, remoteHandle: memory.arena.region.key };
  }

  open(dataset: string, channel: Channel): RemoteSession | undefined {
    const memory = this.#memory.get(dataset);
    if (memory === undefined) return undefined;
    const session: RemoteSession = new RemoteSession(channel, this.#freeData, memory, {
      settings: this.#settings,
      onLeave: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    return session;
  }

  close(): void {
    for (const { arena } of this.#memory.values()) arena.close();
    this.#memory.clear();
  }
}

function lend(listener: Listener, byteLength: number): LentMemory {
  if (listener.lend !== undefined) return listener.lend(byteLength);
  throw new DipcError("unsupported", "cannot lend memory by remote keys: the transport of the server has none");
}
