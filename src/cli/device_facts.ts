/**
 * What `dipc doctor` reports about GPUs: the driver, the devices, whether UCX sees their memory, and how fast copies are.
 *
 * @module
 */
import type { Gpu } from "../memory/cuda/device.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import { asFailure, type FailureJson } from "./failure.ts";
import { formatBytes, formatRate } from "./numbers.ts";

/** Size in bytes of each copy that is measured. */
const COPY_BYTES = 64 * 2 ** 20;
/** Copies of each kind; the fastest counts. */
const ROUNDS = 5;

/** Speeds of copies in bytes per second. */
export interface CopySpeeds {
  /** From pinned host memory to the device. */
  readonly hostToDevice: number;
  /** From the device to pinned host memory. */
  readonly deviceToHost: number;
  /** Within the device; each byte is read once and written once. */
  readonly withinDevice: number;
}

/** One GPU. */
export interface DeviceFacts {
  readonly space: string;
  readonly name: string;
  readonly uuid: string;
  readonly pciBusId: string;
  readonly computeCapability: string;
  readonly memoryBytes: number;
  readonly freeBytes: number | null;
  /** Whether its memory can be shared as a dmabuf, and whether network adapters may reach it by the peer memory module. */
  readonly hasDmabuf: boolean;
  readonly hasGpuDirectRdma: boolean;
  /** Components of UCX that see it: `cuda_copy`, `cuda_ipc`, `gdr_copy`. */
  readonly ucx: readonly string[];
  /** Whether bodies are staged through host memory with these libraries, `null` if that is unknown. */
  readonly staged: boolean | null;
  readonly stagingReason: string;
  /** Why other processes cannot read its memory in place; empty if they can, `null` if that is unknown. */
  readonly sharingReason: string | null;
  /** `null` if they could not be measured. */
  readonly copies: CopySpeeds | null;
  readonly error?: FailureJson;
}

/** What is known of GPUs. */
export interface CudaFacts {
  /** The libcuda in use, `null` if there is none. */
  readonly library: string | null;
  /** The newest CUDA that the driver supports, such as `"12.9"`. */
  readonly driver: string | null;
  readonly devices: readonly DeviceFacts[];
  /** Why there is no device memory here. Not a fault: everything else works without it. */
  readonly error?: FailureJson;
}

/** Collects the facts. Never throws. */
export async function cudaFacts(): Promise<CudaFacts> {
  const { openCuda } = await import("../memory/cuda/driver.ts");
  try {
    const driver = openCuda();
    const devices: DeviceFacts[] = [];
    for (let ordinal = 0; ordinal < driver.deviceCount; ordinal++) devices.push(await deviceFacts(ordinal));
    return { library: driver.library.path, driver: driver.version, devices };
  } catch (error) {
    const { code, message } = asFailure(error);
    return { library: null, driver: null, devices: [], error: { code, message } };
  }
}

async function deviceFacts(ordinal: number): Promise<DeviceFacts> {
  const { openCuda } = await import("../memory/cuda/driver.ts");
  const driver = openCuda();
  const info = driver.deviceInfo(ordinal);
  const { space, name, uuid, pciBusId, computeCapability, memoryBytes, hasDmabuf, hasGpuDirectRdma } = info;
  const known = { space, name, uuid, pciBusId, computeCapability, memoryBytes, hasDmabuf, hasGpuDirectRdma };
  let device: Gpu | undefined;
  let freeBytes: number | null = null;
  let copies: CopySpeeds | null = null;
  let sharingReason: string | null = null;
  let staging: Pick<DeviceFacts, "ucx" | "staged" | "stagingReason"> = {
    ucx: [],
    staged: null,
    stagingReason: "not known",
  };
  let error: FailureJson | undefined;
  try {
    device = driver.openDevice(ordinal);
    freeBytes = device.memory().freeBytes;
    copies = await copySpeeds(device);
    sharingReason = sharingProblem(device);
    staging = await stagingOf(device);
  } catch (thrown) {
    const { code, message } = asFailure(thrown);
    error = { code, message };
  } finally {
    await device?.close().catch((thrown) => error ??= asFailure(thrown));
  }
  return { ...known, freeBytes, ...staging, sharingReason, copies, ...(error === undefined ? {} : { error }) };
}

/** Asks UCX, and checks by a transfer from device to device if UCX reports that it can. */
async function stagingOf(
  device: Gpu,
): Promise<Pick<DeviceFacts, "ucx" | "staged" | "stagingReason">> {
  const [{ chooseUcx, deviceAccess, ownTransports }, { UcxContext, loadUcp }, { cudaSupport }, { findLibucp }] =
    await Promise.all([
      import("../device/staging.ts"),
      import("../wire/ucx/context.ts"),
      import("../wire/ucx/cuda_support.ts"),
      import("../../ffi/find.ts"),
    ]);
  const access = deviceAccess(device);
  const context = new UcxContext(loadUcp(findLibucp().path), {
    devices: ["lo"],
    ipv6: false,
    sharedMemory: true,
    device: access,
  });
  let ucx: readonly string[];
  try {
    ucx = cudaSupport(context, access).components;
  } finally {
    context.close();
  }
  const { isStaged, reason, transport } = await chooseUcx(device, "auto", ownTransports(undefined));
  await transport.close();
  return { ucx, staged: isStaged, stagingReason: reason };
}

/** Makes memory for other processes. @returns why the driver refuses that; empty if it does not */
function sharingProblem({ ipc }: Gpu): string {
  try {
    ipc.export(1).free();
    return "";
  } catch (error) {
    return asFailure(error).message;
  }
}

async function copySpeeds(device: Gpu): Promise<CopySpeeds> {
  const { copies, pool, pinned } = device;
  const host = pinned.acquire(COPY_BYTES);
  try {
    const block = pool.acquire(2 * COPY_BYTES);
    const [one, two] = [block.address, block.address + BigInt(COPY_BYTES)];
    try {
      const best = async (copy: () => DeviceEvent): Promise<number> => {
        let seconds = Infinity;
        for (let round = 0; round < ROUNDS; round++) {
          const start = performance.now();
          await copy().done();
          seconds = Math.min(seconds, (performance.now() - start) / 1000);
        }
        return COPY_BYTES / seconds;
      };
      host.bytes().fill(1, 0, COPY_BYTES);
      const uses = [block, host];
      return {
        hostToDevice: await best(() => copies.copyToDevice(one, host.address, COPY_BYTES, { uses })),
        deviceToHost: await best(() => copies.copyToHost(host.address, one, COPY_BYTES, { uses })),
        withinDevice: await best(() => copies.copyOnDevice(two, one, COPY_BYTES, { uses })),
      };
    } finally {
      block.release();
    }
  } finally {
    host.release();
  }
}

/** The facts as lines of a label and a text. */
export function cudaLines(facts: CudaFacts): [label: string, text: string][] {
  if (facts.error !== undefined) {
    const [first, ...rest] = facts.error.message.split("\n");
    const tried = rest.slice(rest.indexOf("Tried:") + 1).map((line): [string, string] => ["", line.trim()]);
    const what = first.replace(/; do one of these:$/, "");
    return [["cuda", what], ...(rest.includes("Tried:") ? tried : [])];
  }
  const lines: [string, string][] = [["cuda", `driver for CUDA ${facts.driver} at ${facts.library}`]];
  for (const device of facts.devices) {
    const { space, name, computeCapability, memoryBytes, freeBytes, copies, staged, stagingReason, error } = device;
    const free = freeBytes === null ? "" : `, ${formatBytes(freeBytes)} free`;
    lines.push([space, `${name}, compute capability ${computeCapability}, ${formatBytes(memoryBytes)}${free}`]);
    lines.push(["", `${device.uuid}, PCI ${device.pciBusId}, dmabuf ${yes(device.hasDmabuf)}`]);
    if (copies !== null) {
      const rates = [copies.hostToDevice, copies.deviceToHost, copies.withinDevice].map(formatRate);
      lines.push(["", `copies: to the GPU ${rates[0]}, from it ${rates[1]}, within it ${rates[2]}`]);
    }
    lines.push([
      "",
      `UCX sees it by ${device.ucx.join(", ") || "nothing"}; bodies ${
        staged === null ? "unknown" : staged ? "staged" : "direct"
      }: ${stagingReason}`,
    ]);
    const { sharingReason } = device;
    if (sharingReason !== null) {
      const clients = "other processes can read its memory in place (CUDA IPC)";
      lines.push(["", sharingReason === "" ? clients : `its memory cannot be shared: ${sharingReason}`]);
    }
    if (error !== undefined) lines.push(["", `error[${error.code}]: ${error.message}`]);
  }
  return lines;
}

function yes(value: boolean): string {
  return value ? "yes" : "no";
}
