/**
 * Which road bodies in device memory take: straight from GPU to GPU by UCX, or staged through pinned host memory.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { CudaDevice } from "../memory/cuda/device.ts";
import type { DeviceAccess, Transport } from "../wire/transport.ts";
import { ucxTransport } from "../wire/ucx/transport.ts";
import { probeDirect, type ProbeResult } from "./direct_probe.ts";

/** A road: bodies go straight between wire and device memory, or are copied through pinned host memory. */
export type Road = "direct" | "staged";

/** Which road to take: the direct one where it works, or a certain one. */
export type RoadChoice = "auto" | Road;

/** The road that was chosen. */
export interface RoadDecision {
  readonly road: Road;
  /** Why, in words for a user. */
  readonly reason: string;
  /** The transfer from device to device that was tried, where one was. */
  readonly probe: ProbeResult | null;
}

/** A road, and the transport that carries it. */
export interface ChosenTransport extends RoadDecision {
  /** Whoever asked for it closes it. */
  readonly transport: Transport;
}

/**
 * Checks an option.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function roadChoice(value: string | undefined): RoadChoice {
  if (value === undefined || value === "auto" || value === "direct" || value === "staged") return value ?? "auto";
  throw new DipcError("invalid_argument", `road is "auto", "direct" or "staged", found ${JSON.stringify(value)}`);
}

/** What makes the context of a device current around calls into UCX. */
export function deviceAccess(device: CudaDevice): DeviceAccess {
  const { context, driver, space } = device;
  return { space, driver: driver.library.path, enter: () => context.push(), leave: () => context.pop() };
}

const probed = new WeakMap<Transport, WeakMap<CudaDevice, Promise<RoadDecision>>>();

/**
 * Finds out whether a transport moves memory of a device by itself: it says whether it takes such memory at all, and only
 * then it is given some, by a transfer inside this process whose bytes are compared. Asked once for each transport.
 *
 * @param transport The transport
 * @param device The GPU
 * @returns The direct road where it works; else the staged one, and why
 */
export function findRoad(transport: Transport, device: CudaDevice): Promise<RoadDecision> {
  let known = probed.get(transport);
  if (known === undefined) probed.set(transport, known = new WeakMap());
  let decision = known.get(device);
  if (decision === undefined) {
    known.set(device, decision = ask(transport, device));
    // A driver that was out of memory for a moment must not shut the road for ever.
    decision.then(({ probe }) => probe !== null && !probe.ok && known.delete(device), () => known.delete(device));
  }
  return decision;
}

async function ask(transport: Transport, device: CudaDevice): Promise<RoadDecision> {
  const support = transport.supports?.(device.space) ??
    { supported: false, reason: "this transport takes host memory alone" };
  if (!support.supported) return { road: "staged", reason: support.reason, probe: null };
  const probe = await probeDirect(transport, device);
  const over = probe.transports.length === 0 ? "" : ` over ${probe.transports.join(", ")}`;
  return probe.ok
    ? { road: "direct", reason: `${support.reason}; ${probe.byteLength} bytes went from GPU to GPU${over}`, probe }
    : { road: "staged", reason: `${support.reason}, but a transfer from GPU to GPU failed: ${probe.error}`, probe };
}

/**
 * Decides for a wish.
 *
 * @param wish What the caller wants
 * @param decide Finds out what works
 * @throws {DipcError} `unsupported` where the direct road is wanted and does not work, saying why
 */
export async function decideRoad(
  wish: RoadChoice,
  space: string,
  decide: () => Promise<RoadDecision>,
): Promise<RoadDecision> {
  if (wish === "staged") return { road: "staged", reason: 'asked for by road: "staged"', probe: null };
  const decision = await decide();
  if (wish === "direct" && decision.road !== "direct") {
    throw new DipcError(
      "unsupported",
      `the direct road from and to ${space} was asked for and does not work: ${decision.reason}; with road: "auto" bodies ` +
        "are staged through host memory (`dipc doctor` says more)",
    );
  }
  return decision;
}

/** How {@linkcode chooseUcx} comes to transports. */
export interface TransportSource {
  /** A transport for a GPU, or for host memory alone. */
  open(device?: DeviceAccess): Promise<Transport>;
  /** Takes one back that turned out not to be needed. */
  discard(transport: Transport): Promise<void>;
}

/** Transports of one's own. @param library Path of libucp; found by the usual rules where it is not given */
export function ownTransports(library: string | undefined): TransportSource {
  return {
    open: (device) => ucxTransport({ library, device }),
    discard: (transport) => transport.close(),
  };
}

/**
 * A UCX transport for the memory of a device where UCX and the driver allow it, for host memory otherwise.
 *
 * @param device The GPU
 * @param wish Which road is wanted
 * @param source Where transports come from
 * @throws {DipcError} `library_not_found`, `permission_denied`; `unsupported` where the wish cannot be fulfilled
 */
export async function chooseUcx(
  device: CudaDevice,
  wish: RoadChoice,
  source: TransportSource,
): Promise<ChosenTransport> {
  let direct: Transport | undefined;
  try {
    const decision = await decideRoad(wish, device.space, async () => {
      direct = await source.open(deviceAccess(device));
      return await findRoad(direct, device);
    });
    if (decision.road === "direct") return { ...decision, transport: direct! };
    if (direct !== undefined) await source.discard(direct);
    direct = undefined;
    return { ...decision, transport: await source.open() };
  } catch (error) {
    if (direct !== undefined) await source.discard(direct);
    throw error;
  }
}
