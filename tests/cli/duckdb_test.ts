/** DuckDB on the command line: `duckdb:FILE?query=…` as a source, and `dipc query`. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { openDuckDb } from "../../duckdb.ts";
import { setupDuckDb } from "../../src/setup_duckdb.ts";
import { UsageError } from "../../src/cli/args.ts";
import { duckDbLines } from "../../src/cli/duckdb_facts.ts";
import { parseDuckDb } from "../../src/cli/duckdb_source.ts";
import { queryScheme } from "../../src/cli/query_source.ts";
import { openSqlSource } from "../../src/cli/sql_source.ts";
import type { MessageSource, SourceStats } from "../../src/cli/device.ts";
import { namedPath } from "../../src/cli/serve.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { startPostgres } from "../support/postgres.ts";
import { assertDipcError } from "../support/assert.ts";
import { peerTest } from "../support/peers.ts";
import { dipc, serve, startWithFlags } from "../support/processes.ts";

peerTest(
  ["duckdb"],
  "dipc query counts the time in which DuckDB reads what leads to the first row",
  async ({ duckdb }) => {
    await using database = await openDuckDb(undefined, { library: duckdb });
    await using connection = await database.connect();
    const rows = await connection.query("select 1 as a");
    const waitMs = 200;
    const source: MessageSource = {
      schemaHeader: rows.schemaHeader,
      stats: { transports: [] } as unknown as SourceStats,
      async *messages() {
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        yield* rows.messages();
      },
      [Symbol.asyncDispose]: () => rows.close(),
    };
    Deno.env.set("DIPC_LIBDUCKDB", duckdb);
    await using result = await openSqlSource(source, "select count(*) from t", new AbortController().signal);
    for await (const { body } of result.messages()) body?.release();
    const { seconds, firstBatchSeconds } = result.stats;
    assert(seconds >= waitMs / 1000 && firstBatchSeconds! >= waitMs / 1000, `${seconds} s, ${firstBatchSeconds} s`);
  },
);

/** Sets variables of this process, and puts them back. */
function environment(variables: Readonly<Record<string, string>>): Disposable {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    },
  };
}

Deno.test("setup duckdb: a registry that is none, has no package or another one is an error that says so, and nothing is kept", async () => {
  using folder = new TemporaryFolder();
  await using registry = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    ({ url }) => url.includes("/empty/") ? new Response("", { status: 404 }) : new Response("not a package"),
  );
  const origin = `http://127.0.0.1:${registry.addr.port}`;
  for (
    const [url, code, text] of [
      ["registry.example.com", "invalid_argument", 'NPM_CONFIG_REGISTRY is "registry.example.com", which is not a URL'],
      ["file:///tmp", "invalid_argument", "is not a URL"],
      [`${origin}/empty/`, "unreachable", "the registry answers 404"],
      [`${origin}//`, "invalid_data", "has SHA-512 "],
    ] as const
  ) {
    using _ = environment({ DIPC_LIBDUCKDB: "", XDG_CACHE_HOME: folder.path, NPM_CONFIG_REGISTRY: url });
    await assertDipcError(code, text, () => setupDuckDb());
  }
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

Deno.test("a command that may not read the variables of DuckDB names the flag for them", async () => {
  using _ = environment({ DIPC_LIBDUCKDB: "/nonexistent/libduckdb.so" });
  const run = async (...flags: string[]) =>
    (await startWithFlags(["--no-prompt", "--allow-ffi", ...flags], ["get", "duckdb:?query=select 1"], ROOT).outcome)
      .stderr;
  const variables = "--allow-env=DIPC_LIBDUCKDB,HOME,XDG_CACHE_HOME";
  const denied = await run();
  assertMatch(denied, /^error\[permission_denied\]: cannot find DuckDB: /);
  assertStringIncludes(denied, `run again with ${variables}\n`);
  assertMatch(await run(variables), /^error\[library_not_found\]: cannot load DuckDB: /);
});

Deno.test("duckdb: a file is optional, settings are percent-decoded, and the query comes last", () => {
  const sql = "from 'a=b&c?.parquet' where x like '%20'";
  const { name, options, ...rest } = parseDuckDb(`duckdb:my%20file.db?threads=2&memory_limit=1%47B&query=${sql}`);
  assertEquals([name, { ...options }, rest], ["my file.db", { threads: "2", memory_limit: "1GB" }, { sql }]);
  assertEquals(parseDuckDb("DuckDB:?query=from range(3)").name, "");
  for (const [text, fault] of [["duckdb:x", "has no query"], ["duckdb:x?query= ", "query is empty"]]) {
    const { message } = assertThrows(() => parseDuckDb(text), UsageError);
    assertStringIncludes(message, fault);
    assertStringIncludes(message, "write duckdb:FILE?query=SQL");
  }
  assertEquals(["duckdb:", "ADBC:x", "constructor:x", "x", "/a:b"].map(queryScheme), [
    ...["duckdb", "adbc", null, null, null],
  ]);
  assertEquals(namedPath("q=duckdb:a.db?query=from a=b").path, "duckdb:a.db?query=from a=b");
  assertStringIncludes(assertThrows(() => namedPath("duckdb:x?query=a"), UsageError).message, "write NAME=duckdb:");
});

peerTest(
  ["duckdb", "ucx"],
  "get, schema, serve and query read DuckDB, and query reads what they serve",
  async ({ duckdb }) => {
    using folder = new TemporaryFolder();
    const env = { DIPC_LIBDUCKDB: duckdb };
    const file = folder.file("t.duckdb");
    {
      await using database = await openDuckDb(file, { library: duckdb });
      await using connection = await database.connect();
      await connection.execute("create table t as select i, 'row ' || i s from range(1, 100001) r(i)");
    }
    const source = `duckdb:${file}?query=from t order by i`;
    const shown = await dipc(["get", source, "--limit", "3"], { env });
    assertEquals([shown.code, shown.stderr], [0, ""]);
    assertMatch(shown.stdout, /3 +row 3\n\n3 rows in .* from a database \(stopped by --limit\)\n$/);
    await using server = await serve([`q=${source}`], { env });
    const uri = server.uri("q");
    const sums = await dipc(["query", uri, "select count(*) n, sum(i)::bigint total from t"], { env });
    assertEquals([sums.code, sums.stderr], [0, ""]);
    assertMatch(sums.stdout, /100000 +5000050000\n\n1 row in 1 batch, .* over /);
    const written = await dipc(["query", uri, "from t where i % 2 = 0", "-o", folder.file("even.parquet"), "--json"], {
      env,
    });
    const totals = JSON.parse(written.stdout);
    assertEquals([written.code, totals.rows, totals.complete, totals.route], [0, 50_000, true, "ucx"]);
    const again = await dipc(["query", folder.file("even.parquet"), "select max(s) m from t"], { env });
    assertMatch(again.stdout, /row 99998\n/);
    for (
      const [args, status, text] of [
        [["query", uri], 2, "it needs a URI or a file, and a query"],
        [["query", source, "from t join t u using (i)"], 1, "can be read only once"],
      ] as const
    ) {
      const { code, stderr } = await dipc([...args], { env });
      assertEquals(code, status, stderr);
      assertStringIncludes(stderr, text);
    }
    const none = await dipc(["query", uri, "from t"], { env: { DIPC_LIBDUCKDB: "/nonexistent/libduckdb.so" } });
    assertMatch(none.stderr, /^error\[library_not_found\]: cannot load DuckDB: .*run "dipc setup duckdb"/);
    const doctor = await dipc(["doctor", "--json"], { env });
    assertEquals(JSON.parse(doctor.stdout).duckdb, {
      path: duckdb,
      origin: "DIPC_LIBDUCKDB",
      version: "v1.5.6",
      cause: null,
    });
  },
);

peerTest(
  ["duckdb", "adbc", "postgres", "ucx"],
  "a table of PostgreSQL goes through dipc and a query of DuckDB in another process into Parquet",
  async (
    { duckdb, adbc, postgres },
  ) => {
    using folder = new TemporaryFolder();
    await using database = await startPostgres(postgres);
    await database.psql(
      "create table trips as select i as id, i % 7 as day, md5(i::text) as name from generate_series(1, 50000) t(i)",
    );
    const options = `uri=${encodeURIComponent(database.uri)}`;
    await using server = await serve([`trips=adbc:${adbc.postgresql}?${options}&query=select * from trips`]);
    const file = folder.file("trips.parquet");
    const query = "select id, day, upper(name) as name from t where day < 6";
    const { code, stderr } = await dipc(["query", server.uri("trips"), query, "-o", file], {
      env: { DIPC_LIBDUCKDB: duckdb },
    });
    assertEquals([code, stderr.replace(/.*\r/s, "")], [0, ""]);

    await using check = await openDuckDb(undefined, { library: duckdb });
    await using connection = await check.connect();
    const sums = "count(*)::text || '|' || sum(id)::text || '|' || md5(string_agg(name, '' order by id)) as line";
    const lines = [];
    for await (using batch of await connection.query(`select ${sums} from '${file}'`)) {
      lines.push(
        batch.getChild("line")!.get(0),
      );
    }
    const expected = await database.psql(`select ${sums.replaceAll("name", "upper(name)")} from trips where day < 6`);
    assertEquals(lines, [expected]);
  },
);

Deno.test("doctor says of a version of DuckDB whether the tests run with it", () => {
  const facts = { path: "/x/libduckdb.so", origin: "DIPC_LIBDUCKDB", cause: null };
  for (const [version, count] of [["v1.5.6", 1], ["v2.0.0", 1], ["v2.1.0", 2], ["v3.0.0", 2], ["v1.4.2", 2]] as const) {
    const lines = duckDbLines({ ...facts, version });
    assertEquals([lines[0], lines.length], [`${version} at /x/libduckdb.so`, count]);
  }
});
