/**
 * A client of a Flight SQL server: makes a table, writes rows with one prepared statement, queries them, and asks what tables
 * there are.
 *
 * ```sh
 * deno run --allow-net=127.0.0.1 examples/sql.ts grpc://127.0.0.1:31337
 * ```
 *
 * @module
 */
import { FlightSqlClient } from "@arrow-ucx/dipc/flight-sql";
import { tableFromArrays } from "apache-arrow";

const [uri = "grpc://127.0.0.1:31337"] = Deno.args;
await using client = await FlightSqlClient.connect(uri);

{
  await using transaction = await client.beginTransaction();
  await transaction.update("create table trips (id integer, city text, fare real)");
  const trips = tableFromArrays({
    id: Int32Array.from({ length: 1000 }, (_, i) => i),
    city: Array.from({ length: 1000 }, (_, i) => ["Lyon", "Nantes", "Nice"][i % 3]),
    fare: Float64Array.from({ length: 1000 }, (_, i) => i / 10),
  });
  const rows = await transaction.update("insert into trips values (?, ?, ?)", { parameters: trips });
  console.log(`${rows} rows written`);
  await transaction.commit();
}

await using byCity = await client.prepare("select count(*) as n, max(fare) as most from trips where city = ?");
for (const city of ["Lyon", "Nice"]) {
  const [row] = (await (await byCity.query({ parameters: [city] })).toTable()).toArray();
  console.log(`${city}: ${row.n} trips, at most ${row.most}`);
}

for (const { name, type } of await client.tables({ table: "trips" })) console.log(`${name} is a ${type}`);
await client.update("drop table trips");
