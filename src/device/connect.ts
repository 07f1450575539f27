/**
 * Connects to a server and starts a stream into the memory of a GPU.
 *
 * @module
 */
import type { VerifiedHeader } from "../ipc/header.ts";
import type { Transport } from "../wire/transport.ts";
import { openUcxStream, sharedTransport, type UcxStreamOptions } from "../ucx_stream.ts";
import { cudaDevice } from "./devices.ts";
import { DeviceInput } from "./input.ts";
import { DeviceStreamReader } from "./reader.ts";
import { chooseUcx, decideRoad, findRoad, roadChoice, type RoadDecision } from "./road.ts";

/** The options of `connect`, checked, without a pool. */
export interface DeviceStreamOptions extends Omit<UcxStreamOptions, "pool"> {
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
  const { input, schema, transports } = await openUcxStream(uri, { ...options, transport, pool });
  const header = schema as VerifiedHeader;
  const { maxDecompressedBytes, maxInFlightBytes } = limits;
  return new DeviceStreamReader({
    input: new DeviceInput(input, { device, schema: header, maxDecompressedBytes, maxInFlightBytes }),
    device,
    schema: header,
    road,
    transports,
    limits,
    signal,
    startedMs,
  });
}
