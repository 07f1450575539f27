/**
 * Sends bytes from device memory to device memory through a transport and compares them: the one proof that no staging is
 * needed.
 *
 * @module
 */
import type { Gpu } from "../memory/cuda/device.ts";
import type { DeviceBlock, DeviceBody } from "../memory/cuda/device_block.ts";
import { FULL_MASK } from "../protocol/tag.ts";
import {
  type Channel,
  DONE,
  FAILED,
  type Listener,
  type Operation,
  PENDING,
  type Transport,
} from "../wire/transport.ts";

/** One size that UCX sends eagerly, and one that the receiver fetches. */
const SIZES = [4096, 4 * 2 ** 20];
/** Longest wait for a transfer. */
const TIMEOUT_MS = 10_000;
const TAG = 0x6469_7063n;

/** Result of a transfer from device to device. */
export interface ProbeResult {
  /** Whether every byte arrived. */
  readonly ok: boolean;
  /** Why it failed; empty if it did not. */
  readonly error: string;
  /** Number of bytes that were sent. */
  readonly byteLength: number;
  /** Total time of the transfers, in seconds. */
  readonly seconds: number;
  /** Transports of the connection. */
  readonly transports: readonly string[];
}

/**
 * Makes the transfer. Never throws.
 *
 * @param transport A transport that claims to support memory of the device
 * @param device GPU whose memory is sent and received
 */
export async function probeDirect(transport: Transport, device: Gpu): Promise<ProbeResult> {
  const byteLength = SIZES.reduce((sum, size) => sum + size);
  let listener: Listener | null = null;
  let client: Channel | null = null;
  const accepted: Channel[] = [];
  let transports: readonly string[] = [];
  const start = performance.now();
  let seconds = 0;
  let error = "";
  try {
    const onChannel = (channel: Channel): void => {
      accepted.push(channel);
      channel.until(() => false).catch(() => {}); // makes progress until it is closed
    };
    listener = await transport.listen({ host: "127.0.0.1", port: 0, onChannel });
    client = await transport.connect(listener.address, null, { timeoutMs: TIMEOUT_MS });
    if (accepted.length !== 1) throw new Error(`${accepted.length} connections were accepted instead of one`);
    for (const size of SIZES) seconds += await send(accepted[0], client, device, size);
    transports = client.transports;
  } catch (cause) {
    error = (cause as Error).message;
    seconds ||= (performance.now() - start) / 1000;
  }
  for (const each of [client, ...accepted, listener]) {
    try {
      await each?.close();
    } catch (cause) {
      error ||= (cause as Error).message;
    }
  }
  return { ok: error === "", error, byteLength, seconds, transports };
}

/** Pseudorandom bytes. */
function pattern(size: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(size / 4);
  for (let i = 0, value = size; i < words.length; i++) {
    words[i] = value = (Math.imul(value, 1664525) + 1013904223) >>> 0;
  }
  return new Uint8Array(words.buffer);
}

async function send(from: Channel, to: Channel, device: Gpu, size: number): Promise<number> {
  const bytes = pattern(size);
  const source = device.pool.acquire(size);
  let target: DeviceBlock | null = null;
  let body: DeviceBody | null = null;
  let isIdle = true;
  try {
    target = device.pool.acquire(size);
    await device.copies.upload(source.address, bytes, { uses: [source] });
    await device.copies.fill(target.address, 0, size, { uses: [target] }).done();
    const start = performance.now();
    isIdle = false;
    const receive = to.receive(TAG, FULL_MASK, target, size);
    body = source.toBody(size);
    const sending = from.sendTagged(TAG, body, true);
    const state = (operation: Operation | null) => operation === null ? DONE : operation.poll();
    const isSettled = () => state(sending) !== PENDING && state(receive) !== PENDING;
    // If one side fails, the other may wait forever.
    const isOver = () => isSettled() || state(sending) === FAILED || state(receive) === FAILED;
    const hasArrived = await to.until(isOver, { timeoutMs: TIMEOUT_MS });
    isIdle = isSettled();
    if (sending?.error) throw sending.error;
    if (receive.error !== null) throw receive.error;
    if (!hasArrived) throw new Error(`${size} bytes did not arrive within ${TIMEOUT_MS} ms`);
    const seconds = (performance.now() - start) / 1000;
    const back = new Uint8Array(size);
    await device.copies.download(back, target.address, { uses: [target] });
    const at = back.findIndex((byte, i) => byte !== bytes[i]);
    if (at >= 0) throw new Error(`of ${size} bytes, byte ${at} arrived as ${back[at]} and was sent as ${bytes[at]}`);
    return seconds;
  } finally {
    // A request that may still be in progress uses its memory until its channel is closed.
    if (!isIdle) await Promise.all([from.close(), to.close()]);
    body?.release();
    source.release();
    target?.release();
  }
}
