/**
 * The dictionaries of a stream in device memory, at one point between two messages.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { BatchDecoder } from "../ipc/decode.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { Body } from "../memory/block.ts";
import type { Gpu } from "../memory/cuda/device.ts";
import { canWait } from "./release.ts";
import type { DeviceEvent } from "../memory/cuda/device_event.ts";
import { wrapBytes } from "../memory/wrap.ts";
import { type DeviceColumn, deviceColumns } from "./columns.ts";

/** One dictionary batch on the device. Shared by the sets that hold it; the last one releases its memory. */
export class DictionaryChunk {
  #holders = 0;
  #hostBytes: Promise<Uint8Array<ArrayBuffer>> | null = null;

  /**
   * @param header Metadata of a body that is not compressed
   * @param body Body in device memory, or an empty one; taken over
   * @param event Done when the body is filled; `null` if it is already
   */
  constructor(readonly header: VerifiedHeader, readonly body: Body, readonly event: DeviceEvent | null) {}

  /** The values. */
  get column(): DeviceColumn {
    return deviceColumns(this.header, this.body.address)[0];
  }

  /** A copy of the body in host memory; made once. @throws {DipcError} what the driver reports */
  hostBytes(device: Gpu): Promise<Uint8Array<ArrayBuffer>> {
    return this.#hostBytes ??= this.#download(device).catch((error) => {
      this.#hostBytes = null;
      throw error;
    });
  }

  async #download(device: Gpu): Promise<Uint8Array<ArrayBuffer>> {
    const { body, event } = this;
    const bytes = new Uint8Array(Math.max(128, body.byteLength));
    if (body.byteLength > 0) {
      await device.copies.download(bytes.subarray(0, body.byteLength), body.address, {
        after: event === null ? [] : [event],
        uses: canWait(body) ? [body] : [],
      });
    }
    return bytes.subarray(0, body.byteLength);
  }

  /** @ignore */
  _hold(): void {
    this.#holders++;
  }

  /** @ignore */
  _drop(): void {
    if (--this.#holders === 0) this.body.release();
  }
}

/**
 * An immutable set of dictionaries. Each dictionary batch makes a new one, so that batches read before it keep
 * their dictionaries.
 */
export class DictionarySet {
  readonly #chunks: readonly DictionaryChunk[];
  #parent: { set: DictionarySet; added: DictionaryChunk } | null;
  #decoder: Promise<BatchDecoder> | null = null;
  #isBuilt = false;
  #users = 1;
  /** Total size of all bodies in bytes. */
  readonly byteLength: number;

  private constructor(chunks: readonly DictionaryChunk[], parent: DictionarySet | null, added: DictionaryChunk | null) {
    this.#chunks = chunks;
    this.#parent = parent === null ? null : { set: parent, added: added! };
    this.byteLength = chunks.reduce((sum, { body }) => sum + body.byteLength, 0);
    for (const chunk of chunks) chunk._hold();
  }

  /** The set before the first message, with one user: the caller. */
  static empty(): DictionarySet {
    return new DictionarySet([], null, null);
  }

  /** A set of chunks that were copied elsewhere, with one user: the caller. */
  static of(chunks: readonly DictionaryChunk[]): DictionarySet {
    return new DictionarySet(chunks, null, null);
  }

  /** All chunks in order of arrival. */
  get chunks(): readonly DictionaryChunk[] {
    return this.#chunks;
  }

  /**
   * The set after a dictionary batch, with one user: the caller. A delta is appended to the values so far, anything else
   * replaces them.
   */
  with(chunk: DictionaryChunk): DictionarySet {
    const { dictionaryId, isDelta } = chunk.header;
    const kept = isDelta ? this.#chunks : this.#chunks.filter(({ header }) => header.dictionaryId !== dictionaryId);
    return new DictionarySet([...kept, chunk], this, chunk);
  }

  /** The values of one dictionary: one column for each batch of it, to be concatenated. */
  columns(id: bigint): DeviceColumn[] {
    return this.#chunks.filter(({ header }) => header.dictionaryId === id).map((chunk) => chunk.column);
  }

  /** Events to wait for before the values are read. */
  get events(): DeviceEvent[] {
    return this.#chunks.flatMap(({ event }) => event === null ? [] : [event]);
  }

  /**
   * A decoder in host memory that knows these dictionaries; made once.
   *
   * @param empty A decoder of the stream that knows none
   * @throws {DipcError} what the driver reports; `invalid_data`
   */
  decoder(empty: BatchDecoder, device: Gpu): Promise<BatchDecoder> {
    return this.#decoder ??= this.#build(empty, device).catch((error) => {
      this.#decoder = null;
      throw error;
    });
  }

  async #build(empty: BatchDecoder, device: Gpu): Promise<BatchDecoder> {
    const parent = this.#parent;
    // If the previous set is in host memory already, only the added chunk is copied.
    const isNext = parent !== null && parent.set.#isBuilt;
    const decoder = isNext ? (await parent.set.#decoder!).fork() : empty.fork();
    for (const chunk of isNext ? [parent.added] : this.#chunks) {
      decoder.decode({ header: chunk.header, body: wrapBytes(await chunk.hostBytes(device)) });
    }
    this.#isBuilt = true;
    this.#parent = null;
    return decoder;
  }

  /** Adds a user. @throws {DipcError} `internal` after the last one has dropped the set */
  hold(): this {
    if (this.#users === 0) {
      throw new DipcError("internal", "cannot use a set of dictionaries: its last user has dropped it");
    }
    this.#users++;
    return this;
  }

  /** Removes a user; the last one releases the memory that no other set holds. */
  drop(): void {
    if (--this.#users > 0) return;
    this.#parent = null;
    for (const chunk of this.#chunks) chunk._drop();
  }
}
