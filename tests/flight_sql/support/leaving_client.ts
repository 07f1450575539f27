/**
 * A client that uses a server in every way until it is killed: `leaving_client.ts LOCATION`.
 *
 * @module
 */
import { tableFromArrays } from "apache-arrow";
import { FlightSqlClient } from "../../../flight_sql.ts";

const client = await FlightSqlClient.connect(Deno.args[0]);
console.log("ready");

async function query(): Promise<void> {
  await using reader = await client.query("select range as n, 'row ' || range as s from range(1000000)");
  for await (using _ of reader) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function change(): Promise<void> {
  const transaction = await client.beginTransaction();
  await using insert = await transaction.prepare("insert into t values (?)");
  const rows = tableFromArrays({ i: Int32Array.from({ length: 50 }, (_, i) => i) });
  for (;;) await insert.update({ parameters: rows });
}

async function ingest(): Promise<void> {
  const rows = tableFromArrays({ i: Int32Array.from({ length: 100_000 }, (_, i) => i) });
  for (let i = 0;; i++) await client.ingest(`up${i}`, rows, { mode: "replace" });
}

async function endless(): Promise<void> {
  await client.query("select count(*) from range(100000000000)");
}

const query_ = async (): Promise<void> => {
  for (;;) await query();
};
await Promise.all([query_(), change(), ingest(), endless()]);
