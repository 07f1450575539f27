/**
 * What programs do at random with batches that a library in C gives them: in the main program, or in a web worker.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { RecordBatch } from "apache-arrow";
import { type ForeignBatch, type ForeignStream, importRecordBatch, importStream } from "../../../c_data.ts";
import { BatchDecoder, type OwnedRecordBatch } from "../../../src/ipc/decode.ts";
import type { IpcMessage, MessageHeader } from "../../../src/ipc/message.ts";
import { collect } from "../../../src/memory/collector.ts";
import { hostPool } from "../../../src/memory/host_pool.ts";
import type { Random } from "../../support/random.ts";
import { checkRows } from "./sequence_batches.ts";

/** A batch in C that can be imported. */
export interface OfferedBatch {
  readonly array: bigint;
  readonly schema: bigint;
  /** Number of the first row. */
  readonly base: number;
  readonly rows: number;
}

/** A stream in C that can be imported. */
export interface OfferedStream {
  readonly stream: bigint;
  /** Number of the first row of each batch. */
  readonly bases: readonly number[];
}

/** What a program is offered; `null` if there is nothing left. */
export interface Offers {
  batch(): OfferedBatch | null;
  stream(): OfferedStream | null;
}

/** Anything with the number of its first row. */
type Based<T> = T & { readonly base: number };

/** What a program has at hand. */
export class ReaderProgram {
  protected readonly random: Random;
  protected readonly foreign: Based<{ batch: ForeignBatch }>[] = [];
  protected readonly batches: Based<{ batch: OwnedRecordBatch }>[] = [];
  /** Batches that a consumer may have, so that their columns may stay after they are disposed. */
  protected readonly lent = new WeakSet<RecordBatch>();
  readonly #offers: Offers;
  readonly #messages: Based<{ schema: MessageHeader; messages: IpcMessage[] }>[] = [];
  readonly #streams: { stream: ForeignStream; bases: number[] }[] = [];

  constructor(random: Random, offers: Offers) {
    this.random = random;
    this.#offers = offers;
  }

  /** What it can do; what stands twice is done more often. */
  protected steps(): readonly (() => void | Promise<void>)[] {
    return [
      () => this.#import(),
      () => this.#import(),
      () => this.#decode(),
      () => this.#decode(),
      () => this.#toMessages(),
      () => this.#decodeMessages(),
      () => this.#read(),
      () => this.#slice(),
      () => this.#openStream(),
      () => this.#readStream(),
      () => this.#dispose(),
      () => this.#drop(),
      () => this.#churn(),
    ];
  }

  /** Does one thing. */
  async step(): Promise<void> {
    await this.random.pick(this.steps())();
  }

  /** Gives everything back, or forgets it. */
  async end(): Promise<void> {
    for (const { batch } of this.foreign.splice(0)) if (this.random.chance(0.5)) batch[Symbol.dispose]();
    for (const { batch } of this.batches.splice(0)) if (this.random.chance(0.5)) batch[Symbol.dispose]();
    for (const { messages } of this.#messages.splice(0)) for (const { body } of messages) body!.release();
    for (const { stream } of this.#streams.splice(0)) if (this.random.chance(0.5)) await stream.cancel();
    await Promise.resolve();
  }

  /** Forgets everything. */
  forget(): void {
    for (const list of [this.foreign, this.batches, this.#messages, this.#streams]) list.length = 0;
  }

  protected take<T>(from: T[]): T | undefined {
    return from.length === 0 ? undefined : from.splice(this.random.below(from.length), 1)[0];
  }

  /** A part of a batch, whose values were checked. */
  protected slice(isLent = false): RecordBatch | undefined {
    if (this.batches.length === 0) return undefined;
    const { batch, base } = this.random.pick(this.batches);
    if (isLent) this.lent.add(batch);
    const from = this.random.below(batch.numRows + 1);
    const slice = batch.slice(from, from + this.random.below(batch.numRows - from + 1));
    checkRows(slice, base + from, this.random);
    return slice;
  }

  #import(): void {
    const offered = this.#offers.batch();
    if (offered === null) return;
    const batch = importRecordBatch(offered.array, offered.schema);
    assertEquals(batch.numRows, offered.rows);
    this.foreign.push({ batch, base: offered.base });
  }

  #decode(): void {
    const taken = this.take(this.foreign);
    if (taken === undefined) return;
    const batch = taken.batch.toRecordBatch();
    if (this.random.chance(0.5)) checkRows(batch, taken.base, this.random);
    this.batches.push({ batch, base: taken.base });
  }

  #toMessages(): void {
    const taken = this.take(this.foreign);
    if (taken === undefined) return;
    const schema = taken.batch.schemaHeader;
    this.#messages.push({ schema, messages: taken.batch.toMessages(), base: taken.base });
  }

  #decodeMessages(): void {
    const taken = this.take(this.#messages);
    if (taken === undefined) return;
    for (const { body } of taken.messages) if (this.random.chance(0.3)) body!.bytes();
    const decoder = new BatchDecoder(taken.schema);
    for (const message of taken.messages) {
      const batch = decoder.decode(message);
      if (batch !== null) this.batches.push({ batch, base: taken.base });
    }
  }

  #read(): void {
    if (this.batches.length === 0) return;
    const { batch, base } = this.random.pick(this.batches);
    checkRows(batch, base, this.random);
  }

  #slice(): void {
    this.slice();
  }

  async #openStream(): Promise<void> {
    const offered = this.#offers.stream();
    if (offered === null) return;
    const stream = await importStream(offered.stream, { blocking: this.random.chance(0.3) });
    this.#streams.push({ stream, bases: [...offered.bases] });
  }

  /** Reads one batch of a stream, all of it, or leaves it. */
  async #readStream(): Promise<void> {
    const open = this.take(this.#streams);
    if (open === undefined) return;
    const { stream, bases } = open;
    const most = this.random.pick([1, bases.length + 1]);
    for (let i = 0; i < most; i++) {
      const batch = await stream.next();
      if (batch === null) return assertEquals(bases.length, 0);
      this.foreign.push({ batch, base: bases.shift()! });
    }
    const what = this.random.below(4);
    if (what < 2) this.#streams.push(open);
    if (what === 2) await stream.cancel();
  }

  #dispose(): void {
    const foreign = this.random.chance(0.3) ? this.take(this.foreign) : undefined;
    if (foreign !== undefined) {
      foreign.batch[Symbol.dispose]();
      foreign.batch[Symbol.dispose]();
      return;
    }
    const taken = this.take(this.batches);
    if (taken === undefined) return;
    const { values } = taken.batch.getChildAt(0)!.data[0] as { values: Int32Array };
    taken.batch[Symbol.dispose]();
    taken.batch[Symbol.dispose]();
    if (!this.lent.has(taken.batch)) assertEquals(values.length, 0);
  }

  /** Forgets something without disposing it. */
  #drop(): void {
    this.take(this.random.pick<unknown[]>([this.batches, this.foreign, this.#streams]));
  }

  /** Collects garbage, and writes to memory that was free. */
  async #churn(): Promise<void> {
    if (this.random.chance(0.3)) collect(this.random.chance(0.3) ? "all" : "young");
    const blocks = Array.from({ length: 4 }, () => hostPool().acquire(8192));
    for (const block of blocks) block.bytes().fill(0xaa);
    for (const block of blocks) block.release();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
