/**
 * Fills a table of PostgreSQL by ADBC, serves a query of it over UCX, and writes what a client receives into another table.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME \
 *   examples/postgres.ts postgresql://localhost/db /path/of/libadbc_driver_postgresql.so
 * ```
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { connect, serve } from "@arrow-ucx/dipc";
import { fromQuery, openDatabase } from "@arrow-ucx/dipc/adbc";

const [uri, driver = "adbc_driver_postgresql"] = Deno.args;
if (uri === undefined) throw new Error("usage: postgres.ts URI [DRIVER]");
await using database = await openDatabase(driver, { uri });
await using connection = await database.connect();

const numbers = Int32Array.from({ length: 100_000 }, (_, i) => i);
const table = tableFromArrays({ n: numbers, half: Float64Array.from(numbers, (n) => n / 2) });
console.log(`${await connection.ingest("dipc_numbers", table, { mode: "replace" })} rows into dipc_numbers`);

// Each client that fetches it has the query executed; other processes would use the URI, too.
const query = await fromQuery(database, "select n, half from dipc_numbers where n % 2 = 0");
await using server = await serve({ datasets: { even: query } });

await using stream = await connect(server.datasets[0].uris[0]);
console.log(`${await connection.ingest("dipc_even", stream, { mode: "replace" })} rows into dipc_even`);

for await (using batch of await connection.query("select count(*) as rows, sum(half) as total from dipc_even")) {
  const { rows, total } = batch.get(0)!;
  console.log(`${rows} rows, the sum of half is ${total}`);
}
