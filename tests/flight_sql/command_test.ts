/** `dipc sql` at a server by others, as a user types it. */
import { assertEquals, assertMatch } from "@std/assert";
import { tableFromIPC } from "apache-arrow";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve, startWithFlags } from "../support/processes.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { peerTest } from "../support/peers.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { onTerminal } from "../support/terminal.ts";
import { ROOT } from "../support/paths.ts";
import { sqlServer } from "./support/sql_server.ts";
import { startSail, startSqlite } from "./support/sql_servers.ts";

/** A command line that must end so, and what it must show. */
type Case = [args: string[], code: number, shows: RegExp];

peerTest(["sqliteServer"], "dipc sql runs statements, and shows tables and columns", async ({ sqliteServer }) => {
  using folder = new TemporaryFolder();
  await using server = await startSqlite(sqliteServer);
  const uri = server.location;
  Deno.writeTextFileSync(folder.file("count.sql"), "-- how many\nselect count(*) as n from trips");
  const cases: Case[] = [
    [["create table trips (id integer, city text)"], 0, /^1 row changed\n$/],
    [["insert into trips values (?, ?)", "--param", "1", "--param", "Lyon"], 0, /^1 row changed\n$/],
    [["insert into trips values (2, '2'), (3, null), (4, null)", "--json"], 0, /^\{"rows":3\}\n$/],
    [["select * from trips where city = ?", "--param", "Lyon"], 0, /\n +1 +Lyon\n[^]*\n1 row in 1 batch/],
    // The same text is text in quotation marks, and a number without.
    [["select typeof(?) as a, typeof(?) as b", "--param", "'2'", "--param", "2"], 0, /\ntext +integer\n/],
    [["--file", folder.file("count.sql"), "-o", "-", "--format", "csv"], 0, /^n\n4\n$/],
    [["select * from trips", "--limit", "2"], 0, /\n2 rows in 1 batch, .*\(stopped by --limit\)\n$/],
    [["--tables"], 0, /^main\.trips +table$/m],
    [["--describe", "trips"], 0, /^2 columns\n +id +int64\n +city +string\n$/],
    [["selec 1"], 1, /^error\[flight\]: .*near "selec": syntax error/],
    [["--describe", "no_table"], 1, /no such table: no_table/],
    [[], 2, /it needs a statement; write dipc sql URI 'select …'/],
    [["select 1", "--tables"], 2, /--tables and a statement exclude each other/],
    [["select 1", "--table", "t"], 2, /--table: it is for --ingest FILE/],
    [["--tables", "-o", "tables.csv"], 2, /--output: it is for a statement, and there is --tables instead/],
    [["--describe", "trips", "--param", "1"], 2, /--param: it is for a statement, and there is --describe instead/],
    [["delete from trips", "--update", "--explain"], 2, /--update: it and --explain exclude each other/],
    [["delete from trips", "--limit", "1"], 2, /--limit: the statement changes rows, and shows none; leave it out/],
    [["delete from trips", "--update", "--format", "csv"], 2, /--format: the statement changes rows/],
    [["delete from trips", "--update", "-o", "x.csv"], 2, /--update: it and --output exclude each other/],
    [["--ingest", "x.arrow"], 2, /it needs a table; give --table TABLE too/],
    [
      ["--ingest", "x.arrow", "--table", "t", "--mode", "upsert"],
      2,
      /"create", "append", "replace" or "create_append"/,
    ],
  ];
  for (const [args, code, shows] of cases) {
    const outcome = await dipc(["sql", uri, ...args]);
    assertEquals(outcome.code, code, `${args}\n${outcome.stdout}${outcome.stderr}`);
    assertMatch(outcome.stdout + (code === 0 ? "" : outcome.stderr), shows, `${args}`);
  }
  const written = await dipc(["sql", uri, "select id from trips order by id", "-o", folder.file("trips.arrow")]);
  assertEquals([written.code, written.stderr], [0, ""]);
  assertEquals([...tableFromIPC(Deno.readFileSync(folder.file("trips.arrow"))).getChild("id")!].map(Number), [
    1,
    2,
    3,
    4,
  ]);
  assertMatch((await dipc(["action", uri])).stdout, /^CancelQuery$/m); // which it does not describe
  for (const [command, status] of [["get", 2], ["ls", 1], ["schema trips", 1]] as const) {
    const [name, ...flight] = command.split(" ");
    const { code, stderr } = await dipc([name, uri, ...flight]);
    assertEquals(code, status);
    assertMatch(stderr, /it is a Flight SQL server; run dipc sql grpc:\/\/127\.0\.0\.1:\d+ 'select …'/);
  }
});

peerTest(["sail"], "dipc sql works at a server that has nothing but queries", async ({ sail }) => {
  await using server = await startSail(sail);
  const uri = server.location;
  const cases: Case[] = [
    [["create table trips (id int)"], 0, /value/],
    [["--tables"], 0, /\bdefault +trips +false\n/],
    [["--describe", "trips"], 0, /^1 column\n +id +int32\n$/],
    [["--explain", "select 1 as one"], 0, /^== Physical Plan ==\nProjectionExec/],
    [["select 1", "--update"], 1, /UNIMPLEMENTED/],
  ];
  for (const [args, code, shows] of cases) {
    const { stdout, stderr, ...outcome } = await dipc(["sql", uri, ...args]);
    assertEquals(outcome.code, code, `${args}\n${stdout}${stderr}`);
    assertMatch(stdout + (code === 0 ? "" : stderr), shows, `${args}`);
  }
  // On a terminal no more is fetched than is shown: these rows would take minutes.
  const command = `"${Deno.execPath()}" run -A -q "${ROOT}/cli.ts" sql ${uri} 'select * from range(1000000000000)'`;
  const { code, text } = await onTerminal(["bash", "-c", command], { cwd: ROOT });
  assertEquals(code, 0, text);
  assertMatch(
    text,
    /\n10 rows in 1 batch, [^]*\(no\s+more\s+was\s+fetched\s+than\s+is\s+shown; see\s+--limit\s+and\s+-o\)/,
  );
});

peerTest(["duckdb"], "dipc sql writes files into tables", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await sqlServer();
  const ingest = (...more: string[]) => dipc(["sql", server.location, "--ingest", folder.file("trips.arrow"), ...more]);
  const { stdout, stderr } = await ingest("--table", "trips");
  assertMatch(stdout, /trips\.arrow: 3,000 rows written to trips\n$/, stderr);
  assertMatch((await ingest("--table", "trips")).stderr, /ALREADY_EXISTS: .*the table "trips" exists/);
  assertEquals(
    (await ingest("--table", "trips", "--mode", "append", "--json")).stdout,
    '{"rows":3000,"warnings":[]}\n',
  );
  const count = await dipc(["sql", server.location, "select count(*) as n from trips", "-o", "-", "--format", "csv"]);
  assertEquals(count.stdout, "n\n6000\n");
});

testNeeding([needsUcx], "dipc sql at a Flight server without SQL says so", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow"), "--flight-port", "0"]);
  const { code, stderr } = await dipc(["sql", server.info.flight!, "select 1"]);
  assertEquals(code, 1);
  assertMatch(stderr, /it is not a Flight SQL server; dipc ls grpc:\/\/127\.0\.0\.1:\d+ lists its flights/);
});

peerTest(["sqliteServer"], "dipc sql needs the network alone", async ({ sqliteServer }) => {
  await using server = await startSqlite(sqliteServer);
  const address = new URL(server.location.replace("grpc", "http")).host;
  const { code, stdout, stderr } = await startWithFlags([`--allow-net=${address}`, "--no-prompt"], [
    ...["sql", server.location, "select ? as one", "--param", "1", "-o", "-", "--format", "csv"],
  ], ROOT).outcome;
  assertEquals([code, stdout], [0, "one\n1\n"], stderr);
});
