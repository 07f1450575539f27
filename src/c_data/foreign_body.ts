/**
 * A body whose buffers are in the memory of an imported structure.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import type { Body } from "../memory/block.ts";
import { EMPTY_BODY } from "../memory/empty.ts";
import { hostPool } from "../memory/host_pool.ts";
import { isPinned, whenUnpinned } from "../memory/pins.ts";
import type { ScatteredBody } from "../memory/scattered.ts";
import { changed, writeBuffer } from "./changes.ts";
import type { ForeignMemory } from "./foreign_memory.ts";
import type { ArrayNumbers } from "./numbers.ts";

/** Bodies of one turn of the event loop that may be unwatched; they are strongly referenced until then. */
const MAX_UNWATCHED = 64;
const EMPTY = new Uint8Array(0);

/** Drops a user of the memory when what used it was collected. */
const registry = new FinalizationRegistry<ForeignMemory>((memory) => memory.drop());
/** Most bodies are released soon, and watching each would cost more than all else that is done for it. */
const unwatched: ForeignBody[] = [];
let isWatchPlanned = false;

function watchLater(body: ForeignBody): void {
  while (unwatched.length > 0 && unwatched[unwatched.length - 1].isReleased) unwatched.pop();
  if (unwatched.length >= MAX_UNWATCHED) watchAll();
  unwatched.push(body);
  if (isWatchPlanned) return;
  isWatchPlanned = true;
  setImmediate(() => {
    isWatchPlanned = false;
    watchAll();
  });
}

function watchAll(): void {
  for (const body of unwatched) body.watch();
  unwatched.length = 0;
}

/**
 * The body of one message. It is a user of the memory until it is released or collected, and so is each ArrayBuffer that it has
 * handed out, because a column may outlive its batch.
 */
export class ForeignBody implements ScatteredBody {
  readonly space: string;
  readonly byteLength: number;
  /** Locations of its buffers. */
  readonly numbers: ArrayNumbers;
  #memory: ForeignMemory | null;
  /** Buffers that were handed out and lie in the memory. */
  #exposed: Uint8Array<ArrayBuffer>[] | null = null;
  /** Copies of buffers that could not be used in place, by their index. */
  #copies: Map<number, Uint8Array<ArrayBuffer>> | null = null;
  #gathered: Body | null = null;
  /** Bodies that are released with this one. */
  #owned: readonly ForeignBody[] | null = null;
  #isWatched = false;

  /**
   * @param numbers Locations of the buffers
   * @param memory Memory that they are in; the body becomes a user
   * @param space Memory space of the buffers
   */
  constructor(numbers: ArrayNumbers, memory: ForeignMemory, space = "host") {
    this.space = space;
    this.numbers = numbers;
    this.byteLength = numbers.bodyLength;
    this.#memory = memory;
    memory.hold();
    watchLater(this);
  }

  /** Whether it was released. */
  get isReleased(): boolean {
    return this.#memory === null;
  }

  get address(): bigint {
    return this.byteLength === 0 || this.#memory === null ? 0n : this.#gather().address;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    this.#held();
    return this.#gather().bytes();
  }

  bufferInPlace(index: number): Uint8Array<ArrayBuffer> {
    this.#held();
    const { at, buffers, changes, leads } = this.numbers;
    const byteLength = buffers[2 * index + 1];
    if (byteLength === 0) return EMPTY;
    const lead = leads?.get(index) ?? 0;
    const change = changes?.get(index);
    // The offsets of a slice of text fit its bytes if those are shown from where the offsets count.
    if (change === undefined || leads?.has(index + 1)) return this.#expose(at[index] - lead, byteLength + lead);
    return this.#copy(index);
  }

  /**
   * The address of a buffer for a reader in this process, who reads it as {@linkcode bufferInPlace} shows it.
   *
   * @returns 0 if it has no bytes
   */
  placeOf(index: number): number {
    this.#held();
    const { at, buffers, changes, leads } = this.numbers;
    if (buffers[2 * index + 1] === 0) return 0;
    if (changes?.has(index) && !leads?.has(index + 1)) {
      const copy = this.#copy(index);
      return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(copy)));
    }
    return at[index] - (leads?.get(index) ?? 0);
  }

  /** Adds a user of the memory, which has to drop it. */
  share(): ForeignMemory {
    const memory = this.#held();
    memory.hold();
    return memory;
  }

  /** Releases further bodies with this one: those of the dictionaries of a batch. */
  owns(bodies: readonly ForeignBody[]): void {
    this.#owned = bodies;
  }

  release(): void {
    const memory = this.#memory;
    if (memory === null) return;
    this.#memory = null;
    for (const { buffer } of this.#exposed ?? []) {
      if (isPinned(buffer)) {
        this.#keepPinned(buffer, memory);
        continue;
      }
      // From here on no view can read memory that is about to be freed. One that was transferred keeps it forever.
      if (buffer.detached) {
        memory.hold();
        continue;
      }
      if (this.#isWatched) {
        registry.unregister(buffer);
        memory.drop();
      }
      buffer.transfer(0);
    }
    if (this.#isWatched) registry.unregister(this);
    this.#exposed = null;
    this.#copies = null;
    this.#gathered?.release();
    for (const body of this.#owned ?? []) body.release();
    memory.drop();
  }

  /** Drops its use of the memory once nothing refers to it. */
  watch(): void {
    const memory = this.#memory;
    if (memory === null || this.#isWatched) return;
    this.#isWatched = true;
    registry.register(this, memory, this);
    for (const bytes of this.#exposed ?? []) this.#watchBuffer(bytes.buffer, memory);
  }

  /** A slice of the batch is in use outside JavaScript: the memory stays until that is over. */
  #keepPinned(buffer: ArrayBuffer, memory: ForeignMemory): void {
    if (this.#isWatched) registry.unregister(buffer);
    else memory.hold();
    whenUnpinned(buffer, () => {
      buffer.transfer(0);
      memory.drop();
    });
  }

  #watchBuffer(buffer: ArrayBuffer, memory: ForeignMemory): void {
    memory.hold();
    registry.register(buffer, memory, buffer);
  }

  #held(): ForeignMemory {
    if (this.#memory === null) throw new LocalError("closed", "cannot read this body: it was released");
    return this.#memory;
  }

  #expose(at: number, byteLength: number): Uint8Array<ArrayBuffer> {
    const pointer = Deno.UnsafePointer.create(BigInt(at))!;
    const bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer);
    (this.#exposed ??= []).push(bytes);
    if (this.#isWatched) this.#watchBuffer(bytes.buffer, this.#held());
    return bytes;
  }

  #copy(index: number): Uint8Array<ArrayBuffer> {
    const known = this.#copies?.get(index);
    if (known !== undefined) return known;
    if (this.space !== "host") {
      throw new LocalError(
        "unsupported",
        `cannot use a slice in ${this.space}: one of its buffers would have to be copied to begin at its first row; ` +
          "import the whole array",
      );
    }
    const copy = changed(this.numbers, index);
    (this.#copies ??= new Map()).set(index, copy);
    return copy;
  }

  /** The body in one piece. */
  #gather(): Body {
    if (this.#gathered !== null) return this.#gathered;
    if (this.byteLength === 0) return this.#gathered = EMPTY_BODY;
    const { buffers } = this.numbers;
    const block = hostPool().acquire(this.byteLength);
    try {
      const target = block.bytes();
      for (let i = 0, end = 0; 2 * i < buffers.length; i++) {
        const start = buffers[2 * i];
        // Blocks are recycled: old content of the gaps must not be sent.
        target.fill(0, end, start);
        writeBuffer(this.numbers, i, target, block.address);
        end = start + buffers[2 * i + 1];
        if (2 * i + 2 === buffers.length) target.fill(0, end, this.byteLength);
      }
      return this.#gathered = block.toBody(this.byteLength);
    } catch (error) {
      block.release();
      throw error;
    }
  }
}
