/**
 * Datasets in the memory of a GPU: uploaded once, sent any number of times.
 *
 * @module
 */
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import type { Dataset } from "../sources/dataset.ts";
import { ResidentDataset } from "../sources/resident.ts";
import { openGpu } from "./devices.ts";
import { giveBack } from "./release.ts";

/** Largest body that is copied to pinned memory in one piece, in bytes; larger ones are copied in chunks. */
const WHOLE_BYTES = 4 * 2 ** 20;
/** Largest total size of copies in progress, in bytes. */
const AHEAD_BYTES = 32 * 2 ** 20;

/** Messages in the memory of a GPU. */
export class DeviceResidentDataset extends ResidentDataset {
  /** Memory space of the bodies, such as `"cuda:0"`. */
  override readonly memory: string;

  /**
   * @param schema Header of the schema message
   * @param messages Dictionaries and batches in order, whose bodies are filled; taken over
   * @param memory Memory space of the bodies
   */
  constructor(schema: MessageHeader, messages: readonly IpcMessage[], memory: string) {
    super(schema, messages);
    this.memory = memory;
  }
}

/**
 * Reads a dataset to its end and copies all bodies to the memory of a GPU. Compressed bodies stay compressed.
 *
 * @example Serve a table from the memory of a GPU
 * ```ts ignore
 * await using server = await serve({ datasets: { trips: await deviceResident(await openPath("trips.arrow"), "cuda:0") } });
 * ```
 *
 * @param dataset Dataset to load; stays open
 * @param memory Memory space of the GPU, such as `"cuda:0"`
 * @returns The dataset in device memory; `close()` frees it
 * @throws {DipcError} what opening the GPU and reading the dataset throw; `out_of_memory`; what the driver reports
 */
export function deviceResident(dataset: Dataset, memory: string): Promise<Dataset> {
  return uploadDataset(dataset, memory);
}

/** The same, as what it is. */
export async function uploadDataset(dataset: Dataset, memory: string): Promise<DeviceResidentDataset> {
  const device = openGpu(memory);
  const uploads = new Uploads(device);
  try {
    const run = await dataset.open();
    const schema = run.schema ?? dataset.schema;
    try {
      for (let message; (message = await run.next()) !== null;) await uploads.add(message);
    } finally {
      await run.close();
    }
    return new DeviceResidentDataset(schema, await uploads.finish(), memory);
  } catch (error) {
    uploads.abandon();
    throw error;
  }
}

/** Uploads bodies to a device, with a bounded number of bytes in progress. */
class Uploads {
  readonly #device: Gpu;
  readonly #messages: IpcMessage[] = [];
  #inProgress: { event: DeviceEvent; byteLength: number }[] = [];
  #bytes = 0;
  /** The event of each body whose copy may be in progress. */
  readonly #events = new Map<Body, DeviceEvent>();

  constructor(device: Gpu) {
    this.#device = device;
  }

  /** Takes over a message. */
  async add({ header, body }: IpcMessage): Promise<void> {
    if (body === null || body.byteLength === 0) {
      this.#messages.push({ header, body: body === null ? null : EMPTY_BODY });
      return;
    }
    try {
      const block = await this.#device.pool.acquireWaiting(body.byteLength);
      let event: DeviceEvent | null = null;
      try {
        event = await this.#copy(body, block);
      } catch (error) {
        block.release();
        throw error;
      }
      const uploaded = block.toBody(body.byteLength);
      this.#messages.push({ header, body: uploaded });
      if (event !== null) this.#events.set(uploaded, event);
    } finally {
      body.release();
    }
  }

  async #copy(body: Body, block: ReturnType<Gpu["pool"]["acquire"]>): Promise<DeviceEvent | null> {
    const { byteLength } = body;
    const { copies, pinned, space } = this.#device;
    if (body.space === space) {
      const event = copies.copyOnDevice(block.address, body.address, byteLength, { uses: [block] });
      await event.done();
      return null;
    }
    if (byteLength > WHOLE_BYTES) {
      // The array keeps the memory alive; some bodies have no other owner.
      await copies.upload(block.address, body.bytes(), { uses: [block] });
      return null;
    }
    while (this.#bytes + byteLength > AHEAD_BYTES && this.#inProgress.length > 0) await this.#settleOldest();
    const staging = await pinned.acquireWaiting(byteLength);
    try {
      staging.bytes().set(body.bytes());
      const event = copies.copyToDevice(block.address, staging.address, byteLength, { uses: [block, staging] });
      this.#inProgress.push({ event, byteLength });
      this.#bytes += byteLength;
      return event;
    } finally {
      staging.release();
    }
  }

  async #settleOldest(): Promise<void> {
    const { event, byteLength } = this.#inProgress[0];
    await event.done();
    this.#inProgress.shift();
    this.#bytes -= byteLength;
  }

  /** All messages, once their bodies are filled. */
  async finish(): Promise<readonly IpcMessage[]> {
    while (this.#inProgress.length > 0) await this.#settleOldest();
    return this.#messages;
  }

  /** Releases all memory. */
  abandon(): void {
    for (const { body } of this.#messages) if (body !== null) giveBack(body, this.#events.get(body) ?? null);
  }
}
