/**
 * Whether bodies in device memory go straight from GPU to GPU by UCX, or are staged through pinned host memory.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { oneOf } from "../options.ts";
import type { DeviceAccess, Transport } from "../wire/transport.ts";
import { ucxTransport } from "../wire/ucx/transport.ts";
import { probeDirect, type ProbeResult } from "./direct_probe.ts";

/** When bodies are copied through pinned host memory: if they cannot go straight, never, or always. */
export type Staging = "auto" | "never" | "always";

/** What was decided. */
export interface StagingDecision {
  /** Whether bodies are copied through pinned host memory; otherwise UCX moves device memory by itself. */
  readonly isStaged: boolean;
  /** Why, in words for a user. */
  readonly reason: string;
  /** The transfer from device to device that was tried, if one was. */
  readonly probe: ProbeResult | null;
}

/** A decision, and the transport that goes with it. */
export interface ChosenTransport extends StagingDecision {
  /** Whoever requested it closes it. */
  readonly transport: Transport;
}

/**
 * Checks an option.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function stagingOption(value: string | undefined): Staging {
  return oneOf("staging", value ?? "auto", ["auto", "never", "always"]);
}

/** What makes the context of a device current around calls into UCX. */
export function deviceAccess(device: Gpu): DeviceAccess {
  const { context, driver, space } = device;
  return { space, driver: driver.library.path, enter: () => context.push(), leave: () => context.pop() };
}

const probed = new WeakMap<Transport, WeakMap<Gpu, Promise<StagingDecision>>>();

/**
 * Finds out whether a transport moves memory of a device by itself: it says whether it takes such memory at all, and only
 * then it is given some, by a transfer inside this process whose bytes are compared. Asked once for each transport.
 *
 * @param transport The transport
 * @param device The GPU
 * @returns Whether bodies are staged, and why
 */
export function findStaging(transport: Transport, device: Gpu): Promise<StagingDecision> {
  let known = probed.get(transport);
  if (known === undefined) probed.set(transport, known = new WeakMap());
  let decision = known.get(device);
  if (decision === undefined) {
    known.set(device, decision = ask(transport, device));
    // A driver that was out of memory for a moment must not settle this forever.
    decision.then(({ probe }) => probe !== null && !probe.ok && known.delete(device), () => known.delete(device));
  }
  return decision;
}

async function ask(transport: Transport, device: Gpu): Promise<StagingDecision> {
  const support = transport.supports?.(device.space) ??
    { supported: false, reason: "this transport takes host memory alone" };
  if (!support.supported) return { isStaged: true, reason: support.reason, probe: null };
  const probe = await probeDirect(transport, device);
  const over = probe.transports.length === 0 ? "" : ` over ${probe.transports.join(", ")}`;
  return probe.ok
    ? { isStaged: false, reason: `${support.reason}; ${probe.byteLength} bytes went from GPU to GPU${over}`, probe }
    : { isStaged: true, reason: `${support.reason}, but a transfer from GPU to GPU failed: ${probe.error}`, probe };
}

/**
 * Decides for a wish.
 *
 * @param wish What the caller wants
 * @param decide Finds out what works
 * @throws {DipcError} `unsupported` when staging is forbidden and needed, saying why
 */
export async function decideStaging(
  wish: Staging,
  space: string,
  decide: () => Promise<StagingDecision>,
): Promise<StagingDecision> {
  if (wish === "always") return { isStaged: true, reason: 'requested by staging: "always"', probe: null };
  const decision = await decide();
  if (wish === "never" && decision.isStaged) {
    throw new LocalError(
      "unsupported",
      `bodies cannot go straight from and to ${space}, as staging: "never" requests: ${decision.reason}; with staging: "auto" ` +
        "they are staged through host memory (`dipc doctor` says more)",
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
 * @param wish When to stage
 * @param source Where transports come from
 * @throws {DipcError} `library_not_found`, `permission_denied`; `unsupported` where the wish cannot be fulfilled
 */
export async function chooseUcx(
  device: Gpu,
  wish: Staging,
  source: TransportSource,
): Promise<ChosenTransport> {
  let direct: Transport | undefined;
  try {
    const decision = await decideStaging(wish, device.space, async () => {
      direct = await source.open(deviceAccess(device));
      return await findStaging(direct, device);
    });
    if (!decision.isStaged) return { ...decision, transport: direct! };
    if (direct !== undefined) await source.discard(direct);
    direct = undefined;
    return { ...decision, transport: await source.open() };
  } catch (error) {
    if (direct !== undefined) await source.discard(direct);
    throw error;
  }
}
