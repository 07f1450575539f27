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

/** One size that goes along with its announcement, and one that is fetched. */
const SIZES = [4096, 4 * 2 ** 20];
/** Longest wait for a step. */
const TIMEOUT_MS = 10_000;
const TAG = 0x6469_7063n;

/** How a transfer from device to device went. */
export interface ProbeResult {
  /** Whether every byte arrived. */
  readonly ok: boolean;
  /** What went wrong, empty where nothing did. */
  readonly error: string;
  /** Bytes that were sent. */
  readonly byteLength: number;
  /** From the first send to the last receive, in seconds. */
  readonly seconds: number;
  /** Transports of the connection. */
  readonly transports: readonly string[];
}

/**
 * Makes the transfer. Never throws.
 *
 * @param transport A transport that says that it takes memory of the device
 * @param device The GPU
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
      channel.until(() => false).catch(() => {}); // keeps it moving until it is closed
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

/** Bytes that differ from place to place. */
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
  let settled = true;
  try {
    target = device.pool.acquire(size);
    await device.copies.upload(source.address, bytes, { uses: [source] });
    await device.copies.fill(target.address, 0, size, { uses: [target] }).done();
    const start = performance.now();
    settled = false;
    const receive = to.receive(TAG, FULL_MASK, target, size);
    body = source.toBody(size);
    const sending = from.sendTagged(TAG, body, true);
    const state = (operation: Operation | null) => operation === null ? DONE : operation.poll();
    const isSettled = () => state(sending) !== PENDING && state(receive) !== PENDING;
    // Where one side fails, the other may wait for ever.
    const isOver = () => isSettled() || state(sending) === FAILED || state(receive) === FAILED;
    const came = await to.until(isOver, { timeoutMs: TIMEOUT_MS });
    settled = isSettled();
    if (sending?.error) throw sending.error;
    if (receive.error !== null) throw receive.error;
    if (!came) throw new Error(`${size} bytes did not arrive within ${TIMEOUT_MS} ms`);
    const seconds = (performance.now() - start) / 1000;
    const back = new Uint8Array(size);
    await device.copies.download(back, target.address, { uses: [target] });
    const at = back.findIndex((byte, i) => byte !== bytes[i]);
    if (at >= 0) throw new Error(`of ${size} bytes, that at ${at} arrived as ${back[at]} and was sent as ${bytes[at]}`);
    return seconds;
  } finally {
    // A request that may still be under way keeps its memory until its channel is gone.
    if (!settled) await Promise.all([from.close(), to.close()]);
    body?.release();
    source.release();
    target?.release();
  }
}
