/**
 * Decides whether UCX moves bodies directly from GPU to GPU, or they are staged through pinned host memory.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { oneOf } from "../options.ts";
import type { DeviceAccess, Transport } from "../wire/transport.ts";
import { ucxTransport } from "../wire/ucx/transport.ts";
import { probeDirect, type ProbeResult } from "./direct_probe.ts";

/** When bodies are copied through pinned host memory: if UCX cannot move them directly, never, or always. */
export type Staging = "auto" | "never" | "always";

/** Whether bodies are staged, and why. */
export interface StagingDecision {
  /** Whether bodies are copied through pinned host memory; otherwise UCX moves device memory directly. */
  readonly isStaged: boolean;
  /** Reason, to be shown to the user. */
  readonly reason: string;
  /** The transfer from device to device that was tried, if one was. */
  readonly probe: ProbeResult | null;
}

/** A decision, and the transport that goes with it. */
export interface ChosenTransport extends StagingDecision {
  /** The transport; the caller closes it. */
  readonly transport: Transport;
}

/**
 * Validates the option `staging`; the default is `"auto"`.
 *
 * @throws {DipcError} `invalid_argument`
 */
export function stagingOption(value: string | undefined): Staging {
  return oneOf("staging", value ?? "auto", ["auto", "never", "always"]);
}

/** Makes the context of a device current around calls into UCX. */
export function deviceAccess(device: Gpu): DeviceAccess {
  const { context, driver, space } = device;
  return { space, driver: driver.library.path, enter: () => context.push(), leave: () => context.pop() };
}

const probed = new WeakMap<Transport, WeakMap<Gpu, Promise<StagingDecision>>>();

/**
 * Finds out whether a transport moves memory of a device directly: if it claims to support such memory, a transfer inside
 * this process proves it, whose bytes are compared. Tested once for each transport and device.
 *
 * @param transport Transport to test
 * @param device GPU whose memory it is to move
 * @returns Whether bodies are staged, and why
 */
export function findStaging(transport: Transport, device: Gpu): Promise<StagingDecision> {
  let known = probed.get(transport);
  if (known === undefined) probed.set(transport, known = new WeakMap());
  let decision = known.get(device);
  if (decision === undefined) {
    known.set(device, decision = probeSupport(transport, device));
    // A driver that was out of memory for a moment must not settle this forever.
    decision.then(({ probe }) => probe !== null && !probe.ok && known.delete(device), () => known.delete(device));
  }
  return decision;
}

async function probeSupport(transport: Transport, device: Gpu): Promise<StagingDecision> {
  const support = transport.supports?.(device.space) ??
    { supported: false, reason: "this transport supports host memory only" };
  if (!support.supported) return { isStaged: true, reason: support.reason, probe: null };
  const probe = await probeDirect(transport, device);
  const over = probe.transports.length === 0 ? "" : ` over ${probe.transports.join(", ")}`;
  return probe.ok
    ? { isStaged: false, reason: `${support.reason}; ${probe.byteLength} bytes went from GPU to GPU${over}`, probe }
    : { isStaged: true, reason: `${support.reason}, but a transfer from GPU to GPU failed: ${probe.error}`, probe };
}

/**
 * Decides according to the option `staging`.
 *
 * @param wish Value of the option
 * @param space Memory space of the bodies, such as `"cuda:0"`
 * @param decide Finds out what works
 * @throws {DipcError} `unsupported` with the reason if staging is forbidden but necessary
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
      `cannot move bodies directly to and from ${space}, as staging: "never" requests: ${decision.reason}; with staging: "auto" ` +
        "they are staged through host memory (`dipc doctor` reports more)",
    );
  }
  return decision;
}

/** Provides transports to {@linkcode chooseUcx}. */
export interface TransportSource {
  /** Opens a transport for a GPU, or for host memory only. */
  open(device?: DeviceAccess): Promise<Transport>;
  /** Takes back a transport that turned out not to be needed. */
  discard(transport: Transport): Promise<void>;
}

/** Private transports. @param library Path of libucp; found by the usual rules if omitted */
export function ownTransports(library: string | undefined): TransportSource {
  return {
    open: (device) => ucxTransport({ library, device }),
    discard: (transport) => transport.close(),
  };
}

/**
 * A UCX transport for the memory of a device if UCX and the driver support it, for host memory otherwise.
 *
 * @param device GPU whose memory the transport is to move
 * @param wish Value of the option `staging`
 * @param source Opens the transports
 * @throws {DipcError} `library_not_found`, `permission_denied`; `unsupported` if the wish cannot be fulfilled
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
