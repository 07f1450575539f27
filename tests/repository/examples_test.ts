/** Every program in `examples/` runs, with exactly the permissions that its first comment names. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { tableFromIPC } from "apache-arrow";
import { tripsBytes } from "../support/cli_data.ts";
import { cuda, needsCuda } from "../support/cuda_sim.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { buildSample } from "../../tools/async_kit.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { dipc, Running, serve } from "../support/processes.ts";
import { peerTest } from "../support/peers.ts";
import { startSqlite } from "../flight_sql/support/sql_servers.ts";
import { startPostgres } from "../support/postgres.ts";
import { needsPython, programOf } from "../support/python.ts";

/** The permission flags of the command in an example's first comment. */
async function documentedFlags(name: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${ROOT}/examples/${name}`);
  const command = /```sh\n([\s\S]*?)```/.exec(text)![1].replace(/^ \* ?/gm, "").replace(/\\\n/g, " ");
  assertMatch(command, new RegExp(`^deno run .*examples/${name}`));
  const flags = command.split(/\s+/).filter((word) => word.startsWith("--"));
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stderr: "null" }).output();
  const npm = JSON.parse(new TextDecoder().decode(stdout)).npmCache;
  // The examples are started in a folder of the test; what is written for the clone's folder holds for that one, too.
  return flags.map((flag) => flag.replace("$HOME/.cache/deno/npm", npm).replace("=.,", `=.,${ROOT},`));
}

async function start(
  name: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const flags = await documentedFlags(name);
  assert(!flags.includes("-A") && flags.length > 0, flags.join(" "));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-q", "--config", `${ROOT}/deno.json`, ...flags, `${ROOT}/examples/${name}`, ...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child, performance.now(), 30_000);
}

testNeeding([needsUcx], "examples: serve.ts serves a table to read.ts, and ends on Ctrl-C", async () => {
  using folder = new TemporaryFolder();
  await using server = await start("serve.ts", [], folder.path);
  const line = await server.firstLine;
  assertMatch(line ?? "", /^cities ucx:\/\/127\.0\.0\.1:\d+\/cities\?/);
  await using reader = await start("read.ts", [line!.split(" ")[1]], folder.path);
  const { code, stdout, stderr } = await reader.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^sum of millions: 18\n3 rows, \d+ bytes in [\d.]+ s over /);
  server.kill("SIGINT");
  const outcome = await server.outcome;
  assertEquals(outcome.code, 0);
  assertStringIncludes(outcome.stderr, "connection 1 requested cities");
});

testNeeding([needsUcx], "examples: serve.ts serves the files that it is given", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await start("serve.ts", ["trips.arrow"], folder.path);
  const [name, uri] = (await server.firstLine)!.split(" ");
  assertEquals(name, "trips");
  await using reader = await start("read.ts", [uri], folder.path);
  const { code, stdout, stderr } = await reader.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertStringIncludes(stdout, `sum of id: ${3000 * 2999 / 2}\n`);
});

testNeeding([needsUcx], "examples: parquet.ts reads a Parquet file back as a table", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow")]);
  assertEquals((await dipc(["get", server.uri("trips"), "-o", folder.file("trips.parquet")])).code, 0);
  await using example = await start("parquet.ts", ["trips.parquet"], folder.path);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^3000 rows, 3 columns, 1 batches\nid: Int32\n/);
  assertStringIncludes(stdout, '{"id":0,"fare":0,"zone":null}');
});

testNeeding([needsUcx], "examples: readable_stream.ts writes and parses an Arrow stream", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow")]);
  await using example = await start("readable_stream.ts", [server.uri("trips"), "copy.arrows"], folder.path);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertEquals(stdout, "copy.arrows: 3000 rows\napache-arrow read 3000 rows\n");
  assertEquals(tableFromIPC(Deno.readFileSync(folder.file("copy.arrows"))).numRows, 3000);
});

peerTest(["compiler", "arrowCpp"], "examples: async_stream.ts exchanges batches with a library in C", async (found) => {
  using folder = new TemporaryFolder();
  await using example = await start("async_stream.ts", [buildSample(found.compiler)], folder.path);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertEquals(
    stdout,
    [0, 4, 8, 12, 16].map((first) => `received 4 rows from ${first} on\n`).join("") +
      [0, 10, 20].map((first) => `sent a batch from ${first} on\n`).join("") + "complete: 3 batches\n",
  );
});

testNeeding([needsUcx, needsCuda], "examples: gpu_to_gpu.ts moves a table from GPU memory to GPU memory", async () => {
  using folder = new TemporaryFolder();
  await using example = await start("gpu_to_gpu.ts", [], folder.path, cuda!.env);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^serving from cuda:0, (direct|staged): UCX /);
  assertMatch(stdout, /1000000 values at device address 0x[0-9a-f]+, 8000000 bytes\nthe last one is 499999\.5\n/);
  assertMatch(stdout, /1000000 rows into cuda:0, (direct|staged)\n$/);
});

testNeeding([needsUcx], "examples: gpu_to_gpu.ts says so if there is no GPU", async () => {
  using folder = new TemporaryFolder();
  const env = { DIPC_LIBCUDA: "/nowhere/libcuda.so.1" };
  await using example = await start("gpu_to_gpu.ts", [], folder.path, env);
  const { code, stdout } = await example.outcome;
  assertEquals(code, 0);
  assertMatch(stdout, /^no GPU here: cannot open the libcuda that DIPC_LIBCUDA names/);
});

testNeeding([needsUcx], "examples: gateway.ts gives UCX and shared memory to a server without", async () => {
  using folder = new TemporaryFolder();
  await using example = await start("gateway.ts", [], folder.path);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertMatch(
    stdout,
    /^gateway at grpc:.*\n100000 rows by ucx: (\d+) bytes, \1 of them in place\n100000 rows by ucx: \1 bytes, 0 of them in place\n$/,
  );
});

peerTest(["sqliteServer"], "examples: sql.ts writes and queries a table at a Flight SQL server", async (found) => {
  using folder = new TemporaryFolder();
  await using server = await startSqlite(found.sqliteServer);
  await using example = await start("sql.ts", [server.location], folder.path);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  const cities = "Lyon: 334 trips, at most 99.9\nNice: 333 trips, at most 99.8\n";
  assertEquals(stdout, `1000 rows written\n${cities}trips is a table\n`);
});

testNeeding([needsUcx], "examples: flight.ts uploads, lists, asks and fetches by UCX", async () => {
  using folder = new TemporaryFolder();
  await using example = await start("flight.ts", [], folder.path);
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr], [0, ""]);
  assertEquals(stdout.split("\n"), [
    "cities: 3 rows",
    "numbers: 3 rows",
    "I am ada",
    "sum of n: 6, by ucx: the server offers UCX, and it answered",
    "",
  ]);
});

peerTest(
  ["ucx", "adbc", "postgres"],
  "examples: postgres.ts goes from table to table by UCX",
  async ({ adbc, postgres }) => {
    using folder = new TemporaryFolder();
    await using database = await startPostgres(postgres);
    await using example = await start("postgres.ts", [database.uri, adbc.postgresql], folder.path);
    const { code, stdout, stderr } = await example.outcome;
    assertEquals([code, stderr], [0, ""]);
    const sum = 50_000 * 49_999 / 2;
    assertEquals(stdout.split("\n"), [
      "100000 rows into dipc_numbers",
      "50000 rows into dipc_even",
      `50000 rows, the sum of half is ${sum}`,
      "",
    ]);
    assertEquals(await database.psql("select count(*), sum(half) from dipc_even"), `50000|${sum}`);
  },
);

peerTest(["ucx", "duckdb"], "examples: duckdb.ts runs SQL over a stream, and writes Parquet", async ({ duckdb }) => {
  using folder = new TemporaryFolder();
  await using example = await start("duckdb.ts", [], folder.path, { DIPC_LIBDUCKDB: duckdb });
  const { code, stdout, stderr } = await example.outcome;
  assertEquals([code, stderr, stdout], [0, "", "1000000 trips for 249999750000 in per_day.parquet\n"]);
});

const tpchgen = programOf("tpchgen-cli");
const needsTpch = { what: "tpchgen-cli", present: tpchgen !== null, how: needsPython.how };

testNeeding(
  [needsTpch],
  "examples: TPC-H is made, read and served as their README says",
  async () => {
    const readme = await Deno.readTextFile(`${ROOT}/examples/README.md`);
    const [, version, generate, get] = /pip install tpchgen-cli==(\S+)\ntpchgen-cli (.*)\ndipc (get .*)\n/.exec(
      readme,
    )!;
    assertStringIncludes(await Deno.readTextFile(`${ROOT}/tests/python/requirements.txt`), `tpchgen-cli==${version}`);
    using folder = new TemporaryFolder();
    const made = await new Deno.Command(tpchgen!, { args: generate.split(" "), cwd: folder.path }).output();
    assertEquals(made.code, 0, new TextDecoder().decode(made.stderr));
    const file = folder.file("lineitem.parquet");
    const shown = await dipc(get.replace("lineitem.parquet", file).split(" "));
    assertEquals([shown.code, shown.stderr], [0, ""]);
    assertMatch(shown.stdout, /l_returnflag +string not null/);
    assertMatch(shown.stdout, /─\n(.*\n){30}… and \d+ more columns/);
    const written = await dipc(["get", file, "-o", folder.file("lineitem.arrow"), "--json"]);
    assertEquals([written.code, JSON.parse(written.stdout).rows], [0, 60_175]);
    await using server = await serve([file, "--no-ucx", "--flight-port", "0"]);
    const fetched = await dipc(["get", `${server.info.flight}/lineitem`, "--json"]);
    assertEquals([fetched.code, JSON.parse(fetched.stdout).rows], [0, 60_175]);
  },
);

Deno.test("examples: every program is in their README, and tested here", async () => {
  const readme = await Deno.readTextFile(`${ROOT}/examples/README.md`);
  const tests = await Deno.readTextFile(new URL(import.meta.url));
  const programs = [...Deno.readDirSync(`${ROOT}/examples`)].map(({ name }) => name).filter((name) =>
    /\.ts$/.test(name)
  );
  assert(programs.length >= 4, programs.join());
  for (const name of programs) {
    assertStringIncludes(readme, `(${name})`);
    assertStringIncludes(tests, `start("${name}"`);
  }
});
