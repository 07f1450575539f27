/**
 * Makes V8 account for the native memory behind dropped ArrayBuffers.
 *
 * V8 counts an ArrayBuffer over a pool's block as a few bytes, and so lets more than a gigabyte of dropped ones pile up
 * before it collects. While more is outstanding than a threshold, decoys are allocated: ArrayBuffers that V8 counts in
 * full, but whose pages are never touched. They trigger V8's own, concurrent collection. If that comes too late, a
 * collection is forced. The thresholds grow with what survives, so that a reader that keeps everything pays for few.
 *
 * @module
 */
import { MIB } from "../bytes.ts";
import { collect } from "./collector.ts";

/** Bytes taken from the pool for each decoy, which has the same size. */
const DECOY_BYTES = 8 * MIB;
/** Bytes of garbage that are tolerated. */
const ALLOWED_BYTES = 64 * MIB;
/** Bytes of garbage beyond those at which a collection is forced. */
const FORCED_BYTES = 96 * MIB;
/** Growth after such a pause is taken for the start of a new read; the previous one may be garbage already. */
const PAUSE_MS = 200;
/** Outstanding bytes above which a forced collection pays for itself. */
const WORTH_BYTES = 256 * MIB;

/** Watches the outstanding bytes of a pool. */
export class MemoryPressure {
  /** Outstanding bytes above which {@linkcode press} is to be called. */
  threshold: number = ALLOWED_BYTES;
  #forceAt = ALLOWED_BYTES + FORCED_BYTES;
  #taken = 0;
  #lastGrowthMs = 0;
  #isWatching = false;
  readonly #bytesOut: () => number;
  /** Runs after a full collection: no other clears weak references. */
  readonly #registry: FinalizationRegistry<null> = new FinalizationRegistry(() => this.#collected());

  /** @param bytesOut Returns the outstanding bytes */
  constructor(bytesOut: () => number) {
    this.#bytesOut = bytesOut;
  }

  /**
   * To be called for each block taken beyond the threshold.
   *
   * @param byteLength Size of the block in bytes
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
   * To be called before memory is mapped. Fresh pages cost more than a collection, and when a large table was dropped
   * and the next one arrives, there is enough to reuse.
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
