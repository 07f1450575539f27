/**
 * ADBC with real databases: SQLite, DuckDB and PostgreSQL.
 *
 * @module
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { type AdbcDatabase, type ForeignStream, fromQuery, openDatabase } from "../../adbc.ts";
import { connect, serve } from "../../mod.ts";
import type { AdbcDrivers } from "../../tools/peers.ts";
import { assertDipcError } from "../support/assert.ts";
import { duckDbTest } from "../support/duckdb.ts";
import { settled } from "../support/c_data.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peers, peerTest } from "../support/peers.ts";
import { type PostgresServer, startPostgres } from "../support/postgres.ts";

/** Every type of PostgreSQL that its driver gives, with values at the borders, and NULL. */
const POSTGRES_TYPES = `select * from (values
  (true, 1::int2, (-2147483648)::int4, 9223372036854775807::int8, 1.5::float4, '-infinity'::float8, 'ü'::text, 'ab'::char(5),
   '\\x00ff'::bytea, 12345.678900::numeric, 'infinity'::numeric, 12.34::money, 7::oid, '0044-03-15 BC'::date,
   '2026-11-29 12:34:56.789012'::timestamp, '1999-12-31 23:59:59+05'::timestamptz, '24:00'::time, '1 mon -2 days 03:00'::interval,
   '{"a": [1, null]}'::json, '{"b": 2}'::jsonb, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, array[1, null, 3],
   array['x', 'y'], '192.168.0.1/24'::inet, '10:00+02'::timetz, b'101', int4range(1, 5), '(1,2)'::point)) t(
  b, i2, i4, i8, f4, f8, t, c, y, n, ni, m, o, d, ts, tz, tm, iv, j, jb, u, ia, ta, ip, tt, bi, r, p)
  union all select ${Array(28).fill("null").join(", ")}`;

/** The columns whose types the driver also ingests as what they were. */
const INGESTED = "b, i2, i4, i8, f4, f8, t, y, d, ts, tz, tm, iv, j, u, ia, ta";

const SQLITE_ROWS = `with recursive n(i) as (select 0 union all select i + 1 from n where i < 4999)
  select i, i * 0.5 as half, 'row ' || i as label, x'00ff' as bytes, nullif(i % 3, 0) as gap from n`;

/** What Python's driver manager says about results of the same driver. */
async function comparePython(adbc: AdbcDrivers, task: Readonly<Record<string, unknown>>): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(peers.python!, {
    args: ["tests/python/adbc_equal.py", JSON.stringify(task)],
    cwd: new URL("../..", import.meta.url),
    env: { PYTHONPATH: adbc.packages },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Rows of a stream as plain objects. */
async function rowsOf(stream: Promise<ForeignStream>): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (using batch of await stream) rows.push(...batch.toArray().map((row) => JSON.parse(JSON.stringify(row))));
  return rows;
}

/** Serves a query, fetches it by UCX, and ingests what comes into a table. @returns Rows that were written */
async function copyByUcx(database: AdbcDatabase, sql: string, table: string): Promise<number | null> {
  await using server = await serve({ datasets: { q: await fromQuery(database, sql) } });
  await using stream = await connect(server.datasets[0].uris[0]);
  await using connection = await database.connect();
  return await connection.ingest(table, stream);
}

peerTest(
  ["adbc", "python", "ucx"],
  "SQLite: rows go by UCX into another table, equal for pyarrow",
  async ({ adbc }) => {
    using folder = new TemporaryFolder();
    const options = { uri: folder.file("test.db") };
    {
      await using database = await openDatabase(adbc.sqlite, options);
      {
        await using connection = await database.connect();
        await connection.execute("pragma journal_mode = wal"); // readers then do not keep writers out
      }
      assertEquals(await copyByUcx(database, SQLITE_ROWS, "rows"), 5000);
      assertEquals(await copyByUcx(database, "select * from rows", "copy"), 5000);
      await using connection = await database.connect();
      // The type of a column is that of its first 1,024 values.
      await connection.execute("insert into rows(i, half) values (5000, 'text')");
      const { code, foreign } = await assertDipcError("io", "Type mismatch", async () => {
        for await (const batch of await connection.query("select half from rows")) batch[Symbol.dispose]();
      });
      assertEquals([code, foreign?.system], ["io", "errno"]);
      await connection.execute("delete from rows where i = 5000");
    }
    const pairs = [["select * from rows", "select * from copy"], [SQLITE_ROWS, "select * from rows"]];
    console.log(await comparePython(adbc, { driver: adbc.sqlite, options, pairs }));
    await settled();
  },
);

peerTest(["adbc"], "SQLite: transactions, metadata, parameters and errors", async ({ adbc }) => {
  await using database = await openDatabase(adbc.sqlite, { uri: ":memory:" });
  await using connection = await database.connect();
  await connection.ingest("t", tableFromArrays({ n: Int32Array.of(1, 2, 3), s: ["x", "y", "z"] }));
  await connection.setAutocommit(false);
  assertEquals(await connection.getOption("adbc.connection.autocommit"), "false");
  assertEquals(await connection.execute("delete from t where n > 1"), 2);
  await connection.rollback();
  await connection.execute("update t set s = 'w' where n = 3");
  await connection.commit();
  await connection.setAutocommit(true);
  await assertDipcError("adbc", "INVALID_STATE", () => connection.commit());
  const parameters = tableFromArrays({ p: Int32Array.of(3, 1) });
  const found = await rowsOf(connection.query("select s from t where n = ?", { parameters }));
  assertEquals(found, [{ s: "w" }, { s: "x" }]);
  assertEquals(await connection.tableTypes(), ["table", "view"]);
  assertEquals(String((await connection.tableSchema("t")).schema), "Schema<{ 0: n: Int64, 1: s: Utf8 }>");
  await assertDipcError("not_found", "", () => connection.tableSchema("none"));
  const info = await connection.info(["vendorName", "driverAdbcVersion"]);
  assertEquals([...info], [["vendorName", "SQLite"], ["driverAdbcVersion", 1_001_000n]]);
  // deno-lint-ignore no-explicit-any -- a tree of four levels
  const [{ catalog_db_schemas: [{ db_schema_tables: tables }] }]: any[] = await rowsOf(
    connection.getObjects({ depth: "tables", table: "t", tableTypes: ["table"] }),
  );
  assertEquals(tables.map((it: { table_name: string }) => it.table_name), ["t"]);
  await assertDipcError("invalid_argument", "no such column: nope", () => connection.query("select nope"));
  await assertDipcError("adbc", "ALREADY_EXISTS", () => connection.ingest("t", tableFromArrays({ a: [1] })));
  await assertDipcError("unsupported", "NOT_IMPLEMENTED", () => connection.getStatistics());
});

duckDbTest([], "DuckDB: rows, ingestion in every mode, statistics, cancelling", async ({ library }) => {
  await using database = await openDatabase(library, {}, { entrypoint: "duckdb_adbc_init" });
  await using connection = await database.connect();
  const table = tableFromArrays({ a: Int32Array.of(1, 2, 3), s: ["x", "y", "z"] });
  const modes = [["create", 3], ["append", 6], ["replace", 3], ["create_append", 6]] as const;
  for (const [mode, count] of modes) {
    assertEquals(await connection.ingest("t", table, { mode }), 3);
    assertEquals((await rowsOf(connection.query("select count(*)::int as n from t")))[0].n, count, mode);
  }
  await assertDipcError("adbc", "ALREADY_EXISTS", () => connection.ingest("t", table));
  // Every type passes, also nested ones and views of both kinds.
  const nested =
    `select i, i / 7 as d, [i, null] as l, {'a': i, 'b': [str]} as s, map([str], [i]) as m, str, str::blob as y,
    interval (i) days as iv, make_date(2026, 1, 1) + i::int as dt, i % 2 = 0 as b, i::decimal(38, 3) as dec, uuid() as u
    from (select i, 'value ' || i as str from range(10000) r(i))`;
  await connection.execute(`create table n as ${nested}`);
  const own = await connection.query("select * from n");
  await assertDipcError("invalid_argument", "use two connections", () => connection.ingest("n2", own));
  await own.cancel();
  await using other = await database.connect();
  assertEquals(await connection.ingest("n2", await other.query("select * from n")), 10_000);
  const [{ same }] = await rowsOf(
    connection.query("select (select count(*) from (select * from n intersect select * from n2))::int as same"),
  );
  assertEquals(same, 10_000);
  assertGreater((await rowsOf(connection.getStatistics({ table: "t" }))).length, 0);
  await using statement = await connection.createStatement();
  await statement.setSqlQuery("select a + $1::int as b from t where s = $2");
  await statement.prepare();
  assertEquals((await statement.parameterSchema()).schemaHeader.kind, "schema");
  await statement.bind(tableFromArrays({ p: Int32Array.of(10), q: ["y"] }));
  assertEquals(String((await statement.executeSchema()).schema), "Schema<{ 0: b: Int32 }>");
  assertEquals(await rowsOf(statement.query()), [{ b: 12 }, { b: 12 }]);
  const signal = AbortSignal.timeout(50);
  const endless = "select count(*) from range(100000000000) a, range(100000) b where hash(a.range, b.range) = 1";
  // DuckDB 2.0 executes it as it is read.
  await assertDipcError("cancelled", "", () => rowsOf(connection.query(endless, { signal })));
  assertEquals(await rowsOf(connection.query("select 2 as two")), [{ two: 2 }]);
});

peerTest(["adbc", "postgres", "python", "ucx"], "PostgreSQL", async ({ adbc, postgres }, t) => {
  await using server = await startPostgres(postgres);
  const { uri } = server;
  await using database = await openDatabase(adbc.postgresql, { uri });

  await t.step("rows of every type are equal for pyarrow, by Flight and after UCX and ingestion", async () => {
    assertEquals(await copyByUcx(database, `select ${INGESTED} from (${POSTGRES_TYPES}) x`, "copy"), 2);
    await using served = await serve({
      datasets: { types: await fromQuery(database, POSTGRES_TYPES) },
      flight: { port: 0 },
    });
    const said = await comparePython(adbc, {
      driver: adbc.postgresql,
      options: { uri },
      pairs: [[`select ${INGESTED} from (${POSTGRES_TYPES}) x`, "select * from copy"]],
      flights: { types: POSTGRES_TYPES },
      location: served.flight!.location,
    });
    console.log(said);
    assertEquals(said.match(/2 rows/g)?.length, 2);
    await settled();
  });

  await t.step("many rows stream with bounded batches, and leaving early does not wait for the rest", async () => {
    await using connection = await database.connect();
    const sql = "select i, i::float8 / 3 as f, md5(i::text) as s from generate_series(1, 200000) t(i)";
    const options = { "adbc.postgresql.batch_size_hint_bytes": 1_000_000 };
    let rows = 0, sum = 0n;
    const batches: number[] = [];
    for await (using batch of await connection.query(sql, { options })) {
      rows += batch.numRows;
      batches.push(batch.numRows);
      for (const value of batch.getChild("i")!) sum += BigInt(value);
    }
    assertEquals([rows, sum], [200_000, 200_000n * 200_001n / 2n]);
    assertGreater(batches.length, 5);
    const endless = "select generate_series(1, 100000000) as i";
    const first = await connection.query(endless, { options: { "adbc.postgresql.batch_size_hint_bytes": 1000 } });
    (await first.next())![Symbol.dispose]();
    await first.cancel();
    assertEquals(await rowsOf(connection.query("select 1 as one")), [{ one: 1 }]);
  });

  await t.step("a query that waits is cancelled, and the connection goes on", async () => {
    await using connection = await database.connect();
    const signal = AbortSignal.timeout(50);
    await assertDipcError("cancelled", "", () => connection.execute("select pg_sleep(1000)", { signal }));
    await using statement = await connection.createStatement();
    await statement.setSqlQuery("select pg_sleep(1000)");
    const waiting = assertDipcError("cancelled", "SQLSTATE 57014", () => statement.execute());
    await new Promise((resolve) => setTimeout(resolve, 50));
    await statement.cancel();
    await waiting;
    assertEquals(await rowsOf(connection.query("select 1 as one")), [{ one: 1 }]);
  });

  await t.step("errors have SQLSTATE and details; transactions, constraints, metadata", async () => {
    await using connection = await database.connect();
    const { foreign } = await assertDipcError("not_found", "42P01", () => connection.query("select * from nothing"));
    const details = new Map(foreign!.details!.map(({ key, value }) => [key, new TextDecoder().decode(value)]));
    assertEquals([foreign!.sqlState, details.get("PG_DIAG_SQLSTATE")], ["42P01", "42P01"]);
    await connection.execute("create table k (id int primary key, name text)");
    await connection.setAutocommit(false);
    assertEquals(await connection.ingest("k", tableFromArrays({ id: Int32Array.of(1, 2) }), { mode: "append" }), 2);
    await connection.rollback();
    assertEquals(await server.psql("select count(*) from k"), "0");
    await connection.ingest("k", tableFromArrays({ id: Int32Array.of(1, 2) }), { mode: "append" });
    await connection.commit();
    await connection.setAutocommit(true);
    assertEquals(await server.psql("select sum(id) from k"), "3");
    await assertDipcError(
      "invalid_data",
      "INTEGRITY, SQLSTATE 23505",
      () => connection.execute("insert into k values (1)"),
    );
    await assertDipcError("io", "", () => openThen(adbc, "postgresql://nobody@127.0.0.1:9/none"));
    // deno-lint-ignore no-explicit-any -- a tree of four levels
    const [{ catalog_db_schemas: [{ db_schema_tables: [table] }] }]: any[] = await rowsOf(
      connection.getObjects({ depth: "all", dbSchema: "public", table: "k" }),
    );
    assertEquals(table.table_columns.map((it: { column_name: string }) => it.column_name), ["id", "name"]);
    assertEquals(table.table_constraints[0].constraint_type, "PRIMARY KEY");
  });

  await t.step("clients of one server have their queries executed concurrently", async () => {
    await using connection = await database.connect();
    await connection.execute("select pg_advisory_lock(7)");
    const sql = "select 1 as one from (select pg_advisory_lock_shared(7)) locked, generate_series(1, 10)";
    await using served = await serve({ datasets: { q: await fromQuery(database, sql) } });
    const fetched = Promise.all(
      Array.from({ length: 4 }, async () => await (await connect(served.datasets[0].uris[0])).toTable()),
    );
    while (await activeQueries(server) < 4) await new Promise((resolve) => setTimeout(resolve, 20));
    await connection.execute("select pg_advisory_unlock(7)");
    assertEquals((await fetched).map(({ numRows }) => numRows), [10, 10, 10, 10]);
    // A client that leaves has its query cancelled.
    await connection.execute("select pg_advisory_lock(7)");
    const abort = new AbortController();
    const leaving = connect(served.datasets[0].uris[0], { signal: abort.signal });
    leaving.catch(() => {});
    while (await activeQueries(server) < 1) await new Promise((resolve) => setTimeout(resolve, 20));
    abort.abort();
    await assertDipcError("cancelled", "", () => leaving);
    while (await activeQueries(server) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });

  await t.step("a server that ends is an error", async () => {
    const connection = await database.connect();
    const running = connection.query("select pg_sleep(1000)").then((stream) => stream.next());
    await new Promise((resolve) => setTimeout(resolve, 50));
    running.catch(() => {});
    await server.stop();
    const { foreign } = await assertDipcError("io", "", () => running);
    assertEquals(foreign?.system, "adbc");
    await connection.close();
  });
});

/** Opens a database and connects to it. */
async function openThen(adbc: AdbcDrivers, uri: string): Promise<void> {
  await using database = await openDatabase(adbc.postgresql, { uri });
  await database.connect();
}

/** Queries that the server executes for others than psql. */
async function activeQueries(server: PostgresServer): Promise<number> {
  const sql = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()";
  return Number(await server.psql(sql));
}
