/**
 * A Parquet file to Parquet: `dipc get FILE -o FILE` next to a program on pyarrow that does the same, process and all.
 *
 * @module
 */
import { fetchData } from "../tools/data.ts";
import type { Comparison, Measured } from "./compare.ts";

/** Rows of the data set. */
const ROWS = 3_000_000;
const PEER = new URL("./peers/parquet_peer.py", import.meta.url).pathname;

/** Runs a program to its end; answers the rate. */
async function rateOf(command: string, args: readonly string[]): Promise<Measured> {
  const start = performance.now();
  const program = new Deno.Command(command, { args: [...args], stdout: "null", stderr: "piped" });
  const { success, stderr } = await program.output();
  const seconds = (performance.now() - start) / 1000;
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr).trim()}`);
  return { value: ROWS / seconds };
}

/** What `dipc get` writes is compared with its source, every value, before anything is measured. */
export const PARQUET_OUT: Comparison = {
  ...{ name: "parquet-out/rows", unit: "rows/s", peerName: "pyarrow, read_table and write_table" },
  ...{ target: 0.8, needs: "python" },
  async prepare(bench) {
    const source = await fetchData("flights-3m.parquet", console.error);
    const [ours, theirs] = ["ours", "peer"].map((name) => `${bench.folder}/${name}.parquet`);
    const command = ["run", "-A", "--no-prompt", ...bench.tools.denoArgs, import.meta.resolve("../cli.ts")];
    const runOurs = () => rateOf(Deno.execPath(), [...command, "get", source, "-o", ours]);
    const runPeer = (...args: string[]) => rateOf(bench.tools.python!.path, [PEER, ...args]);
    await runOurs();
    await runPeer("check", source, ours);
    return {
      ours: runOurs,
      peer: () => runPeer("copy", source, theirs),
      async close() {
        for (const path of [ours, theirs]) await Deno.remove(path).catch(() => {});
      },
    };
  },
};
