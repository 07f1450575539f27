/**
 * Serves a Parquet file and reads it back as one table. The file is decoded as it is sent, in batches of `batchRows`.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME \
 *   --allow-read=.,$HOME/.cache/deno/npm examples/parquet.ts trips.parquet
 * ```
 *
 * The Parquet decoder is read from the folder in which Deno keeps npm packages (`deno info` names it), and runs in a worker,
 * whose program is read from this clone.
 *
 * @module
 */
import { connect, openPath, serve } from "@arrow-ucx/dipc";

const [path] = Deno.args;
if (path === undefined) throw new Error("usage: parquet.ts FILE.parquet");

const dataset = await openPath(path, { batchRows: 100_000 });
await using server = await serve({ datasets: { data: dataset } });
await using stream = await connect(server.datasets[0].uris);
const table = await stream.toTable();

console.log(`${table.numRows} rows, ${table.numCols} columns, ${table.batches.length} batches`);
for (const { name, type } of table.schema.fields) console.log(`${name}: ${type}`);
console.log(JSON.stringify(table.get(0), (_, value) => typeof value === "bigint" ? Number(value) : value));
