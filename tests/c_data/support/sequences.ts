/**
 * Random sequences of what programs do with imported and exported batches, after each of which everything must have been released
 * once, and nothing too early.
 *
 * `deno run -A tests/c_data/support/sequences.ts COUNT` runs them on their own, for example with AddressSanitizer; consumers then
 * have some structures until after the isolate.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { RecordBatch } from "apache-arrow";
import { CStruct, exportRecordBatch, exportStream, type ForeignBatch } from "../../../c_data.ts";
import { exportedCount } from "../../../src/c_data/cells.ts";
import { collect } from "../../../src/memory/collector.ts";
import { type Guard, guardLibrary } from "../../support/c_peers.ts";
import { findPeers } from "../../../tools/peers.ts";
import { type Random, seededRandom } from "../../support/random.ts";
import { ReaderProgram } from "./reader_program.ts";
import { GuardOffers } from "./sequence_offers.ts";
import type { WorkerEnd } from "./sequence_worker.ts";
import { CLEAN_ENDS, OTHER_ENDS, runWorker } from "./worker_sequence.ts";

/** One sequence of this many is that of a web worker. */
const WORKERS = 20;

/** A batch that a consumer in C has, and the sum of its bytes when it came. */
interface Held {
  readonly array: CStruct;
  readonly schema: CStruct;
  readonly sum: bigint;
}

/** A program that also exports. */
class Program extends ReaderProgram {
  readonly #guard: Guard;
  readonly #offers: GuardOffers;
  readonly #held: Held[] = [];
  readonly #children: CStruct[] = [];

  constructor(guard: Guard, random: Random) {
    const offers = new GuardOffers(guard, random);
    super(random, offers);
    this.#guard = guard;
    this.#offers = offers;
  }

  protected override steps(): readonly (() => void | Promise<void>)[] {
    return [
      ...super.steps(),
      () => this.#export(),
      () => this.#export(),
      () => this.#exportSlice(),
      () => this.#takeChild(),
      () => this.#release(),
      () => this.#exportStream(),
    ];
  }

  override async end(): Promise<void> {
    while (this.#held.length > 0) this.#release();
    for (const child of this.#children.splice(0)) child[Symbol.dispose]();
    await super.end();
    this.#offers[Symbol.dispose]();
  }

  /** Ends with consumers that have structures until the process ends. */
  async endKeeping(): Promise<void> {
    for (const { batch } of this.batches) {
      using array = new CStruct("ArrowArray");
      exportRecordBatch(batch, array.address);
      this.#guard.guard_keep(array.address);
      using stream = new CStruct("ArrowArrayStream");
      await exportStream([batch], stream.address);
      this.#guard.guard_keep_stream(stream.address);
    }
    for (const { array } of this.#held.splice(0)) this.#guard.guard_keep(array.address);
    for (const child of this.#children.splice(0)) this.#guard.guard_keep(child.address);
    for (const { batch } of this.foreign.splice(0)) {
      using array = new CStruct("ArrowArray");
      exportRecordBatch(batch, array.address);
      this.#guard.guard_keep(array.address);
    }
    await this.end();
  }

  #export(): void {
    const foreign = this.random.chance(0.3) ? this.take(this.foreign) : undefined;
    if (foreign !== undefined) return this.#hold(foreign.batch);
    if (this.batches.length === 0) return;
    const { batch } = this.random.pick(this.batches);
    this.lent.add(batch);
    this.#hold(batch);
  }

  #exportSlice(): void {
    const slice = this.slice(true);
    if (slice !== undefined) this.#hold(slice);
  }

  /** Gives a batch to the consumer, who reads all of it. */
  #hold(batch: RecordBatch | ForeignBatch): void {
    const array = new CStruct("ArrowArray"), schema = new CStruct("ArrowSchema");
    exportRecordBatch(batch, array.address, schema.address);
    const sum = this.#guard.guard_read(array.address, schema.address);
    assert(sum !== 0n, "the consumer found a fault");
    this.#held.push({ array, schema, sum });
  }

  /** The consumer moves a column out of a batch, and releases the rest. */
  #takeChild(): void {
    const held = this.take(this.#held);
    if (held === undefined) return;
    const child = new CStruct("ArrowArray");
    this.#guard.guard_take_child(held.array.address, BigInt(this.random.below(3)), child.address);
    this.#guard.guard_release(held.array.address);
    held.array[Symbol.dispose]();
    held.schema[Symbol.dispose]();
    this.#children.push(child);
  }

  #release(): void {
    if (this.#children.length > 0 && this.random.chance(0.3)) {
      const child = this.take(this.#children)!;
      this.#guard.guard_release_on_thread(child.address);
      child[Symbol.dispose]();
      return;
    }
    const held = this.take(this.#held);
    if (held === undefined) return;
    // Whatever has been disposed, collected and allocated since, the bytes are still the same.
    assertEquals(this.#guard.guard_read(held.array.address, held.schema.address), held.sum);
    if (this.random.chance(0.5)) this.#guard.guard_release_on_thread(held.array.address);
    else this.#guard.guard_release(held.array.address);
    held.array[Symbol.dispose]();
    held.schema[Symbol.dispose]();
  }

  async #exportStream(): Promise<void> {
    const batches = this.batches.slice(0, 3).map(({ batch }) => batch);
    if (batches.length === 0) return;
    using stream = new CStruct("ArrowArrayStream");
    for (const batch of batches) this.lent.add(batch);
    await exportStream(batches, stream.address);
    const count = new BigInt64Array(1), bytes = new Uint8Array(count.buffer);
    if (this.random.chance(0.5)) await this.#guard.guard_read_stream_later(stream.address, bytes);
    else this.#guard.guard_read_stream(stream.address, bytes);
    assertEquals(Number(count[0]), batches.length);
  }
}

/** The line on standard error before a check for leaks. */
export const LEAK_CHECK = "checks for leaks";

/** Waits until garbage was collected and everything was released. */
async function settle(guard: Guard): Promise<void> {
  for (let i = 0; i < 50 && (guard.guard_live() > 0n || exportedCount() > 0); i++) {
    collect("all");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assertEquals([guard.guard_live(), guard.guard_faults(), exportedCount()], [0n, 0n, 0]);
}

/**
 * Runs sequences.
 *
 * @param guard The peer in C
 * @param random Decides
 * @param count Number of sequences
 * @param workerEnds How those of web workers may end
 * @returns How many of them ended in which way
 */
export async function runSequences(
  guard: Guard,
  random: Random,
  count: number,
  workerEnds: readonly WorkerEnd[] = [...CLEAN_ENDS, ...OTHER_ENDS],
): Promise<Record<string, number>> {
  const before = guard.guard_released();
  const ends = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const workerEnd = i % WORKERS === 0 ? random.pick(workerEnds) : null;
    if (workerEnd === null) {
      const program = new Program(guard, random);
      for (let left = 10 + random.below(20); left > 0; left--) await program.step();
      await program.end();
    } else {
      await settle(guard);
      await runWorker(guard, random, workerEnd);
    }
    const end = workerEnd === null ? "the main program gives everything back" : `a worker ${workerEnd}`;
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  await settle(guard);
  assert(guard.guard_released() > before);
  return Object.fromEntries(ends);
}

if (import.meta.main) {
  const guard = guardLibrary(findPeers());
  const random = seededRandom();
  const count = Number(Deno.args[0] ?? 100);
  console.log(await runSequences(guard, random, count - count / 4, CLEAN_ENDS));
  const sanitizer = Deno.env.get("LD_PRELOAD");
  if (sanitizer !== undefined) {
    const lsan = Deno.dlopen(sanitizer, { __lsan_do_recoverable_leak_check: { parameters: [], result: "i32" } });
    // It does not look into V8's memory, which may hold the only address of something for a moment. What is lost is so in both checks.
    for (let i = 0; i < 2; i++) {
      await settle(guard);
      console.error(LEAK_CHECK);
      console.log(`leaks: ${lsan.symbols.__lsan_do_recoverable_leak_check()}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  console.log(await runSequences(guard, random, count / 4, OTHER_ENDS));
  for (let i = 0; i < 8; i++) {
    const program = new Program(guard, random);
    for (let left = 40; left > 0; left--) await program.step();
    await program.endKeeping();
  }
  console.log("done");
}
