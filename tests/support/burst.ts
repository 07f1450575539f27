/**
 * Many clients at once, in four processes, at a server with room for fewer. Those that are served hold their streams until
 * everyone has an answer, then read to the end.
 *
 * @module
 */
import { connect, fromBatches, serve } from "../../mod.ts";
import { tripsTable } from "./cli_data.ts";

/** Batches of 1,000 rows: more than the windows hold, so that a stream stays open until it is read. */
const BATCHES = 8, ROWS = BATCHES * 1000;
const PROCESSES = 4;

/** How each of some things ended, and how many did. */
type Counts = Record<string, number>;

/** Clients at once; each line on standard input lets them go on, each line of output says what became of them. */
async function clients(uri: string, route: "ucx" | "flight", count: number): Promise<void> {
  const lines = Deno.stdin.readable.getReader();
  console.log("ready");
  await lines.read();
  const add = (counts: Counts, key: string): void => void (counts[key] = (counts[key] ?? 0) + 1);
  const [answers, ends]: [Counts, Counts] = [{}, {}];
  const streams: Awaited<ReturnType<typeof connect>>[] = [];
  await Promise.all(Array.from({ length: count }, async () => {
    try {
      streams.push(await connect(uri, { route }));
      add(answers, "served");
    } catch (error) {
      add(answers, (error as { code?: string }).code ?? String(error));
    }
  }));
  console.log(JSON.stringify(answers));
  await lines.read();
  await Promise.all(streams.map(async (stream) => {
    try {
      let rows = 0;
      for await (const batch of stream) {
        rows += batch.numRows;
        (batch as Partial<Disposable>)[Symbol.dispose]?.();
      }
      add(ends, rows === ROWS ? "whole" : `${rows} rows`);
    } catch (error) {
      add(ends, String(error));
    }
  }));
  console.log(JSON.stringify(ends));
  Deno.exit(0);
}

/** A process of clients, and its lines. */
function startClients(uri: string, route: string, count: number) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.filename!, uri, route, String(count)],
    ...{ stdin: "piped", stdout: "piped", stderr: "inherit" } as const,
  }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  return {
    go: () => input.write(new Uint8Array([10])),
    async line(): Promise<string> {
      while (!rest.includes("\n")) {
        const { value, done } = await output.read();
        if (done) throw new Error("a process of clients ended early");
        rest += value;
      }
      const [line] = rest.split("\n", 1);
      rest = rest.slice(line.length + 1);
      return line;
    },
    async end(): Promise<void> {
      await input.close().catch(() => {});
      await output.cancel().catch(() => {});
      await child.status;
    },
  };
}

/** What the clients heard, and what came of their streams. */
export interface Burst {
  /** `served`, or the code of an error. */
  readonly answers: Counts;
  /** `whole`, or an error. */
  readonly ends: Counts;
  /** Until all had an answer. */
  readonly seconds: number;
}

/** A server with room for `limit` clients by each route, and the location of its dataset by `route`. */
export async function burstServer(route: "ucx" | "flight", limit: number) {
  const datasets = { x: await fromBatches(tripsTable(BATCHES).batches) };
  const server = await serve({
    ...{ datasets, maxConnections: limit, windowBatches: 4 },
    flight: { limits: { maxConnections: limit } },
  });
  const uri = route === "ucx" ? server.datasets[0].uris[0] : `${server.flight!.location}/x`;
  return { uri, [Symbol.asyncDispose]: () => server.shutdown({ timeoutMs: 5000 }) };
}

/** Has that many clients come at once. */
export async function burst(uri: string, route: "ucx" | "flight", count: number): Promise<Burst> {
  const children = Array.from({ length: PROCESSES }, (_, index) => {
    return startClients(uri, route, Math.floor((count + index) / PROCESSES));
  });
  const all = async (): Promise<Counts> => {
    const sum: Counts = {};
    for (const line of await Promise.all(children.map((child) => child.line()))) {
      for (const [key, value] of Object.entries(JSON.parse(line) as Counts)) sum[key] = (sum[key] ?? 0) + value;
    }
    return sum;
  };
  await Promise.all(children.map((child) => child.line()));
  const start = performance.now();
  for (const child of children) await child.go();
  const answers = await all();
  const seconds = (performance.now() - start) / 1000;
  for (const child of children) await child.go();
  const ends = await all();
  await Promise.all(children.map((child) => child.end()));
  return { answers, ends, seconds };
}

if (import.meta.main) await clients(Deno.args[0], Deno.args[1] as "ucx" | "flight", Number(Deno.args[2]));
