/** What `get` and `schema` are given: URIs with a wrong scheme or none, servers without a name, and files. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Field, Int32, makeData, RecordBatch, Schema, Struct, tableFromIPC, vectorFromArray } from "apache-arrow";
import { connect, type DipcError, fromBatches } from "../../mod.ts";
import { flightUriFor } from "../../src/flight/location.ts";
import { Authority } from "../support/certificates.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { arrowBytes } from "../support/datasets.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve, startDipc } from "../support/processes.ts";

Deno.test("an address without the scheme of Flight leads to its URI", async () => {
  const cases: [string, string | null][] = [
    ["127.0.0.1:8815", "grpc://127.0.0.1:8815"],
    ["localhost:8815/trips", "grpc://localhost:8815/trips"],
    ["[::1]:8815", "grpc://[::1]:8815"],
    ["http://flights.example:80/trips", "grpc://flights.example:80/trips"],
    ["https://flights.example:443", "grpc+tls://flights.example:443"],
    ["https://flights.example", null],
    ["trips.arrow", null],
    ["ucx://127.0.0.1:8815/trips", null],
    ["grpc://127.0.0.1:8815/trips", null],
  ];
  for (const [text, uri] of cases) assertEquals(flightUriFor(text), uri, text);
  for (const command of ["get", "schema", "ls", "action"]) {
    for (const text of ["127.0.0.1:9", "http://127.0.0.1:9"]) {
      const { code, stderr } = await dipc([command, text]);
      assertEquals(code, 2, `${command} ${text}`);
      assertMatch(stderr, /^error\[invalid_(uri|argument)\]: cannot .*(use|mean) grpc:\/\/127\.0\.0\.1:9\b/);
    }
  }
  const other = await dipc(["get", "ftp://flights.example/trips"]);
  assertMatch(other.stderr, /^error\[invalid_uri\]: .*neither ucx: nor .*use grpc:\/\/HOST:PORT\/NAME/);
  const error = await connect("http://127.0.0.1:9/x").catch((error: DipcError) => error) as DipcError;
  assertEquals(error.code, "invalid_uri");
  assertStringIncludes(error.message, "use grpc://127.0.0.1:9/x");
});

testNeeding(
  [needsUcx],
  "the scheme of the other kind of server is found out at once, by the library as well",
  async () => {
    using folder = new TemporaryFolder();
    Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
    await using server = await serve([folder.file("trips.arrow"), "--flight-port", "0"]);
    const ucx = `127.0.0.1:${server.info.port}`, flight = server.info.flight!.replace("grpc://", "");
    const wrong: [string, RegExp][] = [
      [`grpc://${ucx}/trips`, new RegExp(`a UCX server is at that port; use .*ucx://${ucx}/trips\\?want_data=N`)],
      [
        `ucx://${flight}/trips?want_data=1`,
        new RegExp(`speaks HTTP/2, as Flight does, is .*; use grpc://${flight}/trips`),
      ],
      [`grpc+tls://${flight}/trips`, new RegExp(`without TLS is .*; use grpc://${flight}/trips`)],
    ];
    for (const [uri, expected] of wrong) {
      for (const command of ["get", "schema"]) {
        const { code, stderr } = await dipc([command, uri]);
        assertEquals(code, 2, stderr);
        assertMatch(stderr, /^error\[invalid_uri\]: /);
        assertMatch(stderr, expected);
      }
      const error = await connect(uri).catch((error: DipcError) => error) as DipcError;
      assertEquals(error.code, "invalid_uri");
      assertMatch(error.message, expected);
    }
    const listed = await dipc(["ls", `grpc://${ucx}`]);
    assertEquals(listed.code, 2);
    assertStringIncludes(listed.stderr, "a UCX server is at that port");
  },
);

testNeeding([needsUcx], "a grpc: URI at a server with TLS leads to grpc+tls:", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  const { cert, key } = await (await Authority.create()).issue("127.0.0.1");
  Deno.writeTextFileSync(folder.file("cert.pem"), cert);
  Deno.writeTextFileSync(folder.file("key.pem"), key);
  const tls = ["--tls-cert", folder.file("cert.pem"), "--tls-key", folder.file("key.pem")];
  await using server = await serve([folder.file("trips.arrow"), "--flight-port", "0", ...tls]);
  const host = server.info.flight!.replace("grpc+tls://", "");
  for (const uri of [`grpc://${host}/trips`, `ucx://${host}/trips?want_data=1`]) {
    const { code, stderr } = await dipc(["get", uri]);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, `a server that speaks TLS is at that port; use grpc+tls://${host}/trips`);
  }
});

testNeeding([needsUcx], "the URI of a Flight server alone leads to the names of its flights", async () => {
  using folder = new TemporaryFolder();
  for (const name of ["trips", "my zones"]) Deno.writeFileSync(folder.file(`${name}.arrow`), tripsBytes("file"));
  const files = [folder.file("trips.arrow"), folder.file("my zones.arrow")];
  await using server = await serve([...files, "--flight-port", "0"]);
  const flight = server.info.flight!;
  for (const command of ["get", "schema"]) {
    const { code, stderr } = await dipc([command, flight]);
    assertEquals(code, 2);
    assertEquals(
      stderr,
      `error[invalid_argument]: cannot ${command === "get" ? "fetch" : "show the schema"}: no flight is named; this ` +
        `server has trips, my%20zones; run dipc ${command} ${flight}/trips\n`,
    );
  }
  assertEquals((await dipc(["get", `${flight}/my%20zones`, "--json"])).code, 0);
});

Deno.test("a file is read without a server: to a file, to the screen, to standard output", async () => {
  using folder = new TemporaryFolder();
  const arrow = folder.file("trips.arrow"), parquet = folder.file("trips.parquet");
  Deno.writeFileSync(arrow, tripsBytes("file"));
  Deno.writeFileSync(folder.file("trips.arrows"), tripsBytes("stream"));
  const converted = await dipc(["get", arrow, "-o", parquet, "--json"]);
  assertEquals([converted.code, converted.stderr], [0, ""]);
  const totals = JSON.parse(converted.stdout);
  assertEquals([totals.rows, totals.batches, totals.complete], [3000, 3, true]);
  assertEquals([totals.route, totals.routeReason, totals.endpoints], [null, "read from a file", []]);
  assert(totals.bodyBytes > 0 && totals.metadataBytes > 0 && totals.firstBatchSeconds > 0, converted.stdout);
  for (const file of [arrow, parquet, folder.file("trips.arrows"), `file://${arrow}`]) {
    const shown = await dipc(["get", file, "--limit", "7"]);
    assertEquals([shown.code, shown.stderr], [0, ""]);
    assertMatch(shown.stdout, /7 rows in 1 batch, .* from a file \(stopped by --limit\)\n$/);
    const schema = await dipc(["schema", file, "--json"]);
    assertEquals(JSON.parse(schema.stdout).fields.map(({ name }: { name: string }) => name), ["id", "fare", "zone"]);
    const csv = await dipc(["get", file, "-o", "-", "--format", "csv"]);
    assertEquals([csv.code, csv.stdout.split("\n").length], [0, 3002]);
  }
  // A file may be written over itself.
  assertEquals((await dipc(["get", arrow, "-o", arrow, "--limit", "1500"])).code, 0);
  assertEquals(tableFromIPC(Deno.readFileSync(arrow)).numRows, 1500);
});

Deno.test("names that occur twice are written as NDJSON with a warning, and in CSV as they are", async () => {
  using folder = new TemporaryFolder();
  const twice = folder.file("twice.arrows");
  const fields = ["id", "id"].map((name) => new Field(name, new Int32(), true));
  const children = [1, 2].map((value) => vectorFromArray([value], new Int32()).data[0]);
  const data = makeData({ type: new Struct(fields), length: 1, nullCount: 0, children });
  const dataset = await fromBatches([new RecordBatch(new Schema(fields), data)]);
  Deno.writeFileSync(twice, await arrowBytes(dataset, "stream"));
  await dataset.close();
  const text = 'column 2, "id", is written as "id_1": another column has its name';

  const toFile = await dipc(["get", twice, "-o", folder.file("x.ndjson"), "--json"]);
  assertEquals([toFile.code, toFile.stderr], [0, `warning: ${text}\n`]);
  assertEquals(JSON.parse(toFile.stdout).warnings, [text]);
  assertEquals(Deno.readTextFileSync(folder.file("x.ndjson")), '{"id":1,"id_1":2}\n');
  // Standard error has the totals alone.
  const toOutput = await dipc(["get", twice, "-o", "-", "--format", "ndjson", "--json"]);
  assertEquals([JSON.parse(toOutput.stderr).warnings, toOutput.stdout], [[text], '{"id":1,"id_1":2}\n']);

  const csv = await dipc(["get", twice, "-o", "-", "--format", "csv", "--json"]);
  assertEquals([JSON.parse(csv.stderr).warnings, csv.stdout], [[], "id,id\n1,2\n"]);
});

Deno.test("standard input is read without a server", async () => {
  await using running = startDipc(["get", "-", "--json"], { stdin: "piped" });
  await running.write(tripsBytes("stream"));
  await running.closeStdin();
  const { code, stdout } = await running.outcome;
  assertEquals([code, JSON.parse(stdout).rows], [0, 3000]);
});

Deno.test("what is neither a file nor a URI is named, and so is an option that a file leaves without use", async () => {
  using folder = new TemporaryFolder();
  const arrow = folder.file("trips.arrow");
  Deno.writeFileSync(arrow, tripsBytes("file"));
  const cases: [string[], RegExp][] = [
    [["get", "no-such-file"], /^error\[invalid_uri\]: cannot use "no-such-file": it is neither a URI nor a file/],
    [
      ["get", arrow, "trips"],
      /cannot use the ticket "trips": it is for a server, and .*trips\.arrow is read as a file/,
    ],
    [["get", arrow, "--route", "ucx"], /cannot use --route: it is for a server/],
    [["schema", arrow, "--timeout", "3s"], /cannot use --timeout: it is for a server/],
    [["get", arrow, "--header", "a=b"], /cannot use --header: it is for a server/],
    [["get", arrow, "--memory", "cuda:0"], /cannot use --memory: it is for a server/],
  ];
  for (const [args, expected] of cases) {
    const { code, stderr } = await dipc(args);
    assertEquals(code, 2, `${args}`);
    assertMatch(stderr, expected);
  }
  Deno.writeTextFileSync(folder.file("text.csv"), "a,b\n1,2\n");
  const text = await dipc(["get", folder.file("text.csv")]);
  assertEquals(text.code, 1);
  assertMatch(text.stderr, /^error\[invalid_data\]: cannot open ".*text\.csv": it is of no known format; /);
});
