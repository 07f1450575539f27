/**
 * A Parquet file to CSV and NDJSON: `dipc get FILE -o FILE` next to programs of others that do the same, process and all.
 *
 * @module
 */
import { fetchData } from "../tools/data.ts";
import type { Comparison, Measured } from "./compare.ts";
import type { Workbench } from "./workbench.ts";

/** Rows of the data set. */
const ROWS = 3_000_000;
const PEER = new URL("./peers/text_peer.py", import.meta.url).pathname;

/** Runs a program to its end; answers the seconds it took. */
async function seconds(command: string, args: readonly string[]): Promise<number> {
  const start = performance.now();
  const { success, stderr } = await new Deno.Command(command, { args: [...args], stdout: "null", stderr: "piped" })
    .output();
  const end = performance.now();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr).trim()}`);
  return (end - start) / 1000;
}

function textFile(format: "csv" | "ndjson", peerName: string): Comparison {
  return {
    ...{ name: `${format}/rows`, unit: "rows/s", peerName, target: 0.6, needs: "python" },
    async prepare(bench: Workbench) {
      const parquet = await fetchData("flights-3m.parquet", console.error);
      const python = bench.tools.python!.path;
      const [ours, theirs] = ["ours", "peer"].map((name) => `${bench.folder}/${name}.${format}`);
      const program = ["run", "-A", "--no-prompt", ...bench.tools.denoArgs, import.meta.resolve("../cli.ts")];
      const runOurs = () => seconds(Deno.execPath(), [...program, "get", parquet, "-o", ours]);
      await runOurs();
      await seconds(python, [PEER, "check", parquet, ours]);
      const figure = (time: number): Measured => ({ value: ROWS / time });
      return {
        ours: async () => figure(await runOurs()),
        peer: async () => figure(await seconds(python, [PEER, format, parquet, theirs])),
        async close() {
          for (const path of [ours, theirs]) await Deno.remove(path).catch(() => {});
        },
      };
    },
  };
}

/** In the order in which they run and are printed. */
export const TEXT_FILES: readonly Comparison[] = [
  textFile("csv", "pyarrow, read_table and write_csv"),
  textFile("ndjson", "DuckDB, COPY to JSON"),
];
