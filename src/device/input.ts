/**
 * Moves messages into device memory, either directly from the wire or through pinned host memory.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { decompressMessage } from "../ipc/decompress.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import type { Block, Body } from "../memory/block.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { DeviceBody } from "../memory/cuda/device_block.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import type { EndOptions, MessageInput } from "../stream/message_input.ts";
import { copyToHost } from "./record_batch.ts";
import { canWait, giveBack, releaseAfter } from "./release.ts";

/** Size of bodies that are read ahead from the wire, in bytes; two messages always are. */
const AHEAD_BYTES = 16 * 2 ** 20;
/** Most messages that are read ahead from the wire. */
const AHEAD_MESSAGES = 64;

/** A message whose body is in device memory, or will be once its event is done. */
export interface DeviceMessage extends IpcMessage {
  readonly header: VerifiedHeader;
  /** Body in device memory, or an empty one. */
  readonly body: Body;
  /** The end of the copy that fills the body; `null` if it is filled already. */
  readonly event: DeviceEvent | null;
}

/** Options of {@linkcode DeviceInput}. */
export interface DeviceInputOptions {
  readonly device: Gpu;
  /** The schema of the stream. */
  readonly schema: VerifiedHeader;
  /** Largest total size of the decompressed buffers of one message, in bytes. */
  readonly maxDecompressedBytes: number;
  /** Largest total size of bodies that have arrived and were not read yet, in bytes. */
  readonly maxInFlightBytes: number;
}

/** The end of the copy that fills a body; `null` if it is filled. */
function filledBy(body: Body): DeviceEvent | null {
  return body instanceof DeviceBody ? body.filled : null;
}

/**
 * Takes messages from the wire and moves their bodies into device memory. It reads ahead: while one message is copied to
 * the device and another one is used, the next one arrives.
 */
export class DeviceInput {
  readonly #input: MessageInput;
  readonly #options: DeviceInputOptions;
  readonly #queue: DeviceMessage[] = [];
  #queuedBytes = 0;
  /** What is awaited before the queue grows again. Never rejects. */
  #pending: Promise<void> | null = null;
  #hasEnded = false;
  #isClosed = false;
  #failure: { error: unknown } | null = null;
  /** Ends waits for memory and copies when the stream is closed. */
  readonly #stop = new AbortController();
  #decompressed = 0;

  /**
   * @param input Messages from the wire, in pinned host memory or in device memory; taken over
   * @param options Device and limits
   */
  constructor(input: MessageInput, options: DeviceInputOptions) {
    this.#input = input;
    this.#options = options;
  }

  /** Bytes of metadata received, without prefixes. */
  get metadataBytes(): number {
    return this.#input.metadataBytes;
  }

  /** Messages that were decompressed by the CPU on their way. */
  get decompressed(): number {
    return this.#decompressed;
  }

  /**
   * The next message in order, or `null` after the end. Returns no promise if the message is available already. Never call
   * it while an earlier call is pending.
   *
   * @throws {DipcError} as a host stream does; `out_of_memory`; what the driver reports
   */
  next(): DeviceMessage | null | Promise<DeviceMessage | null> {
    if (this.#queue.length === 0) this.#readAhead();
    const message = this.#shift();
    if (message !== null || this.#pending === null) return this.#answer(message);
    return this.#nextLater();
  }

  /** Closes the stream, whatever its state, and releases all memory but that of messages handed out. */
  async close(options?: EndOptions): Promise<void> {
    this.#isClosed = true;
    this.#stop.abort(new DipcError("closed", "cannot read the stream: it was closed"));
    try {
      await this.#input.close(options);
    } finally {
      await this.#pending;
      for (const { body, event } of this.#queue.splice(0)) giveBack(body, event);
      this.#queuedBytes = 0;
    }
  }

  async #nextLater(): Promise<DeviceMessage | null> {
    while (this.#queue.length === 0 && this.#pending !== null) await this.#pending;
    return this.#answer(this.#shift());
  }

  #answer(message: DeviceMessage | null): DeviceMessage | null {
    if (message !== null) {
      this.#readAhead();
      return message;
    }
    if (this.#failure !== null) throw this.#failure.error;
    return null;
  }

  #shift(): DeviceMessage | null {
    const message = this.#queue.shift();
    if (message === undefined) return null;
    this.#queuedBytes -= message.body.byteLength;
    return message;
  }

  #readAhead(): void {
    while (this.#pending === null && !this.#hasEnded && !this.#isClosed && this.#failure === null && this.#hasRoom()) {
      try {
        const next = this.#input.next();
        if (next instanceof Promise) this.#await(next.then((message) => this.#take(message)));
        else this.#take(next);
      } catch (error) {
        this.#failure = { error };
      }
    }
  }

  #hasRoom(): boolean {
    const { length } = this.#queue;
    const most = Math.min(AHEAD_BYTES, this.#options.maxInFlightBytes);
    return length < 2 || (length < AHEAD_MESSAGES && this.#queuedBytes < most);
  }

  #await(work: Promise<void>): void {
    this.#pending = work.catch((error) => {
      this.#failure ??= { error };
    }).then(() => {
      this.#pending = null;
      this.#readAhead();
    });
  }

  /** Takes over a message from the wire. */
  #take(message: IpcMessage | null): void | Promise<void> {
    if (message === null) {
      this.#hasEnded = true;
      return;
    }
    const body = message.body ?? EMPTY_BODY;
    if (this.#isClosed) {
      body.release();
      return;
    }
    const header = message.header as VerifiedHeader;
    if (header.compression !== "none") {
      const work = this.#decompress(header, body);
      if (this.#pending === null) this.#await(work);
      return work;
    }
    if (body.byteLength === 0 || body.space !== "host") {
      this.#push({ header, body, event: filledBy(body) });
      return;
    }
    let block: Block;
    try {
      block = this.#options.device.pool.acquire(body.byteLength);
    } catch (error) {
      if (!(error instanceof DipcError) || error.code !== "out_of_memory") {
        body.release();
        throw error;
      }
      const work = this.#uploadLater(header, body);
      if (this.#pending === null) this.#await(work);
      return work;
    }
    this.#upload(header, body, block);
  }

  /** Waits for device memory that copies in progress are about to free. */
  async #uploadLater(header: VerifiedHeader, body: Body): Promise<void> {
    const { device } = this.#options;
    const { signal } = this.#stop;
    let block: Block;
    try {
      block = await device.pool.acquireWaiting(body.byteLength, { signal });
    } catch (error) {
      body.release();
      throw error;
    }
    this.#upload(header, body, block);
  }

  /** Starts the copy to the device; the message is handed out at once, with the event of the copy. */
  #upload(header: VerifiedHeader, body: Body, block: Block): void {
    const uses = [block, body].filter(canWait);
    let event: DeviceEvent;
    try {
      event = this.#options.device.copies.copyToDevice(block.address, body.address, body.byteLength, { uses });
    } catch (error) {
      block.release();
      body.release();
      throw error;
    }
    releaseAfter(body, event);
    this.#push({ header, body: block.toBody(body.byteLength), event });
  }

  async #decompress(header: VerifiedHeader, body: Body): Promise<void> {
    const { device, schema, maxDecompressedBytes } = this.#options;
    const { signal } = this.#stop;
    let host = body;
    try {
      if (body.space !== "host") host = await copyToHost(device, body, filledBy(body), { signal });
      const plain = await decompressMessage(schema, header, host, device.pinned, maxDecompressedBytes);
      this.#decompressed++;
      if (this.#isClosed || plain.body.byteLength === 0) {
        if (this.#isClosed) plain.body.release();
        else this.#push({ ...plain, event: null });
        return;
      }
      await this.#uploadLater(plain.header, plain.body);
    } finally {
      if (host !== body) host.release();
      body.release();
    }
  }

  #push(message: DeviceMessage): void {
    this.#queue.push(message);
    this.#queuedBytes += message.body.byteLength;
  }
}
