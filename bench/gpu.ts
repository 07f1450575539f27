/**
 * The benchmark of GPU memory: our stream from device to device between two processes next to `ucx_perftest` with memory of
 * the GPU and to a plain copy within it; staged transfers next to the copies and the host stream that it is made of. Every
 * peer runs in turn with us. Made for a machine with a GPU; `--rehearse` tries the program out on another driver, without
 * figures.
 *
 *     deno run -A bench/gpu.ts [--out FILE] [--rounds N] [--rehearse]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { findLibucp } from "../ffi/find.ts";
import { MIB } from "../src/bytes.ts";
import { Agent } from "./agents.ts";
import { machineFacts } from "./machine.ts";
import { tagBandwidth } from "./perftest.ts";
import { median, pairedRatios } from "./stats.ts";

const MEMORY = "cuda:0";

interface Result {
  readonly name: string;
  readonly ours: number | null;
  readonly peer: number | null;
  readonly peerName: string;
  readonly ratio: number | null;
  /** The target ratio, if there is one. */
  readonly target: number | null;
  readonly note: string;
}

interface Fetched {
  readonly seconds: number;
  readonly bytes: number;
  readonly transports: readonly string[];
  readonly staged: boolean | null;
  readonly stagingReason: string;
}

const { values: options } = parseArgs({
  args: Deno.args,
  options: {
    out: { type: "string" },
    rounds: { type: "string", default: "5" },
    rehearse: { type: "boolean", default: false },
  },
});
const rehearse = options.rehearse === true;
const rounds = rehearse ? 1 : Number(options.rounds);
const sizes = rehearse ? [1] : [1, 16, 64];
/** Bytes of one run. */
const RUN_BYTES = rehearse ? 8 * MIB : 4096 * MIB;

function start(name: string): Promise<Agent> {
  const config = new URL("../deno.json", import.meta.url).pathname;
  const program = new URL("./gpu_agent.ts", import.meta.url).pathname;
  const args = ["run", "-A", "--no-prompt", "--no-check", "--config", config, program];
  return Agent.start({ name, command: Deno.execPath(), args });
}

/** `ucx_perftest` of the libucp in use, if there is one. */
function perftestPath(library: string): string | null {
  const folder = library.slice(0, library.lastIndexOf("/"));
  for (const path of [Deno.env.get("DIPC_PERFTEST"), `${folder}/../bin/ucx_perftest`]) {
    try {
      if (path && Deno.statSync(path).isFile) return path;
    } catch {
      // Not there.
    }
  }
  return null;
}

const results: Result[] = [];
const gigabytes = (rate: number | null): string => rate === null ? "-" : `${(rate / 1e9).toFixed(2)} GB/s`;

function report(result: Result): void {
  results.push(result);
  const ratio = result.ratio === null ? "-" : result.ratio.toFixed(2);
  const figures = rehearse
    ? ""
    : `${gigabytes(result.ours)}  ${result.peerName} ${gigabytes(result.peer)}  ratio ${ratio}`;
  console.log(`${result.name.padEnd(28)} ${figures} ${result.note}`.trimEnd());
}

/** A peer that runs before, between and after our rounds. */
async function compare(ours: () => Promise<number>, peer: () => Promise<number>) {
  const [mine, theirs] = [[] as number[], [await peer()]];
  for (let round = 0; round < rounds; round++) {
    mine.push(await ours());
    theirs.push(await peer());
  }
  return { ours: median(mine), peer: median(theirs), ratio: median(pairedRatios(mine, theirs, true)) };
}

const server = await start("server");
const client = await start("client");
try {
  const library = findLibucp();
  const perftest = perftestPath(library.path);
  const about = await client.call({ do: "about", memory: MEMORY });
  const rate = (fetched: Fetched): number => fetched.bytes / fetched.seconds;
  const fetch = async (uri: string, memory: string, staging: string, verify = false): Promise<Fetched> =>
    await client.call({ do: "read", uri, memory, staging, verify }) as unknown as Fetched;

  for (const size of sizes) {
    const bytes = size * MIB;
    const count = Math.max(4, RUN_BYTES / bytes);
    const copies = await client.call({ do: "copies", memory: MEMORY, bytes, count: Math.min(count, 64) }) as Record<
      string,
      number
    >;

    // Straight from GPU to GPU.
    const offer = { do: "serve", bytes, count, memory: MEMORY };
    const { uri, staged: isServerStaged, stagingReason } = await server.call({ ...offer, staging: "auto" }) as {
      uri: string;
      staged: boolean;
      stagingReason: string;
    };
    const verified = await fetch(uri, MEMORY, "auto", true);
    const name = `direct/${size} MiB`;
    if (isServerStaged || verified.staged) {
      const note = `skipped: bodies are staged: ${isServerStaged ? stagingReason : verified.stagingReason}`;
      report({ name, ours: null, peer: null, peerName: "ucx_perftest -m cuda", ratio: null, target: 0.95, note });
    } else {
      const note = `transports ${verified.transports.join(", ")}`;
      if (perftest === null) {
        const ours = median(await repeated(async () => rate(await fetch(uri, MEMORY, "never"))));
        report({
          name,
          ours,
          peer: null,
          peerName: "ucx_perftest",
          ratio: null,
          target: 0.95,
          note: `${note}; no ucx_perftest`,
        });
      } else {
        const env = { LD_LIBRARY_PATH: library.path.slice(0, library.path.lastIndexOf("/")), UCX_NET_DEVICES: "lo" };
        const peer = () => tagBandwidth({ path: perftest, bytes, count, env, cores: null, memory: "cuda" });
        const figures = await compare(async () => rate(await fetch(uri, MEMORY, "never")), peer);
        report({ name, ...figures, peerName: "ucx_perftest -t tag_bw -m cuda -e", target: 0.95, note });
      }
      const ours = results.at(-1)!.ours!;
      const ratio = ours / copies.d2d;
      report({
        name: `${name} to a copy`,
        ours,
        peer: copies.d2d,
        peerName: "copy within the GPU",
        ratio,
        target: null,
        note: "",
      });
    }

    // Staged through host memory, next to the slowest of its three parts, each as fast as it is alone.
    const host = await server.call({ do: "serve", bytes, count, memory: "host" }) as Record<string, string>;
    await fetch(host.uri, "host", "auto", true);
    const hostRate = median(await repeated(async () => rate(await fetch(host.uri, "host", "auto"))));
    const staged = await server.call({ ...offer, staging: "always" }) as Record<string, string>;
    await fetch(staged.uri, MEMORY, "always", true);
    const ours = median(await repeated(async () => rate(await fetch(staged.uri, MEMORY, "always"))));
    const parts = { "copy to the GPU": copies.h2d, "copy from the GPU": copies.d2h, "host stream": hostRate };
    const [peerName, peer] = Object.entries(parts).sort(([, a], [, b]) => a - b)[0];
    report({ name: `staged/${size} MiB`, ours, peer, peerName, ratio: ours / peer, target: 0.8, note: "" });
    for (const [part, speed] of Object.entries({ ...parts, "copy within the GPU": copies.d2d })) {
      report({
        name: `${part}/${size} MiB`,
        ours: speed,
        peer: null,
        peerName: "",
        ratio: null,
        target: null,
        note: "",
      });
    }
  }
  const facts = {
    date: new Date().toISOString(),
    rehearsal: rehearse,
    gpu: about,
    ucx: { version: library.version, path: library.path },
    machine: machineFacts(),
    rounds,
    // A rehearsal shows that the program runs; what it measures means nothing.
    results: rehearse ? results.map(({ name, note }) => ({ name, note })) : results,
  };
  if (options.out !== undefined) await Deno.writeTextFile(options.out, `${JSON.stringify(facts, null, 2)}\n`);
} finally {
  await client.stop();
  await server.stop();
}

async function repeated(run: () => Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let round = 0; round < rounds; round++) values.push(await run());
  return values;
}
