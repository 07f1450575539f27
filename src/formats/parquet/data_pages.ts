/**
 * Collects the slots of a data page: levels, and values or indices into the dictionary.
 *
 * @module
 */
import { ByteBuffer } from "./byte_buffer.ts";
import { appendHybrid, appendRun, bitsFor } from "./levels.ts";
import type { Slots } from "./slots.ts";

/** Levels of one kind. While all are the same they are only counted. */
export class LevelBuffer {
  readonly #most: number;
  readonly #levels = new ByteBuffer();
  #count = 0;
  #isCounted = true;

  /** @param most The highest level, which is what is counted */
  constructor(most: number) {
    this.#most = most;
  }

  /** Appends levels; null for as many of the highest one. */
  append(levels: Uint8Array | null, count: number): void {
    if (levels === null && this.#isCounted) {
      this.#count += count;
      return;
    }
    if (this.#isCounted) this.#levels.fill(this.#most, this.#count);
    this.#isCounted = false;
    this.#count += count;
    if (levels === null) this.#levels.fill(this.#most, count);
    else this.#levels.append(levels);
  }

  /** Moves what was collected to a page, after its size in bytes. Nothing if there is but one level. */
  moveTo(page: ByteBuffer): void {
    if (this.#most > 0) {
      const at = page.length, width = bitsFor(this.#most);
      page.uint32(0);
      if (this.#isCounted) appendRun(page, this.#most, this.#count, width);
      else appendHybrid(page, this.#levels.bytes, this.#count, width);
      new DataView(page.bytes.buffer).setUint32(at, page.length - at - 4, true);
    }
    this.#count = 0;
    this.#isCounted = true;
    this.#levels.length = 0;
  }
}

/** Memory of a page that is kept for the next one, in bytes. */
const KEPT_BYTES = 2 ** 21;

/** The data page that is being collected. */
export class DataPage {
  /** Values in their plain encoding. */
  readonly plain = new ByteBuffer();
  /** Slots so far. */
  slots = 0;
  /** Bits of {@linkcode plain} so far, if values are bits. */
  bits = 0;
  /** Values so far: numbers of entries of the dictionary. */
  indexCount = 0;
  /** The indices; what comes after {@linkcode indexCount} is undefined. */
  indices: Int32Array<ArrayBuffer> = new Int32Array(0);
  readonly #page = new ByteBuffer();
  readonly #definitions: LevelBuffer;
  readonly #repetitions: LevelBuffer;
  readonly #isRepeated: boolean;

  /**
   * @param maxDefinition Highest definition level
   * @param maxRepetition Highest repetition level
   */
  constructor(maxDefinition: number, maxRepetition: number) {
    this.#definitions = new LevelBuffer(maxDefinition);
    this.#repetitions = new LevelBuffer(maxRepetition);
    this.#isRepeated = maxRepetition > 0;
  }

  /** Appends levels of slots. */
  addLevels({ count, definitions, repetitions }: Slots): void {
    this.slots += count;
    this.#definitions.append(definitions, count);
    if (this.#isRepeated) this.#repetitions.append(repetitions, count);
  }

  /** Makes room for so many indices more. */
  reserveIndices(more: number): void {
    const needed = this.indexCount + more;
    if (needed <= this.indices.length) return;
    const grown = new Int32Array(Math.max(needed, 2 * this.indices.length));
    grown.set(this.indices.subarray(0, this.indexCount));
    this.indices = grown;
  }

  /** The page as it is before compression: its values, or indices if there are entries. Empty afterwards. */
  take(entries: number | null): ByteBuffer {
    const page = this.#page;
    page.clear(KEPT_BYTES);
    if (this.#isRepeated) this.#repetitions.moveTo(page);
    this.#definitions.moveTo(page);
    if (entries === null) {
      page.append(this.plain.view());
    } else {
      const width = Math.max(1, bitsFor(entries - 1));
      page.push(width);
      appendHybrid(page, this.indices, this.indexCount, width);
    }
    this.plain.clear(KEPT_BYTES);
    this.indexCount = this.slots = this.bits = 0;
    return page;
  }
}
