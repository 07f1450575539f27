/**
 * Files whose batches are longer than what clients of gRPC take by default, 4 MiB, unless they are cut.
 *
 * @module
 */
import { assert } from "@std/assert";
import { python } from "./python.ts";

/** What a table holds; the sum is that of the first column. */
export interface Counts {
  readonly rows: number;
  readonly columns: number;
  readonly batches: number;
  readonly sum: number;
}

/** Files, and what is in them; the sum is that of the first column. */
export const LARGE_FILES = {
  "doubles.parquet": { rows: 100_000, columns: 20, sum: 4_999_950_000 },
  "large.arrow": { rows: 1_000_000, columns: 1, sum: 499_999_500_000 },
  "columns.arrow": { rows: 3, columns: 40_000, sum: 6 },
} as const;

const WRITER = `
import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq
folder = sys.argv[1]
pq.write_table(pa.table({f"c{i}": np.arange(100_000) * 1.0 for i in range(20)}), f"{folder}/doubles.parquet")
def write(name, table):
    with pa.OSFile(f"{folder}/{name}.arrow", "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
write("large", pa.table({"n": np.arange(1_000_000) * 1.0}))
write("columns", pa.table([pa.array([1.0, 2.0, 3.0])] * 40_000, names=[f"c{i}" for i in range(40_000)]))
`;

/**
 * Writes, with pyarrow, a Parquet file of 20 columns of doubles, and Arrow files with a batch of 8 MB and with 40,000
 * columns.
 *
 * @param folder Existing folder
 */
export async function writeLargeFiles(folder: string): Promise<void> {
  await runProgram(WRITER, [folder]);
}

const COUNTER = `
import json, sys, pyarrow as pa, pyarrow.compute as pc
found = []
for path in sys.argv[1:]:
    table = pa.ipc.open_stream(path).read_all()
    batches, total = table.column(0).num_chunks, pc.sum(table.column(0)).as_py()
    found.append({"rows": table.num_rows, "columns": table.num_columns, "batches": batches, "sum": total})
print(json.dumps(found))
`;

/** What Arrow streams hold, as pyarrow reads them. */
export async function countStreams(paths: readonly string[]): Promise<Counts[]> {
  return JSON.parse(await runProgram(COUNTER, paths));
}

async function runProgram(program: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(python!, { args: ["-c", program, ...args] }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
