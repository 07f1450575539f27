/**
 * Random sequences of what programs do with imported and exported batches, after each of which everything must have been released
 * once, and nothing too early.
 *
 * `deno run -A tests/c_data/support/sequences.ts COUNT` runs them on their own, for example with AddressSanitizer.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Dictionary, Int32, type RecordBatch, Table, Utf8, vectorFromArray } from "apache-arrow";
import { CStruct, exportRecordBatch, exportStream, type ForeignBatch, importRecordBatch } from "../../../c_data.ts";
import { exportedCount } from "../../../src/c_data/cells.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../../../src/ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../../../src/ipc/message.ts";
import { collect } from "../../../src/memory/collector.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";
import { type Guard, guardLibrary } from "../../support/c_peers.ts";
import { findPeers } from "../../../tools/peers.ts";
import { type Random, seededRandom } from "../../support/random.ts";

const text = (value: number): string => `value ${value} ${"long ".repeat(value % 5)}`;

/** Rows `base`, `base + 1`, … */
function makeBatch(base: number, rows: number): RecordBatch {
  const numbers = Array.from({ length: rows }, (_, i) => base + i);
  return new Table({
    n: vectorFromArray(Int32Array.from(numbers)),
    s: vectorFromArray(numbers.map((n) => n % 7 === 0 ? null : text(n)), new Utf8()),
    d: vectorFromArray(numbers.map((n) => `kind ${n % 3}`), new Dictionary(new Utf8(), new Int32(), 1)),
  }).batches[0];
}

/** Checks a few rows of a batch whose first row is `base`. */
function check(batch: RecordBatch, base: number, random: Random): void {
  if (batch.numRows === 0) return;
  for (let i = 0; i < 4; i++) {
    const row = random.below(batch.numRows);
    const n = base + row;
    const expected = [n, n % 7 === 0 ? null : text(n), `kind ${n % 3}`];
    assertEquals([0, 1, 2].map((column) => batch.getChildAt(column)!.get(row)), expected);
  }
}

/** A batch that a consumer in C has, and the sum of its bytes when it came. */
interface Held {
  readonly array: CStruct;
  readonly schema: CStruct;
  readonly sum: bigint;
}

/** What a program has at hand. */
class Program {
  readonly #guard: Guard;
  readonly #random: Random;
  readonly #foreign: { batch: ForeignBatch; base: number }[] = [];
  readonly #batches: { batch: OwnedRecordBatch; base: number }[] = [];
  readonly #messages: { schema: MessageHeader; messages: IpcMessage[]; base: number }[] = [];
  readonly #held: Held[] = [];
  readonly #children: CStruct[] = [];

  constructor(guard: Guard, random: Random) {
    this.#guard = guard;
    this.#random = random;
  }

  /** Does one thing. */
  async step(): Promise<void> {
    const steps = [
      () => this.#import(),
      () => this.#import(),
      () => this.#decode(),
      () => this.#decode(),
      () => this.#toMessages(),
      () => this.#decodeMessages(),
      () => this.#read(),
      () => this.#slice(),
      () => this.#export(),
      () => this.#export(),
      () => this.#takeChild(),
      () => this.#release(),
      () => this.#dispose(),
      () => this.#drop(),
      () => this.#churn(),
      () => this.#stream(),
    ];
    await this.#random.pick(steps)();
  }

  /** Gives everything back. */
  async end(): Promise<void> {
    while (this.#held.length > 0) this.#release();
    for (const child of this.#children.splice(0)) child[Symbol.dispose]();
    for (const { batch } of this.#foreign.splice(0)) if (this.#random.chance(0.5)) batch[Symbol.dispose]();
    for (const { batch } of this.#batches.splice(0)) if (this.#random.chance(0.5)) batch[Symbol.dispose]();
    for (const { messages } of this.#messages.splice(0)) for (const { body } of messages) body!.release();
    await Promise.resolve();
  }

  #take<T>(from: T[]): T | undefined {
    return from.length === 0 ? undefined : from.splice(this.#random.below(from.length), 1)[0];
  }

  #import(): void {
    const base = this.#random.below(1000);
    const rows = 16 + this.#random.below(200);
    using exported = new CStruct("ArrowArray");
    using schema = new CStruct("ArrowSchema");
    using copy = new CStruct("ArrowArray");
    exportRecordBatch(makeBatch(base, rows), exported.address, schema.address);
    const [outer, inner] = [this.#random.below(8), this.#random.below(8)];
    const flags = this.#random.below(4);
    const code = this.#guard.guard_copy(
      exported.address,
      schema.address,
      copy.address,
      flags,
      BigInt(outer),
      BigInt(inner),
    );
    assertEquals(code, 0);
    const batch = importRecordBatch(copy.address, schema.address);
    assertEquals(batch.numRows, rows - outer - inner);
    this.#foreign.push({ batch, base: base + outer + inner });
  }

  #decode(): void {
    const taken = this.#take(this.#foreign);
    if (taken === undefined) return;
    const batch = taken.batch.toRecordBatch();
    if (this.#random.chance(0.5)) check(batch, taken.base, this.#random);
    this.#batches.push({ batch, base: taken.base });
  }

  #toMessages(): void {
    const taken = this.#take(this.#foreign);
    if (taken === undefined) return;
    const schema = taken.batch.schemaHeader;
    this.#messages.push({ schema, messages: taken.batch.toMessages(), base: taken.base });
  }

  #decodeMessages(): void {
    const taken = this.#take(this.#messages);
    if (taken === undefined) return;
    for (const { body } of taken.messages) if (this.#random.chance(0.3)) body!.bytes();
    const decoder = new BatchDecoder(taken.schema);
    for (const message of taken.messages) {
      const batch = decoder.decode(message);
      if (batch !== null) this.#batches.push({ batch, base: taken.base });
    }
  }

  #read(): void {
    if (this.#batches.length === 0) return;
    const { batch, base } = this.#random.pick(this.#batches);
    check(batch, base, this.#random);
  }

  #slice(): void {
    if (this.#batches.length === 0) return;
    const { batch, base } = this.#random.pick(this.#batches);
    const from = this.#random.below(batch.numRows + 1);
    const slice = batch.slice(from, from + this.#random.below(batch.numRows - from + 1));
    check(slice, base + from, this.#random);
    this.#hold(slice);
  }

  #export(): void {
    const foreign = this.#random.chance(0.3) ? this.#take(this.#foreign) : undefined;
    if (foreign !== undefined) return this.#hold(foreign.batch);
    if (this.#batches.length === 0) return;
    this.#hold(this.#random.pick(this.#batches).batch);
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
    const held = this.#take(this.#held);
    if (held === undefined) return;
    const child = new CStruct("ArrowArray");
    this.#guard.guard_take_child(held.array.address, BigInt(this.#random.below(3)), child.address);
    this.#guard.guard_release(held.array.address);
    held.array[Symbol.dispose]();
    held.schema[Symbol.dispose]();
    this.#children.push(child);
  }

  #release(): void {
    if (this.#children.length > 0 && this.#random.chance(0.3)) {
      const child = this.#take(this.#children)!;
      this.#guard.guard_release_on_thread(child.address);
      child[Symbol.dispose]();
      return;
    }
    const held = this.#take(this.#held);
    if (held === undefined) return;
    // Whatever has been disposed, collected and allocated since, the bytes are still the same.
    assertEquals(this.#guard.guard_read(held.array.address, held.schema.address), held.sum);
    if (this.#random.chance(0.5)) this.#guard.guard_release_on_thread(held.array.address);
    else this.#guard.guard_release(held.array.address);
    held.array[Symbol.dispose]();
    held.schema[Symbol.dispose]();
  }

  #dispose(): void {
    const foreign = this.#random.chance(0.3) ? this.#take(this.#foreign) : undefined;
    if (foreign !== undefined) {
      foreign.batch[Symbol.dispose]();
      foreign.batch[Symbol.dispose]();
      return;
    }
    const taken = this.#take(this.#batches);
    if (taken === undefined) return;
    const column = taken.batch.getChildAt(0)!;
    taken.batch[Symbol.dispose]();
    taken.batch[Symbol.dispose]();
    assertEquals((column.data[0].values as Int32Array).length, this.#isLent(column.data[0].values as Int32Array));
  }

  /** A column of a disposed batch is empty, unless a consumer still has the batch. */
  #isLent(values: Int32Array): number {
    return (values.buffer as ArrayBuffer).detached ? 0 : values.length;
  }

  /** Forgets something without disposing it. */
  #drop(): void {
    if (this.#random.chance(0.5)) this.#take(this.#batches);
    else this.#take(this.#foreign);
  }

  /** Collects garbage, and writes to memory that was free. */
  async #churn(): Promise<void> {
    if (this.#random.chance(0.3)) collect(this.#random.chance(0.3) ? "all" : "young");
    const blocks = Array.from({ length: 4 }, () => hostPool().acquire(8192));
    for (const block of blocks) block.bytes().fill(0xaa);
    for (const block of blocks) block.release();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async #stream(): Promise<void> {
    const batches = this.#batches.slice(0, 3).map(({ batch }) => batch);
    if (batches.length === 0) return;
    using stream = new CStruct("ArrowArrayStream");
    await exportStream(batches, stream.address);
    const count = new BigInt64Array(1), bytes = new Uint8Array(count.buffer);
    if (this.#random.chance(0.5)) await this.#guard.guard_read_stream_later(stream.address, bytes);
    else this.#guard.guard_read_stream(stream.address, bytes);
    assertEquals(Number(count[0]), batches.length);
  }
}

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
 */
export async function runSequences(guard: Guard, random: Random, count: number): Promise<void> {
  const before = guard.guard_released();
  for (let i = 0; i < count; i++) {
    const program = new Program(guard, random);
    for (let left = 10 + random.below(20); left > 0; left--) await program.step();
    await program.end();
    if (i % 50 === 49) await settle(guard);
  }
  await settle(guard);
  assert(guard.guard_released() > before);
}

if (import.meta.main) {
  const guard = guardLibrary(findPeers());
  await runSequences(guard, seededRandom(), Number(Deno.args[0] ?? 100));
  const sanitizer = Deno.env.get("LD_PRELOAD");
  if (sanitizer !== undefined) {
    const lsan = Deno.dlopen(sanitizer, { __lsan_do_recoverable_leak_check: { parameters: [], result: "i32" } });
    console.log(`leaks: ${lsan.symbols.__lsan_do_recoverable_leak_check()}`);
  }
  console.log("done");
}
