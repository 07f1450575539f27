/**
 * The memory of the devices that arrays may be in: what of it the host can read, and how.
 *
 * @module
 */
import { CUDA } from "../../ffi/cuda_constants.ts";
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../errors.ts";
import { PrimaryContext } from "../memory/cuda/context.ts";
import { openCuda } from "../memory/cuda/driver.ts";
import { deviceSpace } from "../memory/cuda/space.ts";
import { waitUntil } from "../memory/cuda/wait.ts";
import type { Copy } from "./array_in.ts";
import type { ForeignDevice } from "./foreign_batch.ts";
import { readAddress, scratch } from "./raw.ts";
import { C_LAYOUT, DEVICE_TYPE } from "./structs.ts";

const AT = C_LAYOUT.ArrowDeviceArray;
/** Devices whose memory the host can read: CPU, CUDA_HOST, ROCM_HOST, CUDA_MANAGED. */
const READABLE: readonly number[] = [
  DEVICE_TYPE.cpu,
  DEVICE_TYPE.cudaHost,
  DEVICE_TYPE.rocmHost,
  DEVICE_TYPE.cudaManaged,
];

/**
 * The device of an array.
 *
 * @param address Address of an `ArrowDeviceArray`
 */
export function readDevice(address: bigint): ForeignDevice {
  const { address: target, words, halves } = scratch(AT.size);
  libc().memcpy(target, address, BigInt(AT.size));
  const deviceType = halves[AT.device_type / 4] | 0;
  const deviceId = BigInt.asIntN(64, words[AT.device_id / 8]);
  const isCuda = deviceType === DEVICE_TYPE.cuda;
  const space = READABLE.includes(deviceType)
    ? "host"
    : isCuda
    ? deviceSpace(Number(deviceId))
    : `device ${deviceType}:${deviceId}`;
  return { space, deviceType, deviceId, syncEvent: words[AT.sync_event / 8] };
}

/**
 * Waits for the event of an array if the host has to read its memory, and runs `read` with a function that copies it.
 *
 * @param device The device
 * @param read Reads the arrays
 * @throws {DipcError} What the driver reports; `timeout`; `unsupported` for a kind of device that dipc cannot read
 */
export async function withDevice<T>(device: ForeignDevice, read: (copy: Copy) => T): Promise<T> {
  const { deviceType, deviceId, syncEvent, space } = device;
  if (deviceType === DEVICE_TYPE.cpu || (space === "host" && syncEvent === 0n)) return read(libc().memcpy);
  if (space !== "host" && deviceType !== DEVICE_TYPE.cuda) return read(unreadable(space));
  const driver = openCuda();
  const ordinal = deviceType === DEVICE_TYPE.cuda ? Number(deviceId) : Math.max(0, Number(deviceId));
  const info = driver.deviceInfo(ordinal);
  const context = new PrimaryContext(driver.symbols, info.handle, info.space);
  try {
    if (syncEvent !== 0n) {
      const event = readAddress(syncEvent);
      const isDone = (): boolean => {
        const result = context.run(() => driver.symbols.cuEventQuery(event));
        if (result === CUDA.CUDA_ERROR_NOT_READY) return false;
        driver.check(result, "wait for the event of an imported batch");
        return true;
      };
      await waitUntil(isDone, "wait for the event of an imported batch");
    }
    if (space === "host") return read(libc().memcpy);
    return read((target, source, byteLength) => {
      const result = context.run(() => driver.symbols.cuMemcpyDtoH_v2(target, source, byteLength));
      driver.check(result, `read an imported batch in ${space}`);
    });
  } finally {
    context.release();
  }
}

function unreadable(space: string): Copy {
  return () => {
    throw new DipcError(
      "unsupported",
      `cannot import Arrow data in ${space}: its offsets cannot be read here; import columns of fixed width, or memory of a ` +
        "kind that dipc knows",
    );
  };
}
