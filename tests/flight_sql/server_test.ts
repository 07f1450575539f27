/**
 * A server of Flight SQL: results of every size, transactions, prepared statements, and what it does when clients leave or ask too much.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { tableFromArrays } from "apache-arrow";
import { FlightClient } from "../../flight.ts";
import { type FlightSqlClient, type FlightSqlStatement, SqlInfo } from "../../flight_sql.ts";
import { packMessage, unpackMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { delay } from "../support/time.ts";
import { plainRows, rowsOf, sampleFiles, sqlServer } from "./support/sql_server.ts";

/** Rows that take more than a small result has bytes. */
const LARGE = "select range as n, 'row ' || range as s from range(300000)";

peerTest(
  ["duckdb"],
  "small results come by the connection of the query, large ones in parts that make up all rows once",
  async () => {
    await using sql = await sqlServer();
    await using client = await sql.client();
    const small = await client.execute("select 42 as x");
    assertEquals(small.endpoints.map(({ locations }) => locations), [[]]);
    assertEquals([small.totalRecords, small.ordered], [1n, false]);
    assertEquals(plainRows(await (await client.read(small)).toTable()), [{ x: 42 }]);
    // It is there as long as its ticket holds.
    assertEquals(plainRows(await (await client.read(small)).toTable()), [{ x: 42 }]);

    const large = await client.execute(LARGE);
    assertEquals([large.endpoints.length, large.totalRecords, large.ordered], [4, -1n, false]);
    assertEquals(large.endpoints[0].locations[0], sql.location);
    const table = await (await client.read(large)).toTable();
    const n = [...table.getChild("n")!].map(Number).sort((one, other) => one - other);
    assertEquals([table.numRows, n.every((value, i) => value === i)], [300_000, true]);
    await assertDipcError("busy", "fetched before", async () => await (await client.read(large)).toTable());

    const ordered = await client.execute(`${LARGE} order by n desc`);
    assertEquals([ordered.endpoints.length, ordered.ordered], [1, true]);
    const [first] = await (await client.read(ordered)).toTable();
    assertEquals(Number(first.n), 299_999);
  },
);

peerTest(
  ["duckdb"],
  "a client that reads only the first part gets all; one that leaves it takes the others with it",
  async () => {
    await using server = await sqlServer();
    await using client = await FlightClient.connect(server.location);
    const command = packMessage(sql.CommandStatementQuerySchema, { query: LARGE });
    const info = await client.getFlightInfo({ command });
    assertEquals((await (await client.doGet(info.endpoints[0].ticket)).toTable()).numRows, 300_000);
    assertEquals((await (await client.doGet(info.endpoints[3].ticket)).toTable()).numRows, 0);

    const again = await client.getFlightInfo({ command });
    for await (const _ of await client.doGet(again.endpoints[1].ticket)) break;
    await assertDipcError("cancelled", "one of its readers has left", async () => {
      await (await client.doGet(again.endpoints[0].ticket)).toTable();
    });
  },
);

peerTest(
  ["duckdb"],
  "what is changed is counted, and parameters are bound: one row, many rows, to queries and updates",
  async () => {
    await using server = await sqlServer();
    await using client = await server.client();
    assertEquals(await client.update("create table t (i integer, s varchar)"), 0);
    assertEquals(await client.update("insert into t values (1, 'a'), (2, null)"), 2);
    const rows = tableFromArrays({ i: Int32Array.of(3, 4, 5), s: ["c", "d", "e"] });
    await using insert = await client.prepare("insert into t values (?, ?)");
    assertEquals(await insert.update({ parameters: rows }), 3);
    await using select = await client.prepare("select s from t where i = ?");
    for (const i of [3, 1]) {
      const found = plainRows(await (await select.query({ parameters: [i] })).toTable());
      assertEquals(found, [{ s: i === 3 ? "c" : "a" }]);
    }
    const many = tableFromArrays({ i: Int32Array.of(5, 4) });
    assertEquals(plainRows(await (await select.query({ parameters: many })).toTable()), [{ s: "e" }, { s: "d" }]);
    // All rows or none.
    const bad = tableFromArrays({ i: ["6", "no number"], s: ["f", "g"] });
    await assertDipcError("invalid_data", "Could not convert", () => insert.update({ parameters: bad }));
    assertEquals(await rowsOf(client, "select count(*) as n from t"), [{ n: 5 }]);
    await assertDipcError(
      "invalid_argument",
      "it has 2 parameters",
      () => insert.update({ parameters: [1] }),
    );
    assertEquals(await rowsOf(client, "insert into t values (9, 'z')"), [{ Count: 1 }]);
  },
);

peerTest(["duckdb"], "rows are ingested in every mode, all or none", async () => {
  await using server = await sqlServer();
  await using client = await server.client();
  const rows = tableFromArrays({ n: Int32Array.of(1, 2, 3), s: ["a", "b", "c"] });
  const counts = async (): Promise<number> => (await rowsOf(client, "select count(*) as n from up"))[0].n as number;
  await assertDipcError("not_found", "there is no table", () => client.ingest("up", rows, { mode: "append" }));
  assertEquals([await client.ingest("up", rows), await counts()], [3, 3]);
  await assertDipcError("flight", "exists", () => client.ingest("up", rows));
  assertEquals([await client.ingest("up", rows, { mode: "append" }), await counts()], [3, 6]);
  assertEquals([await client.ingest("up", rows, { mode: "create_append" }), await counts()], [3, 9]);
  assertEquals([await client.ingest("up", rows, { mode: "replace" }), await counts()], [3, 3]);
  const other = tableFromArrays({ n: ["no number"] });
  await assertDipcError("invalid_data", "Could not convert", () => client.ingest("up", other, { mode: "append" }));
  assertEquals(await counts(), 3);
  await using transaction = await client.beginTransaction();
  assertEquals(await transaction.ingest("up", rows, { mode: "append" }), 3);
  await transaction.rollback();
  assertEquals(await counts(), 3);
});

peerTest(
  ["duckdb"],
  "transactions are committed and rolled back, also when their client just leaves",
  async () => {
    await using server = await sqlServer({ flight: { sqlLimits: { graceMs: 50 } } });
    await using client = await server.client();
    await client.update("create table t (i integer)");
    const count = async (): Promise<unknown> => (await rowsOf(client, "select count(*) as n from t"))[0].n;
    {
      await using transaction = await client.beginTransaction();
      await transaction.update("insert into t values (1)");
      assertEquals([(await rowsOf(transaction, "select count(*) as n from t"))[0].n, await count()], [1, 0]);
      await transaction.commit();
    }
    assertEquals(await count(), 1);
    const leaving = await server.client();
    const open = await leaving.beginTransaction();
    await open.update("insert into t values (2)");
    await leaving.close();
    // Its server notices that, and gives it a moment to come back.
    await delay(700);
    assertEquals(await count(), 1);
    await assertDipcError(
      "not_found",
      "the transaction",
      () => client.transaction(open.id).update("insert into t values (3)"),
    );
    const failed = await client.beginTransaction();
    await assertDipcError("invalid_data", "", () => failed.update("insert into t values ('x')"));
    await failed.rollback();
    await assertDipcError("unsupported", "", async () => await (await client.beginTransaction()).savepoint("s"));
  },
);

peerTest(["duckdb"], "catalogs, tables, keys, types and SqlInfo are as they are", async () => {
  using folder = new TemporaryFolder();
  const { parquet } = await sampleFiles(folder);
  await using server = await sqlServer({ tables: { trips: parquet } });
  await using client = await server.client();
  await client.update("create table city (id integer primary key, name varchar)");
  await client.update("create table ride (id integer primary key, city integer references city (id))");
  assertEquals(await client.catalogs(), ["datasets", "tables"]);
  assertEquals((await client.dbSchemas()).length, 2);
  assertEquals((await client.tables()).map(({ name, type }) => `${name} ${type}`), [
    ...["trips TABLE", "city TABLE", "ride TABLE"],
  ]);
  assertEquals((await client.tables({ table: "%i%" })).map(({ name }) => name), ["trips", "city", "ride"]);
  assertEquals((await client.tables({ table: "_i_e" })).map(({ name }) => name), ["ride"]);
  assertEquals((await client.tables({ catalog: "datasets", tableTypes: ["TABLE"] })).map(({ name }) => name), [
    "trips",
  ]);
  const [withSchema] = await client.tables({ table: "trips", includeSchema: true });
  assertNotEquals(withSchema.schema, null);
  assertEquals((await client.primaryKeys({ table: "city" })).map(({ column }) => column), ["id"]);
  for (
    const keys of [
      await client.importedKeys({ table: "ride" }),
      await client.exportedKeys({ table: "city" }),
      await client.crossReference({ table: "city" }, { table: "ride" }),
    ]
  ) {
    assertEquals(keys.map(({ primary, foreign }) => [primary.table, primary.column, foreign.table, foreign.column]), [
      ["city", "id", "ride", "city"],
    ]);
  }
  assertEquals(await client.exportedKeys({ table: "ride" }), []);
  assertEquals((await client.typeInfo()).some(({ type_name }) => type_name === "DECIMAL"), true);
  const info = await client.info(["FLIGHT_SQL_SERVER_NAME", SqlInfo.FLIGHT_SQL_SERVER_READ_ONLY]);
  assertEquals([...info.values()], ["DuckDB", false]);
  const all = await client.info();
  const missing = Object.values(SqlInfo).filter((id): id is number => typeof id === "number").length - all.size;
  assertEquals(missing, 0);
  await assertDipcError("not_found", "SqlInfo 9999", () => client.info([9999]));
});

peerTest(["duckdb"], "a query is cancelled by its call, by its FlightInfo, and while it is polled", async () => {
  await using server = await sqlServer({ engine: { threads: 1 } });
  await using client = await server.client();
  const endless = "select count(*) from range(100000000000)";
  await assertDipcError("timeout", "", () => client.query(endless, { timeoutMs: 100 }));
  // The connection of the statement is free again: its engine has one thread.
  assertEquals(await rowsOf(client, "select 1 as x"), [{ x: 1 }]);
  const abort = new AbortController();
  const seen: (number | null)[] = [];
  await assertDipcError("cancelled", "", () =>
    client.query(endless, {
      signal: abort.signal,
      onProgress(progress) {
        seen.push(progress);
        abort.abort();
      },
    }));
  assert(seen.length > 0);
  const info = await client.execute(LARGE);
  assertEquals(await client.cancel(info), "cancelled");
  await assertDipcError("not_found", "", async () => await (await client.read(info)).toTable());
  assertEquals(await rowsOf(client, "select 2 as x"), [{ x: 2 }]);
  assertEquals(await rowsOf(client, "select 3 as x", { onProgress() {} }), [{ x: 3 }]);
});

peerTest(["duckdb"], "limits: rows, time, handles, and results that nobody fetches", async () => {
  // A server for each limit: on a busy machine the others take longer than the limits of time allow.
  await using server = await sqlServer({ flight: { sqlLimits: { maxRows: 1000 } } });
  await using small = await sqlServer({ flight: { sqlLimits: { maxHandles: 20 } } });
  await using impatient = await sqlServer({ flight: { sqlLimits: { statementTimeoutMs: 150 } } });
  await using forgetful = await sqlServer({ flight: { sqlLimits: { resultTimeoutMs: 300, graceMs: 50 } } });
  await using client = await server.client();
  await using holder = await small.client();
  await using late = await impatient.client();
  await using forgotten = await forgetful.client();
  const rows = "select 1 as one from range(1000)";
  assertEquals((await rowsOf(client, rows)).length, 1000);
  await assertDipcError("limit_exceeded", "more than 1000 rows", () => client.query(`${rows} union all ${rows}`));
  await assertDipcError(
    "timeout",
    "longer than 150 ms",
    () => late.query("select count(*) from range(100000000000)"),
  );
  const info = await forgotten.execute("select 1");
  await delay(700);
  await assertDipcError("permission_denied", "expired", async () => await (await forgotten.read(info)).toTable());
  const open: FlightSqlStatement[] = [];
  await assertDipcError("limit_exceeded", "at most 20 of this one", async () => {
    for (;;) open.push(await holder.prepare("select 1"));
  });
  assertEquals(open.length, 20);
  await open[0].close();
  await holder.prepare("select 2");
});

/** What a hostile client gets. */
interface Attack {
  readonly name: string;
  readonly code: Parameters<typeof assertDipcError>[0];
  readonly text: string;
  attack(
    mallory: FlightSqlClient,
    secret: { ticket: Uint8Array; handle: Uint8Array; transaction: Uint8Array },
  ): Promise<unknown>;
}

const get = async (client: FlightSqlClient, ticket: Uint8Array): Promise<unknown> =>
  await (await client.flight.doGet(ticket)).toTable();
const prepared = async (client: FlightSqlClient, handle: Uint8Array): Promise<unknown> =>
  await client.flight.getFlightInfo({
    command: packMessage(sql.CommandPreparedStatementQuerySchema, { preparedStatementHandle: handle }),
  });
const altered = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => i === 40 % bytes.length ? byte ^ 1 : byte);

const ATTACKS: readonly Attack[] = [
  {
    name: "a ticket of another user",
    code: "permission_denied",
    text: "of another user",
    attack: (client, { ticket }) => get(client, ticket),
  },
  {
    name: "an altered ticket",
    code: "permission_denied",
    text: "it was altered",
    attack: (client, { ticket }) => get(client, altered(ticket)),
  },
  {
    name: "a handle of another user",
    code: "not_found",
    text: "prepared statement",
    attack: (client, { handle }) => prepared(client, handle),
  },
  {
    name: "an altered handle",
    code: "not_found",
    text: "prepared statement",
    attack: (client, { handle }) => prepared(client, altered(handle)),
  },
  {
    name: "a transaction as a prepared statement",
    code: "not_found",
    text: "prepared statement",
    attack: (client, { transaction }) => prepared(client, transaction),
  },
  {
    name: "a transaction of another user",
    code: "not_found",
    text: "transaction",
    attack: (client, { transaction }) => client.transaction(transaction).update("insert into t values (1)"),
  },
  {
    name: "cancelling a query of another user",
    code: "permission_denied",
    text: "of another user",
    attack: (client, { ticket }) =>
      client.cancel({
        ...{ schema: new Uint8Array(0), descriptor: null, totalRecords: -1n, totalBytes: -1n, ordered: false },
        endpoints: [{ ticket, locations: [], expirationTime: null, appMetadata: new Uint8Array(0) }],
        appMetadata: new Uint8Array(0),
      }),
  },
  {
    name: "a statement that reads another file",
    code: "permission_denied",
    text: "read_text may not be used",
    attack: (client) => client.query("from read_text('/etc/hostname')"),
  },
  {
    name: "a statement that fetches an extension",
    code: "permission_denied",
    text: "concerns the server itself",
    attack: (client) => client.update("install httpfs"),
  },
  {
    name: "a statement that writes a file",
    code: "permission_denied",
    text: "disabled by configuration",
    attack: (client) => client.update("copy (select 1) to '/tmp/dipc-refused.csv'"),
  },
  {
    name: "a statement of 8 MiB",
    code: "limit_exceeded",
    text: "",
    attack: (client) => client.query(`select '${"x".repeat(8 * 2 ** 20)}'`),
  },
  {
    name: "a parameter of the wrong type",
    code: "invalid_data",
    text: "Could not convert",
    attack: (client) => client.query("select ?::integer", { parameters: ["no number"] }),
  },
  {
    name: "a command of another type",
    code: "unsupported",
    text: "TicketStatementQuery",
    attack: (client) =>
      client.flight.getFlightInfo({
        command: packMessage(sql.TicketStatementQuerySchema, { statementHandle: new Uint8Array(8) }),
      }),
  },
];

peerTest(["duckdb"], "hostile clients get a status each, and others go on", async (_, t) => {
  const users = { ada: "a long password", mallory: "another password" };
  const auth = { basic: (user: string, password: string) => users[user as keyof typeof users] === password };
  await using server = await sqlServer({ flight: { auth } });
  await using ada = await server.client({ user: "ada", password: users.ada });
  await using mallory = await server.client({ user: "mallory", password: users.mallory });
  await ada.update("create table t (i integer)");
  const info = await ada.execute("select 'secret' as s");
  const packed = await Array.fromAsync(ada.flight.doAction(
    "CreatePreparedStatement",
    packMessage(sql.ActionCreatePreparedStatementRequestSchema, { query: "select 1" }),
  ));
  const { preparedStatementHandle: handle } = unpackMessage(sql.ActionCreatePreparedStatementResultSchema, packed[0])!;
  const transaction = await ada.beginTransaction();
  const secret = { ticket: info.endpoints[0].ticket, handle, transaction: transaction.id };
  await prepared(ada, handle);
  for (const { name, code, text, attack } of ATTACKS) {
    await t.step(name, async () => {
      await assertDipcError(code, text, () => attack(mallory, secret));
    });
  }
  assertEquals(plainRows(await (await ada.read(info)).toTable()), [{ s: "secret" }]);
  await transaction.rollback();
  await get(ada, secret.ticket);
});

peerTest(["duckdb"], "a ticket is renewed, and the older form of cancelling is understood", async () => {
  await using server = await sqlServer();
  await using client = await server.client();
  const info = await client.execute("select 1 as x");
  const [renewed] = await Promise.all(info.endpoints.map((endpoint) => client.flight.renewFlightEndpoint(endpoint)));
  assertNotEquals(renewed.ticket, info.endpoints[0].ticket);
  assertEquals((await (await client.flight.doGet(renewed.ticket)).toTable()).numRows, 1);
  const none = packMessage(sql.ActionCancelQueryRequestSchema, { info: new Uint8Array(0) });
  const [answer] = await Array.fromAsync(client.flight.doAction("CancelQuery", none));
  assertEquals(unpackMessage(sql.ActionCancelQueryResultSchema, answer)?.result, 3);
  const actions = (await Array.fromAsync(await client.flight.listActions())).map(({ type }) => type);
  for (const type of ["CreatePreparedStatement", "BeginTransaction", "CancelQuery"]) assert(actions.includes(type));
});
