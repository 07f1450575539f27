/**
 * The options `catalog` and `schema` of a client's session, in which its statements look for names.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Table, tableFromArrays } from "apache-arrow";
import type { FlightSqlClient } from "../../flight_sql.ts";
import type { SessionValue } from "../../flight.ts";
import { assertDipcError } from "../support/assert.ts";
import { peerTest } from "../support/peers.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

/** A name that is written in quotes alone, and whose quotes would end a text. */
const ODD = `o"d'd. "; drop`;

/** A server with tables `t` that say where they are. */
async function startServer(options: Parameters<typeof sqlServer>[0] = {}) {
  const place = tableFromArrays({ place: ["datasets.main"] });
  const server = await sqlServer({ tables: { t: place, single: place }, ...options });
  if (options.isReadOnly) return server;
  await using client = await server.client();
  for (const schema of ["main", "s", ODD]) {
    const name = `"${schema.replaceAll('"', '""')}"`;
    await client.update(`create schema if not exists tables.${name}`);
    await client.update(`create table tables.${name}.t as select $$tables.${schema}$$ as place`);
  }
  return server;
}

const placeOf = async (client: Pick<FlightSqlClient, "query">) =>
  (await rowsOf(client, "select place from t"))[0].place;

/** Sets options. @returns why some were not set */
async function set(client: FlightSqlClient, options: Record<string, SessionValue>): Promise<Record<string, string>> {
  return await client.flight.setSessionOptions(options);
}

const optionsOf = (client: FlightSqlClient) => client.flight.getSessionOptions();

peerTest(["duckdb"], "catalog and schema of a session say where its statements look for names", async () => {
  await using server = await startServer();
  await using client = await server.client({ cookies: true });
  await using other = await server.client({ cookies: true });
  assertEquals(await placeOf(client), "tables.main");
  const places: readonly [options: Record<string, SessionValue>, place: string][] = [
    [{ schema: "s" }, "tables.s"],
    [{ schema: ODD }, `tables.${ODD}`],
    // A catalog that has no such schema begins with its own.
    [{ catalog: "datasets" }, "datasets.main"],
    [{ catalog: "TABLES", schema: "S" }, "tables.s"],
    [{ catalog: "tables" }, "tables.s"],
    [{ schema: null }, "tables.main"],
    [{ catalog: "", schema: "s" }, "tables.s"],
    [{ catalog: null, schema: null }, "tables.main"],
  ];
  for (const [options, place] of places) {
    assertEquals(await set(client, options), {}, place);
    assertEquals([await placeOf(client), await placeOf(other)], [place, "tables.main"], JSON.stringify(options));
  }
  assertEquals(await optionsOf(client), {});
  await set(client, { catalog: "datasets" });
  assertEquals(await optionsOf(client), { catalog: "datasets" });
  // Both catalogs are looked through by default alone.
  assertEquals(await rowsOf(client, "from single"), [{ place: "datasets.main" }]);
  await set(client, { catalog: "tables" });
  await assertDipcError("not_found", "single", () => rowsOf(client, "from single"));
  await client.flight.closeSession();
  assertEquals(await rowsOf(client, "from single"), [{ place: "datasets.main" }]);
});

peerTest(["duckdb"], "an unknown catalog or schema is INVALID_VALUE, and nothing changes", async () => {
  await using server = await startServer();
  await using client = await server.client({ cookies: true });
  await set(client, { catalog: "tables", schema: "s" });
  const refused: readonly [options: Record<string, SessionValue>, errors: Record<string, string>][] = [
    [{ catalog: "nowhere" }, { catalog: "invalid value" }],
    [{ schema: "nowhere" }, { schema: "invalid value" }],
    [{ catalog: "datasets", schema: "s" }, { catalog: "error", schema: "invalid value" }],
    [{ catalog: "nowhere", schema: "main" }, { catalog: "invalid value", schema: "error" }],
    [{ schema: `main"; drop schema tables.s; --` }, { schema: "invalid value" }],
    [{ catalog: "system" }, { catalog: "invalid value" }],
    [{ catalog: "memory" }, { catalog: "invalid value" }],
    [{ catalog: 1n }, { catalog: "invalid value" }],
    [{ schema: ["main"] }, { schema: "invalid value" }],
  ];
  for (const [options, errors] of refused) {
    assertEquals(await set(client, options), errors);
    assertEquals(await optionsOf(client), { catalog: "tables", schema: "s" });
    assertEquals(await placeOf(client), "tables.s");
  }
  // Other options are none of it.
  assertEquals(await set(client, { schema: "nowhere", color: "red" }), { schema: "invalid value" });
  assertEquals(await optionsOf(client), { catalog: "tables", schema: "s", color: "red" });
  // One that is gone by now is the statement's error.
  await set(client, { schema: ODD });
  await client.update(`drop schema tables."${ODD.replaceAll('"', '""')}" cascade`);
  await assertDipcError("not_found", "", () => placeOf(client));
  assertEquals(await set(client, { schema: null }), {});
  assertEquals(await placeOf(client), "tables.main");
});

peerTest(["duckdb"], "a transaction's and a prepared statement's place is that of when they were sent", async () => {
  await using server = await startServer();
  await using client = await server.client({ cookies: true });
  const query = "select place from t";
  const placeBy = async (
    prepared: { query: FlightSqlClient["query"] | (() => ReturnType<FlightSqlClient["query"]>) },
  ) => (await (await (prepared.query as () => ReturnType<FlightSqlClient["query"]>)()).toTable()).getChildAt(0)!.get(0);
  await using outside = await client.prepare(query);
  await using transaction = await client.beginTransaction();
  assertEquals(await placeOf(transaction), "tables.main");
  await using inside = await transaction.prepare(query);
  await set(client, { schema: "s" });
  await using later = await client.prepare(query);
  await using laterInside = await transaction.prepare(query);
  for (let round = 0; round < 2; round++) {
    assertEquals(await placeOf(transaction), "tables.s");
    assertEquals([await placeBy(outside), await placeBy(inside)], ["tables.main", "tables.main"]);
    assertEquals([await placeBy(later), await placeBy(laterInside)], ["tables.s", "tables.s"]);
    // What changes the catalog makes DuckDB prepare the statements anew.
    await transaction.update(`create table made${round} (i integer)`);
  }
  await transaction.update("insert into t values ('more')");
  await transaction.ingest("loaded", new Table(tableFromArrays({ i: Int32Array.of(1) })));
  await transaction.commit();
  assertEquals((await rowsOf(client, "from tables.s.t")).length, 2);
  const schemas =
    "select table_schema as s, table_name as n from information_schema.tables where n ~ 'made.|loaded' order by n";
  assertEquals(await rowsOf(client, schemas), [{ s: "s", n: "loaded" }, { s: "s", n: "made0" }, {
    s: "s",
    n: "made1",
  }]);
  assertEquals(await client.update("insert into t values ('most')"), 1);
  assertEquals(await client.update("delete from t where place = ?", { parameters: ["most"] }), 1);
  const schema = await client.querySchema("from loaded");
  assertEquals(schema.kind, "schema");
});

peerTest(["duckdb"], "a read-only server has the catalog of its datasets", async () => {
  await using server = await startServer({ isReadOnly: true });
  await using client = await server.client({ cookies: true });
  assertEquals(await set(client, { catalog: "tables" }), { catalog: "invalid value" });
  for (const [name, value] of [["catalog", "datasets"], ["schema", "main"]]) {
    assertEquals(await set(client, { [name]: value }), {});
    assertEquals(await placeOf(client), "datasets.main");
  }
});
