/**
 * Copies between a device and host memory of any kind, through pinned memory in overlapped chunks: the driver's own
 * staging would block the thread until the copy is done.
 *
 * @module
 */
import { libc } from "../../../ffi/libc.ts";
import { LocalError } from "../../errors.ts";
import { integerRefusal, isIntegerIn } from "../../options.ts";
import type { CopyOptions } from "./copy_options.ts";
import type { DeviceEvent } from "./device_event.ts";
import type { PinnedBlock, PinnedPool } from "./pinned_pool.ts";
import type { CopyWaitOptions } from "./wait.ts";

const CHUNK_BYTES = 4 << 20;
/** Chunks under way at once: one that the CPU copies, one that the GPU copies, one that waits. */
const CHUNKS_AHEAD = 3;
/** Time that the CPU copies before the event loop gets a turn, in milliseconds. */
const TURN_MS = 5;

/** Options of `upload` and `download`. */
export interface StagedCopyOptions extends CopyOptions, CopyWaitOptions {
  /**
   * Bytes per staged chunk.
   *
   * @default {4194304}
   */
  chunkBytes?: number;
}

/** Host memory by its address; the caller keeps it alive. */
export interface HostRange {
  /** Address of the first byte. */
  readonly address: bigint;
  /** Size in bytes. */
  readonly byteLength: number;
}

/** Copies between pinned memory and the device. */
export interface PinnedCopies {
  copyToDevice(target: bigint, source: bigint, byteLength: number, options: CopyOptions): DeviceEvent;
  copyToHost(target: bigint, source: bigint, byteLength: number, options: CopyOptions): DeviceEvent;
}

/** Gives the event loop a turn every few milliseconds. */
class Turns {
  #since = performance.now();

  async take(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) {
      throw new LocalError("cancelled", "cannot finish the copy: it was cancelled by its signal", {
        cause: signal.reason,
      });
    }
    if (performance.now() - this.#since < TURN_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}

function chunkBytesOf(options: StagedCopyOptions): number {
  const { chunkBytes = CHUNK_BYTES } = options;
  if (isIntegerIn(chunkBytes, 1)) return chunkBytes;
  const text = integerRefusal("chunkBytes", chunkBytes, 1, Number.MAX_SAFE_INTEGER);
  throw new LocalError("invalid_argument", text);
}

function isArray(memory: Uint8Array<ArrayBuffer> | HostRange): memory is Uint8Array<ArrayBuffer> {
  return memory instanceof Uint8Array;
}

/**
 * Copies host memory to a device.
 *
 * @param pinned Pool of the staged chunks
 * @param copies Copies of the device
 * @param target Device address
 * @throws {DipcError} `closed`, `invalid_argument`, `out_of_memory`, `timeout`, `cancelled`; what the driver reports
 */
export async function upload(
  pinned: PinnedPool,
  copies: PinnedCopies,
  target: bigint,
  source: Uint8Array<ArrayBuffer> | HostRange,
  options: StagedCopyOptions,
): Promise<void> {
  const chunkBytes = chunkBytesOf(options);
  const turns = new Turns();
  const events: DeviceEvent[] = [];
  for (let offset = 0; offset < source.byteLength; offset += chunkBytes) {
    const length = Math.min(chunkBytes, source.byteLength - offset);
    if (events.length >= CHUNKS_AHEAD) await events.shift()!.done(options);
    await turns.take(options.signal);
    const block = await pinned.acquireWaiting(length, options);
    try {
      if (isArray(source)) block.bytes().set(source.subarray(offset, offset + length));
      else libc().memcpy(block.address, source.address + BigInt(offset), BigInt(length));
      const uses = [...options.uses ?? [], block];
      events.push(copies.copyToDevice(target + BigInt(offset), block.address, length, { ...options, uses }));
    } finally {
      block.release();
    }
  }
  for (const event of events) await event.done(options);
}

/**
 * Copies from a device to host memory.
 *
 * @param pinned Pool of the staged chunks
 * @param copies Copies of the device
 * @param source Device address
 * @throws {DipcError} `closed`, `invalid_argument`, `out_of_memory`, `timeout`, `cancelled`; what the driver reports
 */
export async function download(
  pinned: PinnedPool,
  copies: PinnedCopies,
  target: Uint8Array<ArrayBuffer> | HostRange,
  source: bigint,
  options: StagedCopyOptions,
): Promise<void> {
  const chunkBytes = chunkBytesOf(options);
  const turns = new Turns();
  const chunks: { event: DeviceEvent; block: PinnedBlock; offset: number; length: number }[] = [];
  const takeOldest = async (): Promise<void> => {
    const { event, block, offset, length } = chunks[0];
    await event.done(options);
    await turns.take(options.signal);
    if (isArray(target)) target.set(block.bytes().subarray(0, length), offset);
    else libc().memcpy(target.address + BigInt(offset), block.address, BigInt(length));
    chunks.shift();
    block.release();
  };
  try {
    for (let offset = 0; offset < target.byteLength; offset += chunkBytes) {
      const length = Math.min(chunkBytes, target.byteLength - offset);
      if (chunks.length >= CHUNKS_AHEAD) await takeOldest();
      const block = await pinned.acquireWaiting(length, options);
      try {
        const uses = [...options.uses ?? [], block];
        const event = copies.copyToHost(block.address, source + BigInt(offset), length, { ...options, uses });
        chunks.push({ event, block, offset, length });
      } catch (error) {
        block.release();
        throw error;
      }
    }
    while (chunks.length > 0) await takeOldest();
  } finally {
    // If the copy was aborted, their events keep them from being reused too soon.
    for (const { block } of chunks) block.release();
  }
}
