/**
 * Connects to a server and starts a stream into the memory of a GPU.
 *
 * @module
 */
import type { FlightRoadOptions } from "../connect.ts";
import { isFlightUri } from "../flight/location.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { Pool } from "../memory/block.ts";
import { type Roads, ucxRoad } from "./route.ts";
import type { MessageInput } from "../stream/message_input.ts";
import type { Transport } from "../wire/transport.ts";
import { openUcxStream, sharedTransport, type UcxStreamOptions } from "./ucx.ts";
import { cudaDevice } from "../device/devices.ts";
import { DeviceInput } from "../device/input.ts";
import { DeviceStreamReader } from "../device/reader.ts";
import { chooseUcx, decideRoad, findRoad, roadChoice, type RoadDecision } from "../device/staging.ts";

/** The options of `connect`, checked, without a pool. */
export interface DeviceStreamOptions extends Omit<UcxStreamOptions, "pool">, FlightRoadOptions {
  /** Such as `"cuda:0"`. */
  readonly memory: string;
  /** `"auto"`, `"direct"` or `"staged"`. */
  readonly road?: string;
  /** `performance.now()` when `connect` was called. */
  readonly startedMs: number;
}

/**
 * Asks a server for a stream into device memory.
 *
 * @param uri As for `connect`
 * @param options As for `connect`
 * @throws {DipcError} as `connect` does; what opening the GPU throws; `unsupported` where the road that was asked for is shut
 */
export async function connectDevice(
  uri: string | URL | readonly (string | URL)[],
  options: DeviceStreamOptions,
): Promise<DeviceStreamReader> {
  const wish = roadChoice(options.road);
  const device = cudaDevice(options.memory);
  const { limits, library, signal, startedMs } = options;
  let transport: Transport;
  let road: RoadDecision;
  if (options.transport !== undefined) {
    const given = transport = options.transport;
    road = await decideRoad(wish, device.space, () => findRoad(given, device));
  } else {
    const source = {
      open: (access: Parameters<typeof sharedTransport>[1]) => sharedTransport(library, access),
      discard: () => Promise.resolve(), // it serves the next stream
    };
    ({ transport, ...road } = await chooseUcx(device, wish, source));
  }
  const pool = road.road === "direct" ? device.pool : device.pinned;
  const { input, schema, roads } = await open(uri, { ...options, transport }, pool, device.pinned);
  const header = schema as VerifiedHeader;
  const { maxDecompressedBytes, maxInFlightBytes } = limits;
  return new DeviceStreamReader({
    input: new DeviceInput(input, { device, schema: header, maxDecompressedBytes, maxInFlightBytes }),
    device,
    schema: header,
    road,
    roads,
    limits,
    signal,
    startedMs,
  });
}

/** Starts the stream; what comes by Flight's DoGet goes through host memory in any case. */
async function open(
  uri: string | URL | readonly (string | URL)[],
  options: Omit<DeviceStreamOptions, "memory" | "road"> & { transport: Transport },
  pool: Pool,
  pinned: Pool,
): Promise<{ input: MessageInput; schema: MessageHeader; roads: Roads }> {
  if ((typeof uri === "string" || uri instanceof URL) && isFlightUri(uri)) {
    const { openFlight } = await import("./flight.ts");
    return await openFlight(uri, { ...options, pool: pinned, ucxPool: pool });
  }
  const { input, schema, transports, location } = await openUcxStream(uri, { ...options, pool });
  return { input, schema, roads: ucxRoad(location, transports) };
}
