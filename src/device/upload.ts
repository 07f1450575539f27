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

/** Bodies up to this size are copied to pinned memory at once; longer ones in chunks. */
const WHOLE_BYTES = 4 * 2 ** 20;
/** Bytes of copies under way. */
const AHEAD_BYTES = 32 * 2 ** 20;

/** Messages in the memory of a GPU. */
export class DeviceResidentDataset extends ResidentDataset {
  /** Memory space of the bodies, such as `"cuda:0"`. */
  override readonly memory: string;

  /**
   * @param schema The schema message
   * @param messages Dictionaries and batches in order, whose bodies are whole; taken over
   * @param memory Memory space of the bodies
   */
  constructor(schema: MessageHeader, messages: readonly IpcMessage[], memory: string) {
    super(schema, messages);
    this.memory = memory;
  }
}

/**
 * Reads a dataset to its end and puts all bodies into the memory of a GPU. They stay as they are, compressed ones too.
 *
 * @example Serve a table from the memory of a GPU
 * ```ts ignore
 * await using server = await serve({ datasets: { trips: await deviceResident(await openPath("trips.arrow"), "cuda:0") } });
 * ```
 *
 * @param dataset What to load; stays open
 * @param memory Such as `"cuda:0"`
 * @returns The dataset in device memory; `close()` frees it
 * @throws {DipcError} what opening the GPU and reading the dataset throw; `out_of_memory`; what the driver says
 */
export async function deviceResident(dataset: Dataset, memory: string): Promise<Dataset> {
  const device = openGpu(memory);
  const uploads = new Uploads(device);
  try {
    const run = await dataset.open();
    try {
      for (let message; (message = await run.next()) !== null;) await uploads.add(message);
    } finally {
      await run.close();
    }
    return new DeviceResidentDataset(dataset.schema, await uploads.finish(), memory);
  } catch (error) {
    uploads.abandon();
    throw error;
  }
}

/** Bodies on their way to a device, a bounded number of bytes at a time. */
class Uploads {
  readonly #device: Gpu;
  readonly #messages: IpcMessage[] = [];
  #underWay: { event: DeviceEvent; byteLength: number }[] = [];
  #bytes = 0;
  /** The event of each body, while its copy may be under way. */
  readonly #events = new Map<Body, DeviceEvent>();

  constructor(device: Gpu) {
    this.#device = device;
  }

  /** Takes a message over. */
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
    while (this.#bytes + byteLength > AHEAD_BYTES && this.#underWay.length > 0) await this.#settleOldest();
    const staging = await pinned.acquireWaiting(byteLength);
    try {
      staging.bytes().set(body.bytes());
      const event = copies.copyToDevice(block.address, staging.address, byteLength, { uses: [block, staging] });
      this.#underWay.push({ event, byteLength });
      this.#bytes += byteLength;
      return event;
    } finally {
      staging.release();
    }
  }

  async #settleOldest(): Promise<void> {
    const { event, byteLength } = this.#underWay[0];
    await event.done();
    this.#underWay.shift();
    this.#bytes -= byteLength;
  }

  /** All messages, once their bodies are whole. */
  async finish(): Promise<readonly IpcMessage[]> {
    while (this.#underWay.length > 0) await this.#settleOldest();
    return this.#messages;
  }

  /** Gives all memory back. */
  abandon(): void {
    for (const { body } of this.#messages) if (body !== null) giveBack(body, this.#events.get(body) ?? null);
  }
}
