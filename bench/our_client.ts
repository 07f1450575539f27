/**
 * Our client, as a separate process: fetches on command and measures the time.
 *
 * @module
 */
import type { RecordBatch, Table } from "apache-arrow";
import { connect, type ConnectOptions, fromBatches, serve, type Server } from "../mod.ts";
import { FlightClient } from "../flight.ts";
import { resident } from "../src/sources/resident.ts";
import type { Dataset } from "../src/sources/dataset.ts";
import { closeDatabase, readQuery } from "./adbc_ours.ts";
import { droppedMemory, exportRate, importRate } from "./c_data_ours.ts";
import { checkBatch, generateBatches, type Shape } from "./data.ts";
import { processorSeconds } from "../tests/support/proc.ts";
import { answerCommands } from "./commands.ts";
import { changeBySql, closeSql, runSmallSql, runSql } from "./sql_ours.ts";

/** What every fetch answers; times in seconds, the absolute ones since 1970. */
interface Fetched {
  seconds: number;
  wholeSeconds: number;
  started: number;
  ended: number;
  rows: number;
  bytes: number;
  batches: number;
  checksum: number;
  transports: readonly string[];
}

/** Connects, then runs `read`; the throughput counts from the moment when the schema is there, as with the peers. */
async function timed(
  { uri, options }: Record<string, unknown>,
  read: (stream: Awaited<ReturnType<typeof connect>>) => Promise<{ rows: number; checksum?: number }>,
): Promise<Fetched> {
  const begin = performance.now();
  await using stream = await connect(uri as string, options as ConnectOptions | undefined);
  const start = performance.now();
  const { rows, checksum = 0 } = await read(stream);
  const end = performance.now();
  const { stats } = stream;
  if (!stats.complete || rows !== stats.rows) {
    throw new Error(`${rows} rows read of ${stats.rows}, complete: ${stats.complete}`);
  }
  return {
    seconds: (end - start) / 1000,
    wholeSeconds: (end - begin) / 1000,
    started: (performance.timeOrigin + start) / 1000,
    ended: (performance.timeOrigin + end) / 1000,
    rows,
    bytes: stats.bodyBytes,
    batches: stats.batches,
    checksum,
    transports: stats.transports,
  };
}

/** Every batch in turn, disposed at once. */
function readAll(command: Record<string, unknown>): Promise<Fetched> {
  return timed(command, async (stream) => {
    let rows = 0;
    for await (using batch of stream) rows += batch.numRows;
    return { rows };
  });
}

/** The sum of all values of a column; those of 64-bit integers are below 2⁶³ and 0 or more. */
function sumOf(values: Float64Array | BigInt64Array): number {
  const isFloat = values instanceof Float64Array;
  const numbers = isFloat ? values : new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  return isFloat ? sumOfFloats(numbers as Float64Array) : sumOfWords(numbers as Uint32Array);
}

function sumOfFloats(values: Float64Array): number {
  let a = 0, b = 0, c = 0, d = 0, i = 0;
  for (const end = values.length - 3; i < end; i += 4) {
    a += values[i];
    b += values[i + 1];
    c += values[i + 2];
    d += values[i + 3];
  }
  for (; i < values.length; i++) a += values[i];
  return a + b + c + d;
}

function sumOfColumns({ children }: RecordBatch["data"]): number {
  let sum = 0;
  for (const { values } of children) sum += sumOf(values);
  return sum;
}

/** The words of 64-bit integers, the low one first. */
function sumOfWords(words: Uint32Array): number {
  let low = 0, high = 0, low2 = 0, high2 = 0, i = 0;
  for (const end = words.length - 3; i < end; i += 4) {
    low += words[i];
    high += words[i + 1];
    low2 += words[i + 2];
    high2 += words[i + 3];
  }
  for (; i < words.length; i += 2) {
    low += words[i];
    high += words[i + 1];
  }
  return low + low2 + (high + high2) * 2 ** 32;
}

/** The server of this isolate, if it has one. */
let own: { server: Server; dataset: Dataset } | null = null;

async function serveHere(shape: Shape): Promise<string> {
  if (own === null) {
    const dataset = await resident(await fromBatches(generateBatches(shape)));
    own = { dataset, server: await serve({ datasets: { data: dataset } }) };
  }
  return own.server.datasets[0].uris[0];
}

async function serveNothing(): Promise<void> {
  await own?.server.shutdown();
  await own?.dataset.close();
  own = null;
}

/** What was fetched into private memory. */
let kept: Table | null = null;

/** Adds up every value of a stream that was received once and kept: what that costs in memory of this process's own. */
async function sumKept({ uri }: Record<string, unknown>): Promise<Fetched> {
  const table = kept ??= await (await connect(uri as string, { share: false })).toTable();
  const start = performance.now();
  let bytes = 0, checksum = 0;
  for (const { data } of table.batches) {
    checksum += sumOfColumns(data);
    for (const { values } of data.children) bytes += values.byteLength;
  }
  const end = performance.now();
  const seconds = (end - start) / 1000;
  return {
    ...{ seconds, wholeSeconds: seconds, rows: table.numRows, bytes, batches: table.batches.length, checksum },
    ...{ started: (performance.timeOrigin + start) / 1000, ended: (performance.timeOrigin + end) / 1000 },
    transports: [],
  };
}

function delay(milliseconds: number): Promise<void> | void {
  if (milliseconds > 0) return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Streams that stand still after their first batch. */
const held: Awaited<ReturnType<typeof connect>>[] = [];

await answerCommands({
  read: readAll,
  adbc: ({ driver, uri, sql }) => readQuery(driver as string, uri as string, sql as string),
  "adbc-close": async () => {
    await closeDatabase();
    return {};
  },
  sql: ({ uri, sql }) => runSql(uri as string, sql as string),
  "sql-small": ({ uri, sql, count }) => runSmallSql(uri as string, sql as string, count as number),
  async "sql-change"({ uri, statements }) {
    await changeBySql(uri as string, statements as string[]);
    return {};
  },
  async "sql-close"() {
    await closeSql();
    return {};
  },
  "c-import": ({ library, count }) => Promise.resolve({ ...importRate(library as string, count as number) }),
  "c-export": ({ library, count }) => Promise.resolve({ ...exportRate(library as string, count as number) }),
  "c-memory": async ({ library, some, all }) => ({
    ...await droppedMemory(library as string, some as number, all as number),
  }),
  async hold({ uris, count }) {
    const all = uris as string[];
    for (let i = 0; i < (count as number); i++) {
      const stream = await connect(all[i % all.length]);
      held.push(stream);
      (await stream.next()).value?.[Symbol.dispose]();
    }
    return {};
  },
  async "let-go"() {
    for (const stream of held.splice(0)) await stream.cancel();
    return {};
  },
  // The same from a server in this isolate.
  "one-process": async ({ shape }) => await readAll({ uri: await serveHere(shape as Shape) }),
  "serve-nothing": async () => {
    await serveNothing();
    return {};
  },
  // Small reads by Flight, one every `seconds / reads`, beside streams by UCX.
  async fair({ uri, flight, streams, reads, seconds }) {
    await using client = await FlightClient.connect(flight as string);
    const readers = await Promise.all(Array.from({ length: streams as number }, () => connect(uri as string)));
    let bytes = 0, isOver = false;
    const running = readers.map(async (reader) => {
      for await (using batch of reader) {
        bytes += batch.numRows * 32; // four columns
        if (isOver) break;
      }
    });
    if (readers.length > 0) await delay(200);
    const samples: number[] = [];
    const [begin, before] = [performance.now(), bytes];
    for (let i = 0; i < (reads as number); i++) {
      const start = performance.now();
      for await (const { batch } of await client.doGet("small")) void batch;
      samples.push(performance.now() - start);
      await delay(begin + (i + 1) * 1000 * (seconds as number) / (reads as number) - performance.now());
    }
    await delay(begin + 1000 * (seconds as number) - performance.now());
    const rate = (bytes - before) / (performance.now() - begin) / 1e6;
    isOver = true;
    await Promise.all(running);
    await Promise.all(readers.map((reader) => reader[Symbol.asyncDispose]()));
    return { samples, rate };
  },
  // Many clients at once, each with a connection of its own.
  async burst({ uri, count }) {
    const started = (performance.timeOrigin + performance.now()) / 1000;
    const isFlight = (uri as string).startsWith("grpc:");
    await Promise.all(Array.from({ length: count as number }, async () => {
      let rows = 0;
      if (isFlight) {
        const [, location, name] = /^(.*)\/([^/]*)$/.exec(uri as string)!;
        await using client = await FlightClient.connect(location, { timeoutMs: 60_000 });
        for await (const { batch } of await client.doGet(name)) rows += batch?.numRows ?? 0;
      } else for await (using batch of await connect(uri as string, { timeoutMs: 60_000 })) rows += batch.numRows;
      if (rows === 0) throw new Error("a client got no rows");
    }));
    return { started, ended: (performance.timeOrigin + performance.now()) / 1000 };
  },
  // Several streams at once.
  "read-many": async ({ uri, count }) => ({
    streams: await Promise.all(Array.from({ length: count as number }, () => readAll({ uri }))),
  }),
  // The same, but every value is compared with what it must be.
  verify: (command) =>
    timed(command, async (stream) => {
      const expected = command.shape as Shape;
      const rowsOfOneRun = expected.rows * expected.batches;
      let rows = 0;
      for await (using batch of stream) {
        checkBatch(batch, expected, rows % rowsOfOneRun);
        rows += batch.numRows;
      }
      if (rows !== rowsOfOneRun * (command.times as number)) {
        throw new Error(`${rows} rows, expected ${rowsOfOneRun} × ${command.times}`);
      }
      return { rows };
    }),
  // One value of a column of every batch.
  small: (command) =>
    timed(command, async (stream) => {
      let rows = 0;
      let checksum = 0;
      for await (using batch of stream) {
        rows += batch.numRows;
        checksum += Number(batch.getChildAt(0)!.get(0));
      }
      return { rows, checksum };
    }),
  // Every byte of every batch added up.
  sum: (command) =>
    timed(command, async (stream) => {
      let rows = 0, checksum = 0;
      for await (using batch of stream) {
        rows += batch.numRows;
        checksum += sumOfColumns(batch.data);
      }
      return { rows, checksum };
    }),
  "sum-kept": sumKept,
  forget: () => Promise.resolve({ forgotten: kept = null }),
  // All batches kept, as one table.
  keep: (command) => timed(command, async (stream) => ({ rows: (await stream.toTable()).numRows })),
  async "first-batch"({ uri, count, isCold }) {
    const samples: number[] = [];
    const options = isCold ? { keepAliveMs: 0 } : {};
    for (let i = 0; i < (count as number); i++) {
      const start = performance.now();
      const stream = await connect(uri as string, options);
      const { value, done } = await stream.next();
      samples.push(performance.now() - start);
      if (done) throw new Error("a stream without a batch");
      value[Symbol.dispose]();
      for await (using _rest of stream);
      await stream[Symbol.asyncDispose]();
    }
    return { samples };
  },
  async "small-query"({ uri, count }) {
    let rows = 0;
    const start = performance.now();
    for (let i = 0; i < (count as number); i++) {
      for await (using batch of await connect(uri as string)) rows += batch.numRows;
    }
    return { rows, seconds: (performance.now() - start) / 1000 };
  },
  cpu: () => Promise.resolve({ seconds: processorSeconds("self") }),
});
await serveNothing();
