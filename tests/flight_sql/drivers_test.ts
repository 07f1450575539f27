/**
 * Drivers by others as clients of the server, and of a gateway before it: ADBC's, also under polars and DuckDB, pyarrow, flightsql-dbapi, and
 * JDBC's.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { serveGateway } from "../../flight.ts";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { documentedRows, printTable } from "../support/table.ts";
import { until } from "../support/time.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

const DOCUMENT = "docs/flight-sql.md";
const HEADING = ["call", "ADBC", "JDBC", "flightsql-dbapi", "pyarrow", "polars, ADBC", "DuckDB, ADBC"];

/** What the drivers call, and how many rows they fetch from it. */
const WAYS = [["the server", 1_000_000], ["a gateway", 100_000]] as const;

/** What calls have found, by their names in the documents. */
type Found = Record<string, unknown>;

/** Runs a driver; gives what it found. */
type Driver<T> = (location: URL, rows: number) => Promise<T>;

/** Lets a driver call the server, and another one by a gateway; when it has left, nothing of it is open. */
async function everyWay<T>(driver: Driver<T>, expected: (rows: number) => T): Promise<void> {
  for (const [way, rows] of WAYS) {
    // Below the size of the many rows, so that they have several endpoints.
    const flight = { ucx: "optional", sqlLimits: { smallResultBytes: 2 ** 18, graceMs: 100 } } as const;
    await using server = await sqlServer({ flight });
    const errors: string[] = [];
    server.server.flight!.addEventListener("error", ({ detail: { error } }) => errors.push(error!.message));
    await using gateway = await serveGateway({ engines: server.location, ucx: "optional" });
    const { location } = way === "a gateway" ? gateway : server;
    assertEquals(await driver(new URL(location.replace(/^grpc:/, "http:")), rows), expected(rows), way);
    await using client = await server.client();
    // That of the tables, and that of the question.
    await until(async () => (await rowsOf(client, "from duckdb_connection_count()"))[0].count, (count) => count === 2);
    await until(() => gateway.activeCalls + gateway.engineCalls === 0);
    assertEquals(errors.filter((text) => text.includes("session")), [], way);
  }
}

/** Prints the calls of a driver that work, by both ways, and compares them with the documents. */
async function assertDocumented(driver: string, found: Found): Promise<void> {
  const works = Object.keys(found);
  printTable(
    `Calls of ${driver}`,
    ["call", ...WAYS.map(([way]) => way)],
    works.map((call) => [call, "works", "works"]),
  );
  const column = HEADING.indexOf(driver);
  const rows = await documentedRows(DOCUMENT, HEADING);
  const documented = rows.filter((row) => row[column] === "works").map(([call]) => call);
  assertEquals(documented.sort(), works.sort(), driver);
}

/** What a program prints. */
async function printed(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], env }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) throw new Error(`${command} failed:\n${new TextDecoder().decode(stderr)}${text}`);
  return text;
}

/** What a program in Python prints, with ADBC's packages. */
async function python(program: string, packages: string, script: string, args: readonly string[]) {
  const env = { PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: "1" };
  return JSON.parse(await printed(program, [`${ROOT}/tests/python/${script}`, ...args], env));
}

/** The sum of the numbers below one. */
const sumBelow = (rows: number) => rows * (rows - 1) / 2;

peerTest(
  ["duckdb", "python", "adbc"],
  "ADBC's driver of Flight SQL: statements, parameters, ingest, metadata, transactions, many rows",
  async ({ python: program, adbc }) => {
    const driver: Driver<Found> = ({ host }, rows) =>
      python(program, adbc.packages, "adbc_flightsql.py", [`grpc://${host}`, String(rows)]);
    const expected = (rows: number) => ({
      query: [[42, "hej", null]],
      "update with many rows of parameters": 3,
      "query with parameters": [[2, "b"], [3, null]],
      ingest: [rows, 10, 10, 10, "ALREADY_EXISTS"],
      "many rows": [rows, sumBelow(rows)],
      "ordered rows": true,
      "endpoints read by another connection": [true, rows],
      "information about the server": ["DuckDB", "ADBC Flight SQL Driver - Go"],
      "types of tables": ["TABLE", "VIEW"],
      columns: ["i", "s"],
      "schema of a table": "int32",
      "errors of SQL": {
        "selec": "INVALID_ARGUMENT",
        "from nothing": "NOT_FOUND",
        "select 'x'::integer": "INVALID_ARGUMENT",
        "from read_text('/etc/hostname')": "UNAUTHORIZED",
      },
      transactions: [3, 4],
      "catalog and schema of the session": [["elsewhere"], ["elsewhere"], [4], "tables", "main", "INVALID_ARGUMENT"],
    });
    await everyWay(driver, expected);
    await assertDocumented("ADBC", expected(0));
  },
);

peerTest(
  ["duckdb", "flightSqlJdbc"],
  "JDBC's driver: catalogs, tables, columns, prepared statements, many rows",
  async ({ flightSqlJdbc }) => {
    const { java, driver: jar } = flightSqlJdbc;
    const program = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", jar, `${ROOT}/tests/java/FlightSql.java`];
    const driver: Driver<Found> = async ({ host }, rows) => {
      const text = await printed(java, [...program, host, String(rows)]);
      return Object.fromEntries(text.trim().split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
    };
    const expected = (rows: number) => ({
      update: "2",
      query: "1 a 2020-02-29 1.25 2020-02-29 01:02:03.0; 2 null null null null",
      "query with parameters": "a",
      "update with many rows of parameters": "10",
      "many rows": `${rows} ${sumBelow(rows)}`,
      "information about the server": "DuckDB false",
      catalogs: "datasets; tables",
      schemas: "datasets main; tables main",
      "types of tables": "TABLE; VIEW",
      tables: "tables main jdbc TABLE",
      columns: "id INTEGER; s VARCHAR; d DATE; n DECIMAL; t TIMESTAMP",
      "catalog and schema of the session": "elsewhere; elsewhere",
      "primary keys": "id",
      "all of DatabaseMetaData": "true []",
    });
    await everyWay(driver, expected);
    await assertDocumented("JDBC", expected(0));
  },
);

peerTest(
  ["duckdb", "python", "adbc"],
  "flightsql-dbapi: statements, parameters, metadata, and the first endpoint alone",
  async ({ python: program, adbc }) => {
    const driver: Driver<Found> = ({ hostname, port }, rows) =>
      python(program, adbc.packages, "flightsql_dbapi.py", [hostname, port, String(rows)]);
    const expected = (rows: number) => ({
      update: [0, 2],
      query: [{ i: 1 }, { i: 2 }],
      tables: ["dbapi"],
      "information about the server": "DuckDB",
      "query with parameters": [{ i: 2 }],
      "many rows": [4, rows],
    });
    await everyWay(driver, expected);
    await assertDocumented("flightsql-dbapi", expected(0));
  },
);

peerTest(
  ["duckdb", "python", "adbc"],
  "pyarrow's Flight client, and polars and DuckDB by ADBC's driver: queries and ingest",
  async ({ python: program, adbc }) => {
    const driver: Driver<Record<string, Found>> = ({ host }, rows) =>
      python(program, adbc.packages, "sql_clients.py", [`grpc://${host}`, String(rows)]);
    const expected = (rows: number) => ({
      pyarrow: {
        query: [{ x: 42 }],
        "many rows": [true, rows, sumBelow(rows)],
        "types of tables": ["TABLE", "VIEW"],
        "errors of SQL": "ArrowInvalid",
      },
      polars: { query: [{ x: 42 }], "many rows": [rows, sumBelow(rows)], "ordered rows": true, ingest: [1000, 1000] },
      duckdb: { query: [42], "many rows": [rows, sumBelow(rows), 1000], ingest: [1000, sumBelow(1000)] },
    });
    await everyWay(driver, expected);
    const { pyarrow, polars, duckdb } = expected(0);
    await assertDocumented("pyarrow", pyarrow);
    await assertDocumented("polars, ADBC", polars);
    await assertDocumented("DuckDB, ADBC", duckdb);
  },
);
