/**
 * A Parquet file to CSV, NDJSON and Parquet: `dipc get FILE -o FILE` next to programs of others that do the same, process and all.
 *
 * @module
 */
import { fetchData } from "../tools/data.ts";
import type { Comparison, Measured } from "./compare.ts";
import type { Workbench } from "./workbench.ts";

/** Rows of the data set. */
const ROWS = 3_000_000;

/** Runs a program to its end; answers the rate. */
async function rateOf(command: string, args: readonly string[]): Promise<Measured> {
  const start = performance.now();
  const program = new Deno.Command(command, { args: [...args], stdout: "null", stderr: "piped" });
  const { success, stderr } = await program.output();
  const seconds = (performance.now() - start) / 1000;
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr).trim()}`);
  return { value: ROWS / seconds };
}

/** One format; `program` of the peers checks what `dipc get` wrote, row by row, before anything is measured. */
function file(name: string, format: string, program: string, peerName: string, target: number): Comparison {
  const peer = new URL(`./peers/${program}`, import.meta.url).pathname;
  return {
    ...{ name, unit: "rows/s", peerName, target, needs: "python" },
    async prepare(bench: Workbench) {
      const source = await fetchData("flights-3m.parquet", console.error);
      const [ours, theirs] = ["ours", "peer"].map((name) => `${bench.folder}/${name}.${format}`);
      const command = ["run", "-A", "--no-prompt", ...bench.tools.denoArgs, import.meta.resolve("../cli.ts")];
      const runOurs = () => rateOf(Deno.execPath(), [...command, "get", source, "-o", ours]);
      const runPeer = (...args: string[]) => rateOf(bench.tools.python!.path, [peer, ...args]);
      await runOurs();
      await runPeer("check", source, ours);
      return {
        ours: runOurs,
        peer: () => runPeer(format, source, theirs),
        async close() {
          for (const path of [ours, theirs]) await Deno.remove(path).catch(() => {});
        },
      };
    },
  };
}

/** In the order in which they run and are printed. */
export const FILES: readonly Comparison[] = [
  file("csv/rows", "csv", "text_peer.py", "pyarrow, read_table and write_csv", 0.6),
  file("ndjson/rows", "ndjson", "text_peer.py", "DuckDB, COPY to JSON", 0.6),
  file("parquet-out/rows", "parquet", "parquet_peer.py", "pyarrow, read_table and write_table", 0.8),
];
