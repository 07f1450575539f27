/**
 * `deno task bench`: measures dipc next to its peers in the same run.
 *
 * ```sh
 * deno task bench                        # everything, about eleven minutes
 * deno task bench --quick --json         # less data, two minutes
 * deno task bench --only cold            # names that contain "cold"
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { textOf } from "../src/text.ts";
import { drawChart } from "./chart.ts";
import { compare } from "./compare.ts";
import { chooseCores, machineFacts } from "./machine.ts";
import { type BenchReport, type BenchResult, formatTable, type Skipped } from "./report.ts";
import { SUITE } from "./suite.ts";
import { findTools } from "./tools.ts";
import { Workbench } from "./workbench.ts";

const USAGE =
  `usage: deno task bench [--quick] [--json] [--only PATTERN] [--out FILE] [--svg FILE] [--rounds N] [--list]

  --quick         less data, median of 3 rounds, two minutes; results under load only with --only
  --json          print one JSON object instead of the table
  --only PATTERN  only results whose name matches this regular expression
  --out FILE      also write the JSON object to FILE
  --svg FILE      also draw the chart into FILE
  --rounds N      our runs of each result (default 5; 3 with --quick); the peer runs once more
  --list          print the names and end

DIPC_LIBUCP chooses another libucp, DIPC_PERFTEST its ucx_perftest, DIPC_PYTHON a Python with pyarrow.`;

/**
 * Runs the benchmark.
 *
 * @param args What follows `bench` on the command line
 * @returns the exit status: 0 if every chosen comparison was made, 1 if one failed or had no peer, 2 for usage
 */
export async function runBench(args: string[]): Promise<number> {
  const unknown: string[] = [];
  const options = parseArgs(args, {
    boolean: ["quick", "json", "list", "help"],
    string: ["only", "out", "svg", "rounds"],
    alias: { h: "help" },
    unknown: (argument) => {
      unknown.push(argument);
      return false;
    },
  });
  const rounds = options.rounds === undefined ? (options.quick ? 3 : 5) : Number(options.rounds);
  let only: RegExp;
  try {
    if (unknown.length > 0) throw new Error(`unknown argument ${unknown[0]}`);
    if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${options.rounds}: expected 1 or more`);
    only = new RegExp(options.only ?? "");
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  const isShort = options.quick && options.only === undefined && !options.list;
  const chosen = SUITE.filter(({ name, isLong }) => only.test(name) && !(isShort && isLong));
  if (options.list) {
    console.log(chosen.map(({ name }) => name).join("\n"));
    return 0;
  }
  if (chosen.length === 0) {
    console.error(`--only ${options.only}: no such result; deno task bench --list names them`);
    return 2;
  }

  const say = (line: string) => console.error(line);
  const begin = performance.now();
  const date = new Date().toISOString();
  const tools = await findTools(say);
  const cores = await chooseCores();
  if (cores === null) say("nothing is pinned: fewer than two cores, or no taskset");
  const results: BenchResult[] = [];
  const skipped: Skipped[] = [];
  const failed: Skipped[] = [];
  const bench = await Workbench.create(tools, cores);
  try {
    for (const comparison of chosen) {
      const { name, needs } = comparison;
      if (needs !== null && tools[needs] === null) {
        const reason = needs === "python"
          ? "no Python with pyarrow was found"
          : "no ucx_perftest of this libucp was found";
        skipped.push({ name, reason });
        say(`${name}: skipped, ${reason}`);
        continue;
      }
      const start = performance.now();
      try {
        const found = await compare(comparison, bench, options.quick, rounds);
        results.push(...found);
        const { ratio, peerName } = found[0];
        say(`${name}: ${ratio.toFixed(2)}× ${peerName} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
      } catch (error) {
        const reason = textOf(error);
        failed.push({ name, reason });
        say(`${name}: FAILED, ${reason}`);
      }
    }
  } finally {
    await bench.close();
  }
  const report: BenchReport = {
    date,
    quick: options.quick,
    seconds: (performance.now() - begin) / 1000,
    machine: machineFacts(),
    cores,
    libucp: { ...tools.libucp, path: shortPath(tools.libucp.path) },
    pyarrow: tools.python?.pyarrow ?? null,
    ucxSettings: bench.ucxSettings,
    results,
    skipped,
    failed,
  };
  if (options.json) console.log(JSON.stringify(report));
  else console.log(["", ...formatTable(report)].join("\n"));
  if (options.out !== undefined) await Deno.writeTextFile(options.out, JSON.stringify(report, null, 2) + "\n");
  if (options.svg !== undefined) await Deno.writeTextFile(options.svg, drawChart(report));
  return failed.length + skipped.length > 0 ? 1 : 0;
}

/** A path without the name of the user's home. */
function shortPath(path: string): string {
  const home = Deno.env.get("HOME");
  return home && path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}

if (import.meta.main) Deno.exit(await runBench(Deno.args));
