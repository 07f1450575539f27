/**
 * The UCX side of a gateway: a listener whose requests name a ticket of the gateway, and whose streams are fetched from engines.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { hostPool } from "../memory/host_pool.ts";
import type { StreamRole } from "../protocol/role.ts";
import type { ServerEventDetail, ServerSettings, ServerStats } from "../serving/options.ts";
import { SharedPlane } from "../serving/shared_plane.ts";
import {
  countedIn,
  countEvent,
  type StreamEventType,
  type StreamGrant,
  type StreamPlane,
} from "../serving/stream_plane.ts";
import { UcxPlane } from "../serving/ucx_plane.ts";
import type { Transport } from "../wire/transport.ts";
import type { Engine } from "./engine.ts";
import { EngineFetch } from "./engine_fetch.ts";
import type { Fetches } from "./fetches.ts";
import { GatewayMemory } from "./memory.ts";
import { placesOf } from "./relay.ts";
import type { Credentials, GatewayTickets } from "./tickets.ts";

/** What the UCX side needs. */
export interface StreamSideParts {
  readonly transport: Transport;
  readonly settings: ServerSettings;
  /** Whether clients on this machine may read in the gateway's memory. */
  readonly share: boolean;
  readonly engines: ReadonlyMap<string, Engine>;
  readonly tickets: GatewayTickets;
  readonly credentials: Credentials;
  /** The fetches that clients share; `null` if each has its own. */
  readonly fetches: Fetches | null;
  readonly stats: ServerStats;
  /** Aborted when the gateway stops. */
  readonly stop: AbortSignal;
  emit(type: StreamEventType, detail: ServerEventDetail): void;
}

/** The UCX side, and its memory. */
export interface StreamSide {
  readonly plane: StreamPlane;
  readonly memory: GatewayMemory | null;
}

/** Makes the UCX side. @throws {DipcError} `out_of_memory`, `unsupported` */
export function streamSide({ transport, settings, share, stats, stop, emit, ...parts }: StreamSideParts): StreamSide {
  const { arenaBytes, minBodyBytes } = settings.sharing;
  const memory = share ? new GatewayMemory(arenaBytes, minBodyBytes) : null;
  const admission = { admit: (ticket: Uint8Array, role: StreamRole) => admit(parts, memory, ticket, role) };
  const counted = (type: StreamEventType, detail: ServerEventDetail): void => {
    countEvent(stats, type, detail);
    emit(type, detail);
  };
  const plane = new UcxPlane(transport, {
    ...{ settings, admission, stop, counter: countedIn(stats), emit: counted },
    openShared: memory === null
      ? undefined
      : () => new SharedPlane({ settings, admission, emit: counted, memoryOf: () => memory }),
  });
  return { plane, memory };
}

async function admit(
  { engines, tickets, credentials, fetches }: Pick<
    StreamSideParts,
    "engines" | "tickets" | "credentials" | "fetches"
  >,
  memory: GatewayMemory | null,
  ticket: Uint8Array,
  role: StreamRole,
): Promise<StreamGrant> {
  if (role !== "both") {
    throw new DipcError("unsupported", "cannot send half of a stream: the gateway sends metadata and bodies together");
  }
  const { engine: name, ticket: own, locations, credentials: number } = await tickets.unwrap(ticket);
  const engine = engines.get(name);
  if (engine === undefined) {
    throw new DipcError("not_found", `cannot find the engine ${JSON.stringify(name)}: it is not behind this gateway`);
  }
  const headers = credentials.headersOf(number);
  const fetch = new EngineFetch({
    ...{ engine, ticket: own, places: placesOf(locations), headers },
    pool: memory ?? hostPool(),
  }, fetches);
  return { entry: { name: engine.name, dataset: fetch }, spend() {} };
}
