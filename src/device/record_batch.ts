/**
 * A record batch in the memory of a GPU.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../ipc/decode.ts";
import { messageMetadata, type VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { Body } from "../memory/block.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import type { UsedByCopies } from "../memory/cuda/device_block.ts";
import { type DeviceEvent, DONE, FAILED } from "../memory/cuda/device_event.ts";
import type { CopyWaitOptions } from "../memory/cuda/wait.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { hostPool } from "../memory/host_pool.ts";
import { type DeviceColumn, deviceColumns } from "./columns.ts";
import { type CudaDevice, gpuOf, publicDevice } from "./cuda_device.ts";
import { DictionaryChunk, DictionarySet } from "./dictionaries.ts";
import { canWait, giveBack } from "./release.ts";

/** What all batches of a stream have in common. */
export class DeviceStreamShape {
  /** The schema message. */
  readonly schema: VerifiedHeader;
  readonly #maxDecompressedBytes: number | undefined;
  #decoder: BatchDecoder | null = null;

  /** @param schema Header of the schema message */
  constructor(schema: VerifiedHeader, options: { maxDecompressedBytes?: number } = {}) {
    this.schema = schema;
    this.#maxDecompressedBytes = options.maxDecompressedBytes;
  }

  /** A host decoder without dictionaries. @throws {DipcError} `unsupported` for types that apache-arrow lacks */
  get decoder(): BatchDecoder {
    return this.#decoder ??= new BatchDecoder(this.schema, {
      maxDecompressedBytes: this.#maxDecompressedBytes,
      maxDictionaryBytes: Number.MAX_SAFE_INTEGER, // the reader counts them as they arrive
    });
  }
}

/** Parts of a {@linkcode DeviceRecordBatch}. */
export interface DeviceBatchParts {
  readonly device: Gpu;
  readonly shape: DeviceStreamShape;
  /** Verified metadata of a body that is not compressed. */
  readonly header: VerifiedHeader;
  /** Body in device memory, or an empty one; taken over. */
  readonly body: Body;
  /** Done when the body is filled; `null` if it is already. */
  readonly event: DeviceEvent | null;
  /** Dictionaries, held by the caller for the batch; taken over. */
  readonly dictionaries: DictionarySet;
}

/** Options of {@linkcode DeviceRecordBatch.toHost}. */
export interface ToHostOptions extends CopyWaitOptions {
  /**
   * Leaves the values in pinned memory, which the GPU writes directly: a single copy, but into memory that is scarce.
   * `false` copies once more, into ordinary memory.
   *
   * @default {true}
   */
  pinned?: boolean;
}

/**
 * A record batch in the memory of a GPU: addresses and lengths of the buffers of each column.
 *
 * A batch may be handed out before its values have arrived: everything that reads it must wait for {@linkcode event}. Await
 * {@linkcode ready}, or make a stream of your own wait with {@linkcode waitOn}.
 *
 * A batch owns its memory. Disposing it recycles the memory for the next batch, once the copies of dipc that use it are
 * done. Your own work on a CUDA stream must be done before that, or be registered with {@linkcode usedBy}. Without disposal
 * the memory is recycled when the batch is garbage-collected. A disposed batch throws.
 */
export class DeviceRecordBatch implements Disposable {
  readonly #gpu: Gpu;
  /**
   * The end of the copy that fills the batch, or `null` if it is filled already. Stays valid after it is done.
   */
  readonly event: DeviceEvent | null;
  readonly #shape: DeviceStreamShape;
  readonly #header: VerifiedHeader;
  #body: Body | null;
  readonly #dictionaries: DictionarySet;
  #columns: readonly DeviceColumn[] | null = null;
  /** Number of users: the batch itself until it is disposed, and every send of its body. */
  #users = 1;

  /** @ignore Made by a stream, or by {@linkcode deviceBatch} */
  constructor(parts: DeviceBatchParts) {
    this.#gpu = parts.device;
    this.event = parts.event;
    this.#shape = parts.shape;
    this.#header = parts.header;
    this.#body = parts.body;
    this.#dictionaries = parts.dictionaries;
  }

  /** The GPU. */
  get device(): CudaDevice {
    return publicDevice(this.#gpu);
  }

  /** Memory space, such as `"cuda:0"`. */
  get space(): string {
    return this.#gpu.space;
  }

  /** Number of rows. */
  get numRows(): number {
    return this.#header.rows;
  }

  /** Size in bytes of the body, which holds all buffers but those of dictionaries. */
  get byteLength(): number {
    return this.#header.bodyLength;
  }

  /** Device address of that body, a multiple of 256; `0n` if it is empty. @throws {DipcError} `closed` */
  get address(): bigint {
    return this.#held().address;
  }

  /** The schema message of its stream. */
  get schemaHeader(): MessageHeader {
    return this.#shape.schema;
  }

  /** Verified metadata of the batch. */
  get header(): MessageHeader {
    return this.#header;
  }

  /** Custom metadata of the batch. */
  get metadata(): ReadonlyMap<string, string> {
    return messageMetadata(this.#header);
  }

  /** The columns in order. @throws {DipcError} `closed` after disposal */
  get columns(): readonly DeviceColumn[] {
    const { address } = this.#held();
    return this.#columns ??= deviceColumns(this.#header, address);
  }

  /** A column by its name or index, `null` if there is none. @throws {DipcError} `closed` after disposal */
  column(which: string | number): DeviceColumn | null {
    const { columns } = this;
    return (typeof which === "number" ? columns[which] : columns.find(({ name }) => name === which)) ?? null;
  }

  /**
   * The values of a dictionary in device memory: one column for each dictionary batch, to be concatenated.
   *
   * @param id `dictionaryId` of a column
   * @throws {DipcError} `closed` after disposal
   */
  dictionary(id: bigint): readonly DeviceColumn[] {
    this.#held();
    return this.#dictionaries.columns(id);
  }

  /**
   * Waits until the values of the batch and of its dictionaries have arrived.
   *
   * @returns The batch itself
   * @throws {DipcError} `timeout`, `cancelled`; what the driver reports of the copy
   */
  async ready(options: CopyWaitOptions = {}): Promise<this> {
    for (const event of this.#events()) await event.done(options);
    return this;
  }

  /**
   * Makes one of your CUDA streams wait for the batch, so that work that you queue on it afterwards may read the batch.
   * Does not block.
   *
   * @param stream A `CUstream` of the device's primary context; 0 is the default stream
   * @throws {DipcError} `closed`; what the driver reports
   */
  waitOn(stream: bigint): void {
    this.#held();
    const device = this.#gpu;
    for (const event of this.#events()) {
      const state = event.poll();
      if (state === FAILED) throw event.error!;
      if (state === DONE) continue;
      const wait = () => device.symbols.cuStreamWaitEvent(stream, event.handle, 0);
      device.driver.check(device.withContext(wait), `make a stream of ${this.space} wait for a batch`);
    }
  }

  /**
   * Keeps the memory from being recycled before your own work that reads or writes it is done, whenever the batch is
   * disposed.
   *
   * @param work A `CUstream` of the device's primary context with the work queued on it so far, or a recorded `CUevent`, which
   * may be destroyed or recorded again afterwards
   * @throws {DipcError} `closed`; what the driver reports
   */
  usedBy(work: { stream: bigint } | { event: bigint }): void {
    const body = this.#held();
    const event = this.#gpu.eventOf(work);
    if (canWait(body)) body.usedBy(event);
    for (const chunk of this.#dictionaries.chunks) if (canWait(chunk.body)) chunk.body.usedBy(event);
  }

  /**
   * Copies the batch to host memory, as a normal record batch that owns its memory. Dictionaries are copied once and kept
   * for the batches that share them. This batch is not changed.
   *
   * @throws {DipcError} `closed`; `unsupported` for a type that apache-arrow does not have; `out_of_memory`, `timeout`,
   * `cancelled`, `invalid_data`; what the driver reports
   */
  async toHost(options: ToHostOptions = {}): Promise<OwnedRecordBatch> {
    this.#held();
    const dictionaries = this.#dictionaries.hold();
    try {
      const decoder = await dictionaries.decoder(this.#shape.decoder, this.#gpu);
      const batch = decoder.fork().decode(await this.toHostMessage(options));
      return batch!;
    } finally {
      dictionaries.drop();
    }
  }

  /**
   * Copies the batch to host memory as a raw message, for every Arrow type. Dictionaries are not part of it.
   *
   * @returns The message; the caller releases its body
   * @throws {DipcError} as {@linkcode toHost}
   */
  async toHostMessage(options: ToHostOptions = {}): Promise<IpcMessage> {
    const body = this.#held();
    return { header: this.#header, body: await copyToHost(this.#gpu, body, this.event, options) };
  }

  /**
   * Copies the batch and its dictionaries to another GPU, or to other memory of this one. The copy may still be in progress
   * when this returns; see {@linkcode event} of the result.
   *
   * @param target Memory space of the GPU, such as `"cuda:1"`
   * @throws {DipcError} `closed`, `not_found`, `out_of_memory`; what the driver reports
   */
  copyTo(target: string | CudaDevice): DeviceRecordBatch {
    const body = this.#held();
    const device = gpuOf(target);
    const copied: DictionaryChunk[] = [];
    try {
      for (const { header, body, event } of this.#dictionaries.chunks) {
        const copy = copyBody(this.#gpu, device, body, event);
        copied.push(new DictionaryChunk(header, copy.body, copy.event));
      }
      const copy = copyBody(this.#gpu, device, body, this.event);
      return new DeviceRecordBatch({
        device,
        shape: this.#shape,
        header: this.#header,
        ...copy,
        dictionaries: DictionarySet.of(copied),
      });
    } catch (error) {
      for (const chunk of copied) chunk.body.release();
      throw error;
    }
  }

  /** Whether the batch was disposed. */
  get isDisposed(): boolean {
    return this.#body === null;
  }

  /** Releases the memory. Idempotent. */
  [Symbol.dispose](): void {
    const body = this.#body;
    if (body === null) return;
    this.#body = null;
    this.#columns = null;
    this.#drop(body);
  }

  #drop(body: Body): void {
    if (--this.#users > 0) return;
    giveBack(body, this.event);
    this.#dictionaries.drop();
  }

  /** @ignore The dictionaries, for sends. */
  get _dictionaries(): DictionarySet {
    this.#held();
    return this.#dictionaries;
  }

  /** @ignore The body for a send; its memory is kept until it is released, even if the batch is disposed earlier. */
  _lend(): Body {
    const body = this.#held();
    this.#users++;
    return lentBody(body, () => this.#drop(body));
  }

  #events(): DeviceEvent[] {
    const events = this.#dictionaries.events;
    if (this.event !== null) events.push(this.event);
    return events;
  }

  #held(): Body {
    if (this.#body === null) {
      throw new DipcError(
        "closed",
        "cannot use a device batch: it was disposed, and its memory may hold another batch",
      );
    }
    return this.#body;
  }
}

/** A body on loan; releasing it calls `giveBack` once. */
export function lentBody(body: Body, giveBack: () => void): Body & UsedByCopies {
  let isLent = true;
  return {
    space: body.space,
    byteLength: body.byteLength,
    address: body.address,
    bytes: () => body.bytes(),
    usedBy: (event) => canWait(body) ? body.usedBy(event) : undefined,
    release: () => {
      if (isLent) giveBack();
      isLent = false;
    },
  };
}

/** A copy of a device body in host memory, complete when it is returned. */
export async function copyToHost(
  device: Gpu,
  body: Body,
  event: DeviceEvent | null,
  options: ToHostOptions = {},
): Promise<Body> {
  const { byteLength } = body;
  if (byteLength === 0) return EMPTY_BODY;
  const after = event === null ? [] : [event];
  const uses = canWait(body) ? [body] : [];
  if (options.pinned === false) {
    const block = hostPool().acquire(byteLength);
    try {
      await device.copies.download({ address: block.address, byteLength }, body.address, { ...options, after, uses });
      return block.toBody(byteLength);
    } catch (error) {
      block.release();
      throw error;
    }
  }
  const block = await device.pinned.acquireWaiting(byteLength, options);
  try {
    const copy = device.copies.copyToHost(block.address, body.address, byteLength, { after, uses: [...uses, block] });
    await copy.done(options);
    return block.toBody(byteLength);
  } catch (error) {
    block.release();
    throw error;
  }
}

/** Starts a copy of a body to a device. */
function copyBody(
  from: Gpu,
  to: Gpu,
  body: Body,
  event: DeviceEvent | null,
): { body: Body; event: DeviceEvent | null } {
  const { byteLength } = body;
  if (byteLength === 0) return { body: EMPTY_BODY, event: null };
  const block = to.pool.acquire(byteLength);
  try {
    const options = { after: event === null ? [] : [event], uses: [block, ...(canWait(body) ? [body] : [])] };
    const copy = from === to
      ? to.copies.copyOnDevice(block.address, body.address, byteLength, options)
      : to.copies.copyFromDevice(block.address, from, body.address, byteLength, options);
    return { body: block.toBody(byteLength), event: copy };
  } catch (error) {
    block.release();
    throw error;
  }
}
