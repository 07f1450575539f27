/**
 * Connects to a server and starts a stream into the memory of a GPU.
 *
 * @module
 */
import { checkDeno } from "./runtime.ts";
import { StreamSpan } from "./telemetry/stream_span.ts";
import { openGpu } from "./device/devices.ts";
import { DeviceInput } from "./device/input.ts";
import { memoryOn } from "./device/lent_memory.ts";
import { DeviceStreamReader } from "./device/reader.ts";
import {
  chooseUcx,
  decideStaging,
  findStaging,
  type Staging,
  type StagingDecision,
  stagingOption,
  type TransportSource,
} from "./device/staging.ts";
import { DipcError } from "./errors.ts";
import type { VerifiedHeader } from "./ipc/header.ts";
import type { Gpu } from "./memory/cuda/device.ts";
import { chooseRoute } from "./routes/choose.ts";
import { withPeerCheck } from "./routes/peer_check.ts";
import { checkOptions, type ConnectOptions, type RouteOptions } from "./routes/options.ts";
import type { Transport } from "./wire/transport.ts";
import { sharedTransport } from "./wire/ucx/shared.ts";

/** Why bodies that come by DoGet are staged. */
const BY_FLIGHT = "what comes by Flight's DoGet arrives in host memory";

/** Options of {@linkcode connectCuda}. */
export interface ConnectCudaOptions extends Omit<ConnectOptions, "pool"> {
  /** The GPU that bodies are received into. Default `"cuda:0"`. */
  memory?: `cuda:${number}`;
  /**
   * When bodies are copied through pinned host memory: if UCX cannot write device memory directly (`"auto"`), `"never"`, or
   * `"always"`. Default `"auto"`.
   */
  staging?: "auto" | "never" | "always";
}

/**
 * Requests a stream into the memory of a GPU.
 *
 * @example Usage
 * ```ts ignore
 * import { connectCuda } from "@arrow-ucx/dipc/cuda";
 *
 * await using reader = await connectCuda(Deno.args[0], { memory: "cuda:0" });
 * for await (using batch of reader) console.log(batch.numRows, batch.columns[0].data?.address);
 * ```
 *
 * @param uri As for `connect`
 * @param options Memory space, ticket, limits, timeouts
 * @returns The reader of device batches, once the schema has arrived; its `stats` say whether bodies are staged, and why
 * @throws {DipcError} as `connect` does; `library_not_found` without libcuda, naming what was tried; `not_found` without this GPU;
 * `unsupported` if staging is needed and `"never"` was requested
 */
export async function connectCuda(
  uri: string | URL | readonly (string | URL)[],
  options: ConnectCudaOptions = {},
): Promise<DeviceStreamReader> {
  checkDeno();
  const startedMs = performance.now();
  const { memory = "cuda:0", staging: requested, ...rest } = options;
  if ("pool" in rest && rest.pool !== undefined) {
    throw new DipcError(
      "invalid_argument",
      "cannot use the option pool: connectCuda receives into the pool of the GPU",
    );
  }
  const route = await chooseRoute(uri);
  const checked = checkOptions(route.name, rest);
  const device = openGpu(memory);
  // Neither takes UCX: see checkOptions.
  const isDoGet = route.name === "flight" && (checked.route === "flight" || checked.ticket !== undefined);
  const { transport, ...staging } = await chooseStaging(device, stagingOption(requested), checked, isDoGet);
  const start = (signal?: AbortSignal) =>
    route.open(uri, {
      ...checked,
      signal,
      transport,
      // What comes by Flight's DoGet always goes through host memory.
      pool: device.pinned,
      ucxPool: staging.isStaged ? device.pinned : device.pool,
      lent: memoryOn(device),
    });
  const span = new StreamSpan("received");
  const { input, schema, routes } = await span.open(() =>
    checked.transport === undefined ? withPeerCheck(uri, checked, start) : start(checked.signal)
  );
  const header = schema as VerifiedHeader;
  const { limits } = checked;
  const { maxDecompressedBytes, maxInFlightBytes } = limits;
  return new DeviceStreamReader({
    input: new DeviceInput(input, { device, schema: header, maxDecompressedBytes, maxInFlightBytes }),
    device,
    schema: header,
    staging,
    routes,
    limits,
    signal: options.signal,
    startedMs,
    span,
  });
}

async function chooseStaging(
  device: Gpu,
  requested: Staging,
  { transport, library }: RouteOptions,
  isDoGet: boolean,
): Promise<StagingDecision & { transport?: Transport }> {
  if (isDoGet) {
    return await decideStaging(
      requested,
      device.space,
      () => Promise.resolve({ isStaged: true, reason: BY_FLIGHT, probe: null }),
    );
  }
  if (transport !== undefined) {
    const decision = await decideStaging(requested, device.space, () => findStaging(transport, device));
    return { ...decision, transport };
  }
  const source: TransportSource = {
    open: (access) => sharedTransport(library, access),
    discard: () => Promise.resolve(), // the next stream uses it
  };
  return await chooseUcx(device, requested, source);
}
