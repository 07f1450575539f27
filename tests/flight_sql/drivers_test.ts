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
import { until } from "../support/time.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

/** What the drivers call, and how many rows they fetch from it. */
const WAYS = [["the server", 1_000_000], ["a gateway", 100_000]] as const;

/** Runs a driver; gives what it found. */
type Driver = (location: URL, rows: number) => Promise<Record<string, unknown>>;

/** Lets a driver call the server, and another one by a gateway; when it has left, nothing of it is open. */
async function everyWay(driver: Driver, expected: (rows: number) => Record<string, unknown>): Promise<void> {
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
    const driver: Driver = ({ host }, rows) =>
      python(program, adbc.packages, "adbc_flightsql.py", [`grpc://${host}`, String(rows)]);
    await everyWay(driver, (rows) => ({
      query: [[42, "hej", null]],
      parameters: [[2, "b"], [3, null]],
      ingest: [rows, 10, 10, 10],
      exists: "ALREADY_EXISTS",
      many: [rows, sumBelow(rows)],
      ordered: true,
      partitions: [true, rows],
      info: ["DuckDB", "ADBC Flight SQL Driver - Go"],
      types: ["TABLE", "VIEW"],
      columns: ["i", "s"],
      schema: "int32",
      errors: {
        "selec": "INVALID_ARGUMENT",
        "from nothing": "NOT_FOUND",
        "select 'x'::integer": "INVALID_ARGUMENT",
        "from read_text('/etc/hostname')": "UNAUTHORIZED",
      },
      transactions: [3, 4],
    }));
  },
);

peerTest(
  ["duckdb", "flightSqlJdbc"],
  "JDBC's driver: catalogs, tables, columns, prepared statements, many rows",
  async ({ flightSqlJdbc }) => {
    const { java, driver } = flightSqlJdbc;
    const program = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", driver, `${ROOT}/tests/java/FlightSql.java`];
    const found: Driver = async ({ host }, rows) => {
      const text = await printed(java, [...program, host, String(rows)]);
      return Object.fromEntries(text.trim().split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
    };
    await everyWay(found, (rows) => ({
      changed: "2",
      rows: "1 a 2020-02-29 1.25 2020-02-29 01:02:03.0; 2 null null null null",
      prepared: "a",
      batch: "10",
      many: `${rows} ${sumBelow(rows)}`,
      product: "DuckDB false",
      catalogs: "datasets; tables",
      schemas: "datasets main; tables main",
      types: "TABLE; VIEW",
      tables: "tables main jdbc TABLE",
      columns: "id INTEGER; s VARCHAR; d DATE; n DECIMAL; t TIMESTAMP",
      keys: "id",
      getters: "true []",
    }));
  },
);

peerTest(
  ["duckdb", "python", "adbc"],
  "flightsql-dbapi: statements, parameters, metadata, and the first endpoint alone",
  async ({ python: program, adbc }) => {
    const driver: Driver = ({ hostname, port }, rows) =>
      python(program, adbc.packages, "flightsql_dbapi.py", [hostname, port, String(rows)]);
    await everyWay(driver, (rows) => ({
      changed: [0, 2],
      rows: [{ i: 1 }, { i: 2 }],
      tables: ["dbapi"],
      info: "DuckDB",
      parameters: [{ i: 2 }],
      many: [4, rows],
    }));
  },
);

peerTest(
  ["duckdb", "python", "adbc"],
  "pyarrow's Flight client, and polars and DuckDB by ADBC's driver: queries and ingest",
  async ({ python: program, adbc }) => {
    const driver: Driver = ({ host }, rows) =>
      python(program, adbc.packages, "sql_clients.py", [`grpc://${host}`, String(rows)]);
    await everyWay(driver, (rows) => ({
      pyarrow: [true, rows, sumBelow(rows), ["TABLE", "VIEW"], "ArrowInvalid"],
      polars: [["n", "s"], rows, sumBelow(rows), 1000, true, 1000],
      duckdb: [rows, sumBelow(rows), 1000, 1000, sumBelow(1000)],
    }));
  },
);
