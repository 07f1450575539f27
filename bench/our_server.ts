/**
 * Our server, as a separate process: serves data sets on command, one after another.
 *
 * @module
 */
import { arrowFile, fromBatches, parquetFile, type Servable, serve, type Server } from "../mod.ts";
import { fromDuckDb, openDuckDb } from "../duckdb.ts";
import { resident } from "../src/sources/resident.ts";
import { repeat } from "../tests/support/repeat.ts";
import type { Dataset } from "../src/sources/dataset.ts";
import { generateBatches, type Shape } from "./data.ts";
import { processorSeconds } from "../tests/support/proc.ts";
import { answerCommands } from "./commands.ts";
import { serveSql } from "./sql_ours.ts";

/** One data set to serve. */
interface DatasetSpec extends Shape {
  readonly name: string;
  readonly kind: "memory" | "repeat" | "file" | "parquet" | "duckdb";
  /** How often a run of `repeat` goes through its batches. */
  readonly times: number;
  /** Of `parquet`. */
  readonly engine?: "wasm" | "duckdb";
  /** Of `file` and `parquet`; of `duckdb` that of the library. */
  readonly path: string;
  /** Of `duckdb`: what is executed first, and for each client. */
  readonly setup: string;
  readonly sql: string;
  /** Of `file`: map it instead of reading it. */
  readonly map: boolean | "guarded";
  /** Whether clients may read it in place. */
  readonly share?: boolean;
}

async function makeDataset(spec: DatasetSpec): Promise<Dataset> {
  switch (spec.kind) {
    case "memory":
      return await resident(await fromBatches(generateBatches(spec)));
    case "repeat":
      return repeat(await resident(await fromBatches(generateBatches(spec))), spec.times);
    case "file":
      return await arrowFile(spec.path, { map: spec.map });
    case "parquet":
      return await parquetFile(spec.path, { engine: spec.engine });
    case "duckdb": {
      const database = await openDuckDb(undefined, { library: spec.path });
      await using connection = await database.connect();
      await connection.execute(spec.setup);
      const dataset = await fromDuckDb(database, spec.sql);
      return {
        ...{ schema: dataset.schema, readOnce: false, hasFreeBatches: true },
        open: (options) => dataset.open(options),
        close: () => database.close(),
      };
    }
  }
}

let server: Server | null = null;
let datasets: Dataset[] = [];

async function stop(): Promise<void> {
  await server?.shutdown();
  for (const dataset of datasets) await dataset.close();
  server = null;
  datasets = [];
}

await answerCommands({
  async serve(command) {
    await stop();
    const specs = command.datasets as DatasetSpec[];
    if (specs.length === 0) return { uris: {} };
    const named: Record<string, Servable> = {};
    for (const spec of specs) {
      const dataset = await makeDataset(spec);
      named[spec.name] = spec.share ? { source: dataset, share: true } : dataset;
      datasets.push(dataset);
    }
    server = await serve({ datasets: named, flight: {}, isolates: command.isolates as number | undefined });
    // What the library and the user have set, so that ucx_perftest can be given the same.
    const settings = Object.fromEntries(
      Object.entries(Deno.env.toObject()).filter(([name]) => name.startsWith("UCX_")),
    );
    return {
      uris: Object.fromEntries(server.datasets.map(({ name, uris }) => [name, uris[0]])),
      // One for each isolate.
      all: Object.fromEntries(server.datasets.map(({ name, uris }) => [name, uris])),
      settings,
      flight: server.flight!.location,
    };
  },
  "serve-sql": ({ folder, library }) => serveSql(folder as string | undefined, library as string),
  // The gaps of a timer of 10 ms.
  async timer({ seconds }) {
    const samples: number[] = [];
    const end = performance.now() + (seconds as number) * 1000;
    let last = performance.now();
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const now = performance.now();
        samples.push(now - last);
        last = now;
        if (now < end) return;
        clearInterval(timer);
        resolve();
      }, 10);
    });
    return { samples };
  },
  cpu: () => Promise.resolve({ seconds: processorSeconds("self") }),
  resident: () => Promise.resolve({ residentMiB: Deno.memoryUsage().rss / 2 ** 20 }),
});
await stop();
