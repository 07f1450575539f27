/**
 * Our client at Flight SQL servers that we did not write, and at ours: every call at every server. The matrix is printed, and is the one in
 * `docs/flight-sql.md`.
 *
 * @module
 */
import { assertEquals, assertGreater } from "@std/assert";
import { type Table, tableFromArrays } from "apache-arrow";
import { DipcError, type DissociatedStreamReader, FlightSqlClient } from "../../flight_sql.ts";
import { type Gateway, serveGateway } from "../../flight.ts";
import { describeSchema } from "../../mod.ts";
import { isUnimplemented } from "../../src/flight_sql/unimplemented.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { type Found, peerTest } from "../support/peers.ts";
import { documentedRows, printTable } from "../support/table.ts";
import { sqlServer } from "./support/sql_server.ts";
import { startRoapi, startSail, startSqlite } from "./support/sql_servers.ts";

const DOCUMENT = "docs/flight-sql.md";
const SERVERS = ["arrow-go, SQLite", "ROAPI", "Sail", "dipc, DuckDB"] as const;
/** Rows of the large result. */
const ROWS = 200_000;

type ServerName = typeof SERVERS[number];

/** What differs from server to server. */
interface Dialect {
  /** A table with the columns `id` from 1 on, and `name`. */
  readonly table: string;
  /** A statement that makes a table, and one that puts two rows into it. */
  readonly create: string;
  readonly insert: string;
  /** Whether statements that would change something are accepted without effect. */
  readonly isReadOnly?: true;
  /** A query of {@linkcode ROWS} rows whose only column counts from 1. */
  readonly many: string;
}

const DIALECTS: Readonly<Record<ServerName, Dialect>> = {
  "arrow-go, SQLite": {
    table: "people",
    create: "create table made (a int, b text)",
    insert: "insert into made values (1, 'x'), (2, 'y')",
    many:
      `with recursive r(i) as (select 1 union all select i + 1 from r limit ${ROWS}) select cast(i as integer) as i from r`,
  },
  ROAPI: {
    table: "people",
    create: "create table made (a int, b text)",
    insert: "insert into made values (1, 'x'), (2, 'y')",
    isReadOnly: true,
    many: `select value as i from generate_series(1, ${ROWS})`,
  },
  Sail: {
    table: "(values (1, 'ann'), (2, 'bob'), (3, 'eve')) as people(id, name)",
    create: "create table made (a int, b string)",
    insert: "insert into made values (1, 'x'), (2, 'y')",
    many: `select id + 1 as i from range(${ROWS})`,
  },
  "dipc, DuckDB": {
    table: "people",
    create: "create table made (a int, b text)",
    insert: "insert into made values (1, 'x'), (2, 'y')",
    many: `select range + 1 as i from range(${ROWS})`,
  },
};

const PEOPLE = [
  "create table people (id integer primary key, name text)",
  "insert into people values (1, 'ann'), (2, 'bob'), (3, 'eve')",
];
/** What makes the tables that a server does not have from its start. */
const TABLES: Readonly<Partial<Record<ServerName, readonly string[]>>> = {
  "arrow-go, SQLite": PEOPLE,
  "dipc, DuckDB": [
    ...PEOPLE,
    "create table foreignTable (id integer primary key)",
    "create table intTable (id integer primary key, foreignId integer references foreignTable (id))",
  ],
};

/** What servers on arrow-rs answer to an action that they do not have. */
const UNKNOWN_ACTION = /INVALID_ARGUMENT: do_action: The defined request is invalid/;

/** A call throws what is wrong, or what the server answers; it may return a remark for its cell. */
type Call = (client: FlightSqlClient, dialect: Dialect) => Promise<string | void>;

async function tableOf(reader: Promise<DissociatedStreamReader>): Promise<Table> {
  return await (await reader).toTable();
}

function column(table: Table, name: string): unknown[] {
  return [...table.getChild(name)!].map((value) => typeof value === "bigint" ? Number(value) : value);
}

const CALLS: Readonly<Record<string, Call>> = {
  "query": async (client, { table }) => {
    const rows = await tableOf(client.query(`select id, name from ${table} order by id`));
    assertEquals([column(rows, "id"), column(rows, "name")], [[1, 2, 3], ["ann", "bob", "eve"]]);
  },
  "query of no rows": async (client, { table }) => {
    const rows = await tableOf(client.query(`select id, name from ${table} where 1 = 0`));
    assertEquals(rows.numRows, 0);
    const names = rows.schema.fields.map(({ name }) => name);
    // ROAPI says that a result has the columns of its first batch, and therefore none.
    if (names.length === 0) return "without columns";
    assertEquals(names, ["id", "name"]);
  },
  "query of many rows": async (client, { many }) => {
    let [rows, sum] = [0, 0n];
    for await (using batch of await client.query(many)) {
      for (const value of batch.getChildAt(0)!) sum += BigInt(value);
      rows += batch.numRows;
    }
    assertEquals([rows, sum], [ROWS, BigInt(ROWS) * BigInt(ROWS + 1) / 2n]);
  },
  "query with parameters": async (client, { table }) => {
    const rows = await tableOf(client.query(`select name from ${table} where id > ? order by id`, { parameters: [1] }));
    assertEquals(column(rows, "name"), ["bob", "eve"]);
  },
  "query with progress": async (client, { table }) => {
    const rows = await tableOf(client.query(`select count(*) as n from ${table}`, { onProgress() {} }));
    assertEquals(column(rows, "n"), [3]);
  },
  "schema of a query": async (client, { table }) => {
    assertEquals(describeSchema(await client.querySchema(`select id from ${table}`)).map(({ name }) => name), ["id"]);
  },
  "prepare": async (client, { table }) => {
    await using statement = await client.prepare(`select name from ${table} where id = 2`);
    for (let i = 0; i < 2; i++) assertEquals(column(await tableOf(statement.query()), "name"), ["bob"]);
  },
  "statement without rows": async (client, { create, isReadOnly }) => {
    await client.update(create);
    if (isReadOnly) return "answers, does nothing";
  },
  "the same by a query": async (client, { create }) => {
    await tableOf(client.query(create.replace("made", "made_by_query")));
  },
  "update": async (client, { insert, isReadOnly }) => {
    const rows = await client.update(insert);
    if (isReadOnly) return "answers, does nothing";
    assertEquals(rows, 2);
  },
  "update with many rows of parameters": async (client, { isReadOnly }) => {
    if (isReadOnly) return "has no table to write";
    const parameters = tableFromArrays({ a: Int32Array.of(3, 4, 5), b: ["p", "q", "r"] });
    assertEquals(await client.update("insert into made values (?, ?)", { parameters }), 3);
  },
  "transaction": async (client, { insert }) => {
    await using transaction = await client.beginTransaction();
    await transaction.update(insert);
    const inside = column(await tableOf(transaction.query("select count(*) as n from made")), "n");
    await transaction.rollback();
    assertEquals([inside, column(await tableOf(client.query("select count(*) as n from made")), "n")], [[7], [5]]);
  },
  "savepoint": async (client) => {
    await using transaction = await client.beginTransaction();
    await transaction.savepoint("here");
  },
  "ingest": async (client) => {
    assertEquals(await client.ingest("taken", tableFromArrays({ a: Int32Array.of(1, 2) })), 2);
  },
  "catalogs": async (client) => {
    assertGreater((await client.catalogs()).length, 0);
  },
  "schemas": async (client) => {
    assertGreater((await client.dbSchemas()).length, 0);
  },
  "tables": async (client) => {
    const tables = await client.tables({ table: "people", includeSchema: true });
    assertEquals(tables.map(({ name, type }) => [name, type.toLowerCase()]), [["people", "table"]]);
    assertEquals(describeSchema(tables[0].schema!).map(({ name }) => name), ["id", "name"]);
  },
  "types of tables": async (client) => {
    assertEquals((await client.tableTypes()).some((type) => type.toLowerCase() === "table"), true);
  },
  "primary keys": async (client) => {
    assertEquals((await client.primaryKeys({ table: "people" })).map(({ column }) => column), ["id"]);
  },
  "imported, exported keys, cross-reference": async (client) => {
    const all = [
      await client.importedKeys({ table: "intTable" }),
      await client.exportedKeys({ table: "foreignTable" }),
      await client.crossReference({ table: "foreignTable" }, { table: "intTable" }),
    ];
    for (const keys of all) {
      assertEquals(keys.map(({ primary, foreign }) => [primary.table, primary.column, foreign.table, foreign.column]), [
        ["foreignTable", "id", "intTable", "foreignId"],
      ]);
    }
  },
  "XDBC types": async (client) => {
    const types = await client.typeInfo();
    assertEquals(types.find(({ type_name }) => String(type_name).toLowerCase() === "integer")?.data_type, 4);
  },
  "information about the server": async (client) => {
    const info = await client.info();
    assertEquals(typeof info.get("FLIGHT_SQL_SERVER_NAME"), "string");
    assertEquals([...(await client.info(["FLIGHT_SQL_SERVER_VERSION"])).keys()], ["FLIGHT_SQL_SERVER_VERSION"]);
  },
  "cancel": async (client) => {
    await client.cancel(await client.execute("select 1"));
  },
  "options of the session": async (client) => {
    assertEquals(await client.flight.setSessionOptions({ catalog: "datasets" }), {});
  },
  "an error of SQL": async (client) => {
    const error = await tableOf(client.query("selec 1")).then(() => null, (error) => error);
    if (!(error instanceof DipcError) || !/selec/.test(error.message)) throw error ?? new Error("there is no error");
  },
};

/** A server, or what stands between it and its clients. */
type Place = { readonly location: string } & AsyncDisposable;

/** Makes every call at every server. @param reach Makes what clients connect to of a server */
async function matrix(
  { sqliteServer, roapi, sail }: Found<"sqliteServer" | "roapi" | "sail" | "duckdb">,
  reach: (server: Place) => Place | Promise<Place>,
): Promise<void> {
  using folder = new TemporaryFolder();
  Deno.writeTextFileSync(folder.file("people.csv"), "id,name\n1,ann\n2,bob\n3,eve\n");
  const servers = await Promise.all([
    startSqlite(sqliteServer),
    startRoapi(roapi, "people", folder.file("people.csv")),
    startSail(sail),
    sqlServer(),
  ]);
  await using _servers = new AsyncDisposableStack();
  for (const server of servers) _servers.use(server);
  const failures: string[] = [];
  const columns = await Promise.all(servers.map(async (server, i) => {
    const name = SERVERS[i];
    await using place = await reach(server);
    await using client = await FlightSqlClient.connect(place.location);
    for (const statement of TABLES[name] ?? []) await client.update(statement);
    const cells: string[] = [];
    for (const [call, run] of Object.entries(CALLS)) {
      try {
        cells.push(await run(client, DIALECTS[name]) ?? "works");
      } catch (error) {
        const isMissing = isUnimplemented(error) || UNKNOWN_ACTION.test(String(error));
        cells.push(isMissing ? "not there" : "FAILS");
        if (!isMissing) failures.push(`${name}, ${call}: ${error}`);
      }
    }
    return cells;
  }));
  const heading = ["call", ...SERVERS];
  const rows = Object.keys(CALLS).map((call, i) => [call, ...columns.map((cells) => cells[i])]);
  printTable("Calls of Flight SQL, by server", heading, rows);
  assertEquals(failures, []);
  assertEquals(await documentedRows(DOCUMENT, heading), rows);
}

peerTest(
  ["sqliteServer", "roapi", "sail", "duckdb"],
  "every call of Flight SQL works at every server that has it, and the others say that they do not",
  (found) => matrix(found, ({ location }) => ({ location, [Symbol.asyncDispose]: () => Promise.resolve() })),
);

peerTest(
  ["ucx", "sqliteServer", "roapi", "sail", "duckdb"],
  "by a gateway every call of Flight SQL comes to the same, with rows that arrive over UCX",
  async (found) => {
    const stats: Gateway["stats"][] = [];
    await matrix(found, async (server) => {
      const gateway = await serveGateway({ engines: server.location, share: true });
      stats.push(gateway.stats);
      return gateway;
    });
    for (const { completed } of stats) assertGreater(completed, 3);
  },
);
