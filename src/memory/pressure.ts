/**
 * Lets V8 feel the native memory that stands behind dropped ArrayBuffers.
 *
 * V8 counts an ArrayBuffer over a pool's block as a few bytes, and so lets more than a gigabyte of dropped ones pile up
 * before it collects. While more is out than a threshold, decoys are allocated: ArrayBuffers that V8 counts in full, but
 * whose pages are never touched. They bring a collection about in V8's own, concurrent way. Where that comes too late, a
 * collection is forced. The thresholds grow with what survives, so that a reader that keeps everything pays for few.
 *
 * @module
 */
import { MIB } from "../bytes.ts";
import { collect } from "./collector.ts";

/** Bytes taken for each decoy, of the same size. */
const DECOY_BYTES = 8 * MIB;
/** Garbage that is let be. */
const ALLOWED_BYTES = 64 * MIB;
/** Garbage beyond that at which a collection is forced. */
const FORCED_BYTES = 96 * MIB;
/** Growth after such a pause is taken for the start of something new; what was read before may be garbage by then. */
const PAUSE_MS = 200;
/** Bytes out from which on it is worth a collection to look whether they are. */
const WORTH_BYTES = 256 * MIB;

/** Watches the bytes that a pool has out. */
export class MemoryPressure {
  /** Bytes out from which on {@linkcode press} is to be called. */
  threshold: number = ALLOWED_BYTES;
  #forceAt = ALLOWED_BYTES + FORCED_BYTES;
  #taken = 0;
  #lastGrowthMs = 0;
  #isWatching = false;
  readonly #bytesOut: () => number;
  /** Runs after a full collection, which alone clears weak references. */
  readonly #registry: FinalizationRegistry<null> = new FinalizationRegistry(() => this.#collected());

  /** @param bytesOut Tells the bytes that are out */
  constructor(bytesOut: () => number) {
    this.#bytesOut = bytesOut;
  }

  /**
   * To be called for each block taken beyond the threshold.
   *
   * @param byteLength Its bytes
   */
  press(byteLength: number): void {
    this.#watch();
    this.#taken += byteLength;
    if (this.#taken < DECOY_BYTES) return;
    new ArrayBuffer(this.#taken);
    this.#taken = 0;
    if (this.#bytesOut() >= this.#forceAt) this.#force();
  }

  /**
   * To be called before memory is mapped. Fresh pages cost more than a collection, and with a large table dropped and the
   * next one on its way there is enough to reuse.
   */
  growing(): void {
    const now = performance.now();
    const pause = now - this.#lastGrowthMs;
    this.#lastGrowthMs = now;
    if (pause > PAUSE_MS && this.#bytesOut() > WORTH_BYTES) this.#force();
  }

  #force(): void {
    this.#watch();
    this.#forceAt = Infinity;
    collect("all");
  }

  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#registry.register({}, null);
  }

  async #collected(): Promise<void> {
    // The finalizers of the blocks run in tasks of their own.
    for (let i = 0; i < 2; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    const survived = this.#bytesOut();
    this.threshold = survived + Math.max(ALLOWED_BYTES, survived / 2);
    this.#forceAt = this.threshold + Math.max(FORCED_BYTES, survived / 4);
    this.#isWatching = false;
  }
}
