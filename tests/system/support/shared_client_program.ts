/**
 * Reads datasets in a server's memory over and over, holds batches for a while, changes columns, disposes and drops batches, and
 * collects garbage at random moments, until it is ended.
 *
 *     shared_client_program.ts SEED URI...
 *
 * A URI without the name of a socket is read by its remote key. Prints a line once it reads, and one after every stream: how many bytes were read in place so far. Ends with status 1 and the error
 * if a value is wrong, a batch that was disposed does not throw, or a stream fails in an unexpected way.
 *
 * @module
 */
import { connect, DipcError, type OwnedRecordBatch } from "../../../mod.ts";
import { collect } from "../../../src/memory/collector.ts";
import { Random } from "../../support/random.ts";

/** A batch in hand, and what the first and the last value of its column must be. */
interface Held {
  readonly batch: OwnedRecordBatch;
  readonly values: BigInt64Array;
  first: bigint;
  last: bigint;
}

const [seed, ...uris] = Deno.args;
const random = new Random(Number(seed));
const held: Held[] = [];
/** Batches that were disposed, whose columns are still in hand. */
const disposed: Held[] = [];

function check({ values, first, last }: Held): void {
  if (values[0] !== first || values.at(-1) !== last) {
    throw new Error(`expected ${first} … ${last}, found ${values[0]} … ${values.at(-1)}`);
  }
}

function checkDisposed({ batch, values }: Held): void {
  if (values.length !== 0) throw new Error(`a batch was disposed, and its column has ${values.length} values`);
  try {
    batch.getChildAt(0);
  } catch (error) {
    if (error instanceof DipcError && error.code === "closed") return;
    throw error;
  }
  throw new Error("a batch was disposed, and gives its column");
}

/** Takes a batch in hand, and writes into some of them. */
function take(batch: OwnedRecordBatch, number: number): Held {
  const values = batch.getChildAt(0)!.data[0].values as BigInt64Array;
  const taken: Held = { batch, values, first: BigInt(number), last: BigInt(values.length - 1) };
  check(taken);
  if (random.chance(0.2)) {
    values.fill(-1n);
    taken.first = taken.last = -1n;
  }
  return taken;
}

/** Lets a batch go: disposes it, once or twice, or drops it, which gives it back when it is collected. */
function release(one: Held): void {
  check(one);
  if (random.chance(0.1)) return;
  for (let times = random.chance(0.1) ? 2 : 1; times > 0; times--) one.batch[Symbol.dispose]();
  disposed.push(one);
  if (disposed.length > 20) disposed.splice(random.below(disposed.length), 1);
}

console.log("reading");
let sharedBytes = 0;
try {
  for (;;) {
    const reader = await connect(random.pick(uris), { timeoutMs: 120_000, remoteKeys: true });
    let number = 0;
    for await (const batch of reader) {
      held.push(take(batch, number++));
      while (held.length > random.below(12)) release(held.splice(random.below(held.length), 1)[0]);
      if (random.chance(0.01)) collect(random.pick(["all", "young"]));
      if (random.chance(0.1)) disposed.forEach(checkDisposed);
      if (random.chance(0.02)) break;
    }
    sharedBytes += reader.stats.sharedBytes;
    console.log(sharedBytes);
  }
} catch (error) {
  // The server was ended, too.
  const isExpected = error instanceof DipcError && ["connection_lost", "unreachable", "timeout"].includes(error.code);
  if (!isExpected) {
    console.error(error);
    Deno.exit(1);
  }
}
