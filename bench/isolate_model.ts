/**
 * The points of the model in `docs/isolates.md`: what a server in one and in two isolates spends on a gigabyte, and on clients
 * that stand still. `deno run -A bench/isolate_model.ts` takes about a minute.
 *
 * @module
 */
import { shapeOf } from "./data.ts";
import { concurrently, GiB, MiB, serveOurs } from "./serving.ts";
import { findTools } from "./tools.ts";
import { type AgentVariant, Workbench } from "./workbench.ts";

/** Clients that read, and clients that stand still in the middle of a stream. */
const READERS = 4, HELD = 32;
const HOLD_MS = 4_000;
/** Clock ticks per second of /proc/PID/stat; the same on all Linux systems that Deno runs on. */
const TICKS = 100;

/** One measured point. */
interface Point {
  readonly transport: string;
  readonly isolates: number;
  /** 10⁹ bytes per second, of all clients together. */
  readonly rate: number;
  /** CPU seconds that the server spends on 10⁹ bytes. */
  readonly serverSeconds: number;
  /** CPU seconds that the clients spend on 10⁹ bytes. */
  readonly clientSeconds: number;
  /** CPU milliseconds that the server spends in a second on one client that stands still. */
  readonly heldMs: number;
}

/** CPU seconds of a process so far. */
function cpuSeconds(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function measure(bench: Workbench, isolates: number, tls: "tcp" | undefined): Promise<Point> {
  const shape = shapeOf(MiB, GiB / 2);
  const variant: AgentVariant = { pinned: false, ...(tls === undefined ? {} : { tls }) };
  const server = await bench.agent("server", variant);
  const { uris } = await serveOurs(bench, { kind: "memory", ...shape }, variant, isolates);
  const inTurn = (first: number): string[] => [...uris.slice(first % isolates), ...uris.slice(0, first % isolates)];
  const commands = Array.from({ length: READERS }, (_, i) => ({ do: "read", uri: inTurn(i) }));
  const clients = await Promise.all(commands.map((_, i) => bench.agent("client", { ...variant, index: i + 1 })));
  const all = () => clients.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  const run = () => concurrently(bench, "client", commands, shape, variant);
  await run(); // everything is compiled and mapped from here on
  const [serverBefore, clientsBefore] = [cpuSeconds(server.pid), all()];
  const { value: rate } = await run();
  const gigabytes = READERS * GiB / 2 / 1e9;
  const serverSeconds = (cpuSeconds(server.pid) - serverBefore) / gigabytes;
  const clientSeconds = (all() - clientsBefore) / gigabytes;

  const holder = { ...variant, index: 1 };
  await bench.call("client", { do: "hold", uris, count: HELD }, holder);
  await new Promise((resolve) => setTimeout(resolve, HOLD_MS)); // until what was under way has come to rest
  const before = cpuSeconds(server.pid);
  await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
  const heldMs = (cpuSeconds(server.pid) - before) * 1000 / HELD / (HOLD_MS / 1000);
  await bench.call("client", { do: "let-go" }, holder);
  return { transport: tls ?? "shared memory", isolates, rate, serverSeconds, clientSeconds, heldMs };
}

if (import.meta.main) {
  const bench = await Workbench.create(await findTools(console.error), null);
  try {
    console.log(
      "| transport | isolates | rate of four clients | server, CPU per GB | clients, CPU per GB | a client that stands still |",
    );
    console.log("| --- | --- | --- | --- | --- | --- |");
    for (const tls of [undefined, "tcp"] as const) {
      for (const isolates of [1, 2]) {
        const { transport, rate, serverSeconds, clientSeconds, heldMs } = await measure(bench, isolates, tls);
        const cells = [`${rate.toFixed(2)} GB/s`, `${serverSeconds.toFixed(2)} s`, `${clientSeconds.toFixed(2)} s`];
        console.log(`| ${[transport, isolates, ...cells, `${heldMs.toFixed(2)} ms per second`].join(" | ")} |`);
      }
    }
  } finally {
    await bench.close();
  }
}
