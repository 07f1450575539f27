/**
 * Which parts of a piece of memory are free: ranges of whole pages, found first fit, joined again when they are given back.
 *
 * @module
 */

/** A part that is in use. */
export interface TakenRange {
  /** Offset of its first byte. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly byteLength: number;
}

/** The free parts of a piece of memory. */
export class FreeRanges {
  /** Start and end of each free range, in order; no two of them touch. */
  readonly #starts: number[];
  readonly #ends: number[];
  readonly #unit: number;
  #freeBytes: number;

  /**
   * @param byteLength Size of the whole in bytes
   * @param unit Ranges begin at multiples of this and have multiples of it as their size, in bytes
   */
  constructor(byteLength: number, unit: number) {
    this.#starts = [0];
    this.#ends = [byteLength - byteLength % unit];
    this.#unit = unit;
    this.#freeBytes = this.#ends[0];
  }

  /** Bytes that are free, in one piece or in many. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Takes the first free range of at least so many bytes, `null` if there is none. */
  take(byteLength: number): TakenRange | null {
    const size = Math.max(1, Math.ceil(byteLength / this.#unit)) * this.#unit;
    for (let i = 0; i < this.#starts.length; i++) {
      const offset = this.#starts[i];
      if (this.#ends[i] - offset < size) continue;
      this.#starts[i] += size;
      if (this.#starts[i] === this.#ends[i]) this.#remove(i);
      this.#freeBytes -= size;
      return { offset, byteLength: size };
    }
    return null;
  }

  /** Gives a range back; once. */
  give({ offset, byteLength }: TakenRange): void {
    const end = offset + byteLength;
    let at = 0;
    while (at < this.#starts.length && this.#starts[at] < offset) at++;
    const joinsNext = at < this.#starts.length && this.#starts[at] === end;
    const joinsLast = at > 0 && this.#ends[at - 1] === offset;
    if (joinsLast && joinsNext) {
      this.#ends[at - 1] = this.#ends[at];
      this.#remove(at);
    } else if (joinsLast) {
      this.#ends[at - 1] = end;
    } else if (joinsNext) {
      this.#starts[at] = offset;
    } else {
      this.#starts.splice(at, 0, offset);
      this.#ends.splice(at, 0, end);
    }
    this.#freeBytes += byteLength;
  }

  #remove(index: number): void {
    this.#starts.splice(index, 1);
    this.#ends.splice(index, 1);
  }
}
