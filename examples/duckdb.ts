/**
 * Serves a query of DuckDB over UCX, has DuckDB run SQL over the stream that a client receives, and writes the result to Parquet.
 *
 * ```sh
 * deno run --allow-ffi --allow-env=DIPC_LIBUCP,DIPC_LIBDUCKDB,HOME,XDG_CACHE_HOME examples/duckdb.ts
 * ```
 *
 * DuckDB comes with `dipc setup duckdb`.
 *
 * @module
 */
import { connect, serve } from "@arrow-ucx/dipc";
import { fromDuckDb, openDuckDb } from "@arrow-ucx/dipc/duckdb";

await using database = await openDuckDb();
const trips = await fromDuckDb(database, "select i as id, i % 7 as day, i / 2 as fare from range(1000000) r(i)");
await using server = await serve({ datasets: { trips } });

// Another process would do the rest, with the URI.
await using stream = await connect(server.datasets[0].uris[0]);
await using local = await openDuckDb();
await using connection = await local.connect();
await using _ = await connection.registerStream("trips", stream);
const perDay = "select day, count(*) as trips, sum(fare) as fares from trips group by day order by day";
await connection.execute(`copy (${perDay}) to 'per_day.parquet'`);

for await (
  using batch of await connection.query("select sum(trips)::bigint as n, sum(fares) as f from 'per_day.parquet'")
) {
  const { n, f } = batch.get(0)!;
  console.log(`${n} trips for ${f} in per_day.parquet`);
}
