/** A query of a database as a source of the command: `adbc:DRIVER?uri=…&query=…`. */
import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { parseAdbc } from "../../src/cli/adbc_source.ts";
import { UsageError } from "../../src/cli/args.ts";
import { namedPath } from "../../src/cli/serve.ts";
import { parseUploadDatabase } from "../../src/cli/upload_table.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { dipc, serve } from "../support/processes.ts";

Deno.test("a query is last and taken as it stands; what comes before it is percent-decoded", () => {
  const sql = "select a + 1 from t where b like '%20' and c = 'x&y=z?#'";
  assertEquals({ ...parseAdbc(`adbc:sqlite?uri=a%26b%25.db&password=p%3D%C3%BC&query=${sql}`) }, {
    driver: "sqlite",
    entrypoint: undefined,
    options: { uri: "a&b%.db", password: "p=ü" },
    sql,
  });
  const { driver, entrypoint, options } = parseAdbc(
    "adbc:/opt/my%20driver.so?entrypoint=duckdb_adbc_init&query=select 1",
  );
  assertEquals([driver, entrypoint, { ...options }], ["/opt/my driver.so", "duckdb_adbc_init", {}]);
  assertEquals(
    parseAdbc("ADBC:x?uri=postgresql://h:1/d?sslmode=disable&query=values (1)").options.uri,
    "postgresql://h:1/d?sslmode=disable",
  );
  const faults = [
    ["adbc:", "names no driver"],
    ["adbc:?query=x", "names no driver"],
    ["adbc:sqlite", "has no query"],
    ["adbc:sqlite?uri=x", "has no query"],
    ["adbc:sqlite?uri=x&query= ", "query is empty"],
    ["adbc:sqlite?uri&query=x", '"uri" is not an option'],
    ["adbc:sqlite?uri=%zz&query=x", 'a "%" that is not followed'],
  ];
  for (const [text, fault] of faults) {
    assertStringIncludes(assertThrows(() => parseAdbc(text), UsageError).message, fault);
  }
  assertEquals(namedPath("q=adbc:x?uri=a=b&query=c=d"), { name: "q", path: "adbc:x?uri=a=b&query=c=d" });
  assertStringIncludes(assertThrows(() => namedPath("adbc:x?query=a"), UsageError).message, "write NAME=adbc:");
});

peerTest(["adbc", "ucx"], "get, schema and serve read a query of a database", async ({ adbc }) => {
  using folder = new TemporaryFolder();
  const query = (sql: string): string => `adbc:${adbc.sqlite}?uri=${folder.file("t.db")}&query=${sql}`;
  const rows = query("with n(i) as (values (1), (2), (3)) select i, 'row ' || i as t from n");
  const shown = await dipc(["get", rows]);
  assertEquals([shown.code, shown.stderr], [0, ""]);
  assertMatch(shown.stdout, /3 +row 3\n\n3 rows in 1 batch, .* from a database\n$/);
  const schema = await dipc(["schema", rows]);
  assertStringIncludes(schema.stdout, "i  int64");
  const written = await dipc(["get", rows, "-o", folder.file("rows.parquet"), "--json"]);
  assertEquals([written.code, JSON.parse(written.stdout).rows], [0, 3]);
  const refused = await dipc(["get", query("select nope")]);
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr, /^error\[invalid_argument\]: .*no such column: nope/);
  assertEquals((await dipc(["serve", "q=adbc:sqlite"])).code, 2);
  await using server = await serve([`q=${rows}`]);
  // Each client has the query executed.
  for (let i = 0; i < 2; i++) {
    const fetched = await dipc(["get", server.uri("q"), "--json"]);
    assertEquals([fetched.code, JSON.parse(fetched.stdout).rows], [0, 3]);
  }
});

Deno.test("--put-into names a database, and what to do about a table", () => {
  const { options, ...rest } = parseUploadDatabase("adbc:sqlite?uri=a%26b.db&mode=append");
  assertEquals([{ ...options }, rest], [{ uri: "a&b.db" }, {
    driver: "sqlite",
    entrypoint: undefined,
    mode: "append",
  }]);
  assertEquals(parseUploadDatabase("adbc:x").mode, "create_append");
  for (const [text, fault] of [["x.db", "no driver"], ["adbc:?uri=x", "no driver"], ["adbc:x?mode=insert", "insert"]]) {
    assertStringIncludes(assertThrows(() => parseUploadDatabase(text), UsageError).message, fault);
  }
});

peerTest(["adbc", "ucx"], "uploads to a server go into tables of a database as they arrive", async ({ adbc }) => {
  using folder = new TemporaryFolder();
  const database = `adbc:${adbc.sqlite}?uri=${folder.file("t.db")}`;
  const rows = `${database}&query=with n(i) as (values (1), (2), (3)) select i, 'row ' || i as t from n`;
  await dipc(["get", rows, "-o", folder.file("rows.arrow")]);
  await using server = await serve(["--put-into", database, "--flight-port", "0"]);
  const uri = server.info.flight!;
  for (let i = 0; i < 2; i++) {
    const put = await dipc(["put", folder.file("rows.arrow"), uri, "kept"]);
    assertEquals([put.code, put.stderr], [0, ""]);
  }
  const count = await dipc(["get", `${database}&query=select count(*) as n, max(t) as t from kept`]);
  assertMatch(count.stdout, /6 +row 3\n/);
  // Rows of another table's types are what the database says they are.
  const refused = await dipc(["put", folder.file("rows.arrow"), uri, "sqlite_master"]);
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr, /^error\[/);
  const both = await dipc(["serve", "--put-into", database, "--allow-put", folder.path, "--flight-port", "0"]);
  assertEquals([both.code, both.stderr.includes("exclude each other")], [2, true]);
});
