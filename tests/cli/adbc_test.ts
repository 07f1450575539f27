/** A query of a database as a source of the command: `adbc:DRIVER?uri=…&query=…`. */
import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { parseAdbc } from "../../src/cli/adbc_source.ts";
import { UsageError } from "../../src/cli/args.ts";
import { namedPath } from "../../src/cli/serve.ts";
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
