/**
 * Drivers by others as clients of the server: ADBC's and flightsql-dbapi in Python, and JDBC's.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { sqlServer } from "./support/sql_server.ts";

/** What a program prints. */
async function printed(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], env }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) throw new Error(`${command} failed:\n${new TextDecoder().decode(stderr)}${text}`);
  return text;
}

peerTest(
  ["duckdb", "python", "adbc"],
  "ADBC's driver of Flight SQL: statements, parameters, ingest, metadata, a million rows",
  async ({ python, adbc }) => {
    await using server = await sqlServer();
    const script = `${ROOT}/tests/python/adbc_flightsql.py`;
    const text = await printed(python, [script, server.location], {
      PYTHONPATH: adbc.packages,
      PYTHONDONTWRITEBYTECODE: "1",
    });
    assertEquals(JSON.parse(text), {
      query: [[42, "hej", null]],
      parameters: [[2, "b"], [3, null]],
      ingest: [1_000_000, 10, 10, 10],
      exists: "ALREADY_EXISTS",
      million: [1_000_000, 499_999_500_000],
      ordered: true,
      partitions: [true, 1_000_000],
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
    });
  },
);

peerTest(
  ["duckdb", "flightSqlJdbc"],
  "JDBC's driver: catalogs, tables, columns, prepared statements, a million rows",
  async ({ flightSqlJdbc }) => {
    await using server = await sqlServer();
    const { java, driver } = flightSqlJdbc;
    const program = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", driver, `${ROOT}/tests/java/FlightSql.java`];
    const text = await printed(java, [...program, server.location.replace("grpc://", "")]);
    assertEquals(Object.fromEntries(text.trim().split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2))), {
      changed: "2",
      rows: "1 a 2020-02-29 1.25 2020-02-29 01:02:03.0; 2 null null null null",
      prepared: "a",
      batch: "10",
      million: "1000000 499999500000",
      product: "DuckDB false",
      catalogs: "datasets; tables",
      schemas: "datasets main; tables main",
      types: "TABLE; VIEW",
      tables: "tables main jdbc TABLE",
      columns: "id INTEGER; s VARCHAR; d DATE; n DECIMAL; t TIMESTAMP",
      keys: "id",
      getters: "true []",
    });
  },
);

peerTest(
  ["duckdb", "python", "adbc"],
  "flightsql-dbapi: statements, parameters, metadata, and the first endpoint alone",
  async ({ python, adbc }) => {
    await using server = await sqlServer();
    const { hostname, port } = new URL(server.location.replace("grpc:", "http:"));
    const script = `${ROOT}/tests/python/flightsql_dbapi.py`;
    const env = { PYTHONPATH: adbc.packages, PYTHONDONTWRITEBYTECODE: "1" };
    assertEquals(JSON.parse(await printed(python, [script, hostname, port], env)), {
      changed: [0, 2],
      rows: [{ i: 1 }, { i: 2 }],
      tables: ["dbapi"],
      info: "DuckDB",
      parameters: [{ i: 2 }],
      million: [4, 1_000_000],
    });
  },
);
