/**
 * A dictionary that grows before each batch, as pyarrow writes it: every way of reading it gives every value.
 *
 * `DIPC_DELTAS=100000` takes as many deltas; by default 1,500.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { dipc } from "../support/processes.ts";
import { runPython } from "../support/python.ts";

const COUNT = Number(Deno.env.get("DIPC_DELTAS") ?? 1500);

/** Value `i` of the dictionary, as `make_deltas.py` has it. */
const valueOf = (i: number): string | null => i % 10 === 9 ? null : i % 7 === 6 ? `v${i}"` : `v${i}`;
const rows = Array.from({ length: COUNT }, (_, i) => [valueOf(i), valueOf(0), valueOf(i)]).flat();
const lines = (write: (value: string | null) => string): string => rows.map((value) => `${write(value)}\n`).join("");
const quoted = (value: string): string => value.includes('"') ? `"${value.replaceAll('"', '""')}"` : value;

peerTest(["python", "duckdb"], `${COUNT} deltas of a dictionary, a batch after each`, async ({ duckdb }) => {
  using folder = new TemporaryFolder();
  const path = folder.file("deltas.arrows");
  assertEquals(await runPython("make_deltas.py", [path, String(COUNT)]), COUNT - 1);
  const csv = `d\n${lines((value) => value === null ? '""' : quoted(value))}`;
  const env = { DIPC_LIBDUCKDB: duckdb };
  const outputs: [args: string[], text: string][] = [
    [["get", path, "-o", "-", "--format", "csv"], csv],
    [["get", path, "-o", "-", "--format", "ndjson"], lines((d) => JSON.stringify({ d }))],
    [["query", path, "from t", "-o", "-", "--format", "csv"], csv],
  ];
  for (const [args, text] of outputs) {
    const { code, stdout, stderr } = await dipc(args, { env, timeoutMs: 300_000 });
    assertEquals(code, 0, stderr);
    assertEquals(stdout === text, true, `${args.join(" ")}: ${stdout.slice(0, 200)}`);
  }
});
