/**
 * What a loopback network can do to messages on their way.
 *
 * @module
 */
import type { Random } from "./random.ts";

/** Every kind of fault, in the order they are drawn. */
export const FAULT_KINDS = [
  "delay",
  "reorderFrame",
  "reorderTagged",
  "split",
  "lose",
  "duplicateFrame",
  "duplicateTagged",
  "corruptType",
  "corruptSequence",
  "corruptMetadata",
  "corruptFrameLength",
  "corruptTag",
  "corruptBodyLength",
  "drop",
] as const;

/** A kind of fault. */
export type FaultKind = typeof FAULT_KINDS[number];

/**
 * Probability, from 0 to 1, that a message meets each kind of fault.
 *
 * | kind | what happens |
 * |---|---|
 * | `delay` | it arrives later, and so does what follows it in its stream (frames, tagged) |
 * | `reorderFrame`, `reorderTagged` | it arrives later, others overtake it |
 * | `split` | it takes several calls of `progress()` to arrive |
 * | `lose` | it never arrives |
 * | `duplicateFrame`, `duplicateTagged` | it arrives twice |
 * | `corruptType`, `corruptSequence` | the prefix of a frame is changed |
 * | `corruptMetadata` | a byte after the prefix is changed |
 * | `corruptFrameLength` | a frame is cut or grows |
 * | `corruptTag` | a bit of a tag is changed |
 * | `corruptBodyLength` | a tagged message is cut or grows |
 * | `drop` | the connection breaks; what is on its way is lost |
 */
export type FaultRates = Partial<Record<FaultKind, number>>;

/** Number of faults that happened, by kind. */
export type FaultCounts = Record<FaultKind, number>;

/** A count of 0 for each kind. */
export function noFaults(): FaultCounts {
  return Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounts;
}

/** Decides on faults and counts them. */
export class FaultInjector {
  /** What has happened so far. */
  readonly counts: FaultCounts = noFaults();
  readonly #random: Random;
  readonly #rates: FaultRates;

  constructor(random: Random, rates: FaultRates) {
    this.#random = random;
    this.#rates = rates;
  }

  /** Whether a message meets a fault; counts it if it does. */
  strikes(kind: FaultKind): boolean {
    if (!this.#random.chance(this.#rates[kind] ?? 0)) return false;
    this.counts[kind]++;
    return true;
  }

  /** Changes a frame's prefix, content or length. @returns the frame that arrives instead */
  damageFrame(frame: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const random = this.#random;
    if (this.strikes("corruptType")) frame[0] = other(frame[0], random);
    if (this.strikes("corruptSequence")) {
      // Near misses are the harder case: half of the time only the lowest byte changes.
      const at = random.chance(0.5) ? 1 : 1 + random.below(4);
      frame[at] = other(frame[at], random);
    }
    if (frame.byteLength > 5 && this.strikes("corruptMetadata")) {
      const at = 5 + random.below(frame.byteLength - 5);
      frame[at] = other(frame[at], random);
    }
    if (this.strikes("corruptFrameLength")) {
      const length = random.chance(0.5) ? random.below(frame.byteLength) : frame.byteLength + 1 + random.below(64);
      const changed = new Uint8Array(length);
      changed.set(frame.subarray(0, length));
      return changed;
    }
    return frame;
  }

  /** Changes a tag. */
  damageTag(tag: bigint): bigint {
    return this.strikes("corruptTag") ? BigInt.asUintN(64, tag ^ (1n << BigInt(this.#random.below(64)))) : tag;
  }

  /** Changes the length of a tagged message. */
  damageLength(byteLength: number): number {
    if (!this.strikes("corruptBodyLength")) return byteLength;
    if (byteLength > 0 && this.#random.chance(0.5)) return this.#random.below(byteLength);
    return byteLength + 1 + this.#random.below(64);
  }
}

function other(byte: number, random: Random): number {
  return (byte + 1 + random.below(255)) & 0xFF;
}
