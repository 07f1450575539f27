/** `dipc get` and `dipc schema` against `dipc serve`, each a process of its own, over UCX. */
import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { tableFromIPC } from "apache-arrow";
import { delay } from "../support/time.ts";
import { TRIP_BATCH_ROWS, tripsBytes, tripsTable, writeWideFile } from "../support/cli_data.ts";
import { findCommand } from "../../tools/peer_places.ts";
import { type Need, needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { unusedPort } from "../support/ports.ts";
import { CLI, dipc, type Outcome, Running, serve, startDipc } from "../support/processes.ts";
import { HeldStream, untilWriting } from "./support/held_stream.ts";

const ROWS = 3 * TRIP_BATCH_ROWS;
const TOTALS = [
  "rows",
  "batches",
  "bodyBytes",
  "metadataBytes",
  "seconds",
  "bytesPerSecond",
  "firstBatchSeconds",
  "transports",
  "complete",
];

/** The one JSON object of an outcome's standard output, or another text. */
function totalsOf(outcome: Outcome, text = outcome.stdout): Record<string, unknown> {
  assertEquals(text.trimEnd().split("\n").length, 1, `expected one line, found ${JSON.stringify(text)}`);
  const totals = JSON.parse(text);
  for (const key of TOTALS) assert(key in totals, `totals lack ${key}: ${text}`);
  return totals;
}

function assertError(outcome: Outcome, status: number, code: string): void {
  assertEquals(outcome.code, status, outcome.stderr);
  assertMatch(outcome.stderr, new RegExp(`^error\\[${code}\\]: .{10,}`, "m"));
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** A served file of three batches. */
async function withTrips(run: (uri: string, folder: TemporaryFolder) => Promise<void>): Promise<void> {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow")]);
  await run(server.uri("trips"), folder);
}

testNeeding([needsUcx], "get without -o shows schema, first rows, totals and rate", () =>
  withTrips(async (uri) => {
    const { code, stdout, stderr } = await dipc(["get", uri]);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "3 columns");
    assertMatch(stdout, /^ {2}id +int32/m);
    assertMatch(stdout, /^ {2}zone +dictionary<values=string, indices=int32/m);
    assertStringIncludes(stdout, 'zone, "1"');
    assertMatch(stdout, /3,000 rows in 3 batches, [\d.]+ kB in .+\/s( over \w+.*)?\n$/);
  }));

testNeeding([needsUcx], "get writes each format that it names, whole", () =>
  withTrips(async (uri, folder) => {
    const want = tripsTable().toArray().map((row) => JSON.stringify(row));
    for (const extension of ["arrows", "arrow", "feather", "csv", "ndjson", "jsonl", "parquet"]) {
      const path = folder.file(`out.${extension}`);
      const outcome = await dipc(["get", uri, "-o", path, "--json"]);
      assertEquals([outcome.code, outcome.stderr], [0, ""], extension);
      const totals = totalsOf(outcome);
      assertEquals([totals.rows, totals.batches, totals.complete, totals.output], [ROWS, 3, true, path]);
      assertGreater(totals.bytesPerSecond as number, 0);
      assertGreater(totals.firstBatchSeconds as number, 0);
      const bytes = Deno.readFileSync(path);
      const text = new TextDecoder().decode(bytes);
      if (extension === "csv") {
        const lines = text.trimEnd().split("\n");
        assertEquals(lines.length, ROWS + 1);
        assertEquals(lines.slice(0, 3), ["id,fare,zone", "0,0,", '1,0.25,"zone, ""1"""']);
      } else if (extension === "ndjson" || extension === "jsonl") {
        assertEquals(text.trimEnd().split("\n").map((line) => JSON.stringify(JSON.parse(line))), want);
      } else if (extension === "parquet") {
        assertEquals(text.slice(0, 4), "PAR1");
        assertEquals(text.slice(-4), "PAR1");
      } else {
        assertEquals(text.startsWith("ARROW1"), extension !== "arrows");
        assertEquals(tableFromIPC(bytes).toArray().map((row) => JSON.stringify(row)), want);
      }
    }
    assertEquals([...Deno.readDirSync(folder.path)].filter(({ name }) => name.includes(".part")), []);
  }));

Deno.test("get that is killed leaves one file at most, which the next run replaces", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("out.csv"), bytes = tripsBytes("stream");
  for (let run = 0; run < 2; run++) {
    await using killed = startDipc(["get", "-", "-o", path], { stdin: "piped" });
    await killed.write(bytes.slice(0, -200));
    await untilWriting(folder);
    killed.kill("SIGKILL");
    assertEquals((await killed.outcome).signal, "SIGKILL");
    assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), [".out.csv.part"]);
  }
  await Deno.writeFile(folder.file("trips.arrows"), bytes);
  assertEquals((await dipc(["get", folder.file("trips.arrows"), "-o", path])).code, 0);
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name).sort(), ["out.csv", "trips.arrows"]);
});

testNeeding(
  [needsUcx],
  "what get wrote as Parquet can be served and fetched again",
  () =>
    withTrips(async (uri, folder) => {
      const path = folder.file("again.parquet");
      assertEquals((await dipc(["get", uri, "-o", path])).code, 0);
      await using server = await serve([path, "--batch-rows", "500"]);
      const copy = folder.file("copy.arrows");
      const outcome = await dipc(["get", server.uri("again"), "-o", copy, "--json"]);
      assertEquals([outcome.code, outcome.stderr], [0, ""]);
      assertEquals(totalsOf(outcome).batches, 6);
      assertEquals(
        tableFromIPC(Deno.readFileSync(copy)).toArray().map((row) => JSON.stringify(row)),
        tripsTable().toArray().map((row) => JSON.stringify(row)),
      );
    }),
);

testNeeding(
  [needsUcx],
  "get -o - writes data to standard output and one JSON object to standard error",
  () =>
    withTrips(async (uri) => {
      const outcome = await dipc(["get", uri, "-o", "-", "--format", "csv", "--json"]);
      assertEquals(outcome.code, 0);
      assertEquals(outcome.stdout.trimEnd().split("\n").length, ROWS + 1);
      assertEquals(totalsOf(outcome, outcome.stderr).rows, ROWS);
      const failed = await dipc(["get", uri.replace("/trips", "/nothing"), "-o", "-", "--json"]);
      assertEquals([failed.code, failed.stdout], [1, ""]);
      assertEquals((totalsOf(failed, failed.stderr).error as { code: string }).code, "not_found");
    }),
);

testNeeding(
  [needsUcx],
  "get ends quietly when the reader of its standard output has gone",
  () =>
    withTrips(async (uri) => {
      const running = new Deno.Command("bash", {
        args: [
          "-c",
          `"$0" run -A -q cli.ts get "$1" -o - --format ndjson | head -n 1; echo "\${PIPESTATUS[0]}"`,
          Deno.execPath(),
          uri,
        ],
        cwd: new URL("../..", import.meta.url),
        stdout: "piped",
        stderr: "piped",
      });
      const { stdout, stderr } = await running.output();
      assertEquals(new TextDecoder().decode(stderr), "");
      assertMatch(new TextDecoder().decode(stdout), /^\{"id":0,.*\}\n141\n$/);
    }),
);

Deno.test("the screen shows ten rows, or as many as --limit", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  for (const [limit, rows] of [[null, 10], [0, 0], [7, 7], [30, 30], [1007, 1007]] as const) {
    const { code, stdout } = await dipc([
      ...["get", folder.file("trips.arrow")],
      ...(limit === null ? [] : ["--limit", `${limit}`]),
    ]);
    const shown = stdout.slice(stdout.lastIndexOf("─\n") + 2).split("\n\n")[0];
    assertEquals(
      [code, shown.startsWith("\n") ? 0 : shown.trimEnd().split("\n").length],
      [0, rows],
      `--limit ${limit}`,
    );
  }
});

Deno.test("every format ends with 141 when the reader of standard output has gone", async () => {
  using folder = new TemporaryFolder();
  writeWideFile(folder.file("wide.arrows"), 8);
  for (const format of ["arrows", "arrow", "parquet", "csv", "ndjson"]) {
    const { stdout, stderr } = await new Deno.Command("bash", {
      args: [
        "-c",
        `"$0" run -A -q cli.ts get "$1" -o - --format ${format} | head -c 10 > /dev/null; echo "\${PIPESTATUS[0]}"`,
        Deno.execPath(),
        folder.file("wide.arrows"),
      ],
      cwd: new URL("../..", import.meta.url),
    }).output();
    assertEquals([new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)], ["141\n", ""], format);
  }
});

testNeeding(
  [needsUcx],
  "get --limit stops after exactly that many rows, in every format",
  () =>
    withTrips(async (uri, folder) => {
      for (const limit of [0, 1, TRIP_BATCH_ROWS, TRIP_BATCH_ROWS + 7]) {
        const path = folder.file(`limit-${limit}.arrow`);
        const outcome = await dipc(["get", uri, "--limit", String(limit), "-o", path, "--json"]);
        assertEquals(outcome.code, 0, outcome.stderr);
        const totals = totalsOf(outcome);
        assertEquals([totals.rows, totals.complete, totals.limited], [limit, false, true]);
        const table = tableFromIPC(Deno.readFileSync(path));
        assertEquals(table.toArray().map(String), tripsTable().slice(0, limit).toArray().map(String));
      }
      const csv = await dipc(["get", uri, "--limit", "2", "-o", "-", "--format", "csv"]);
      assertEquals(csv.stdout, 'id,fare,zone\n0,0,\n1,0.25,"zone, ""1"""\n');
      const all = totalsOf(await dipc(["get", uri, "--limit", String(ROWS + 1), "--json"]));
      assertEquals([all.rows, all.complete, "limited" in all], [ROWS, true, false]);
      const shown = await dipc(["get", uri, "--limit", "5"]);
      assertStringIncludes(shown.stdout, "5 rows in 1 batch");
      assertStringIncludes(shown.stdout, "(stopped by --limit)");
    }),
);

testNeeding(
  [needsUcx],
  "a ticket on the command line takes the place of the URI's path",
  () =>
    withTrips(async (uri) => {
      const totals = totalsOf(await dipc(["get", uri.replace("/trips", "/other"), "trips", "--json"]));
      assertEquals([totals.rows, totals.complete], [ROWS, true]);
    }),
);

testNeeding(
  [needsUcx],
  "an unknown dataset fails with the server's message, and no file appears",
  () =>
    withTrips(async (uri, folder) => {
      const path = folder.file("none.csv");
      const outcome = await dipc(["get", uri.replace("/trips", "/tripz"), "-o", path, "--json"]);
      assertError(outcome, 1, "not_found");
      assertStringIncludes(outcome.stderr, "tripz");
      const totals = totalsOf(outcome);
      assertEquals([totals.complete, (totals.error as { code: string }).code], [false, "not_found"]);
      assertEquals(exists(path), false);
      assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["trips.arrow"]);
    }),
);

testNeeding(
  [needsUcx],
  "an output that cannot be written fails before anything else is said",
  () =>
    withTrips(async (uri, folder) => {
      const nowhere = await dipc(["get", uri, "-o", folder.file("no/such/folder/x.csv")]);
      assertError(nowhere, 1, "not_found");
      assertStringIncludes(nowhere.stderr, `; create it: mkdir -p "${folder.file("no/such/folder")}"`);
      Deno.mkdirSync(folder.file("folder.csv"));
      assertError(await dipc(["get", uri, "-o", folder.file("folder.csv")]), 1, "invalid_argument");
    }),
);

testNeeding([needsUcx], "an existing file is replaced only by a whole one", () =>
  withTrips(async (uri, folder) => {
    const path = folder.file("old.csv");
    Deno.writeTextFileSync(path, "old\n");
    await dipc(["get", uri.replace("/trips", "/none"), "-o", path]);
    assertEquals(Deno.readTextFileSync(path), "old\n");
    assertEquals((await dipc(["get", uri, "--limit", "1", "-o", path])).code, 0);
    assertEquals(Deno.readTextFileSync(path), "id,fare,zone\n0,0,\n");
  }));

testNeeding([needsUcx], "a port without a listener is an error at once, not after the timeout", async () => {
  const outcome = await dipc([
    "get",
    `ucx://127.0.0.1:${unusedPort()}/x?want_data=1&dipc=1`,
    "--timeout",
    "20s",
    "--json",
  ]);
  assertError(outcome, 1, "unreachable");
  assertEquals((totalsOf(outcome).error as { code: string }).code, "unreachable");
});

testNeeding([needsUcx], "a port that accepts and says nothing ends after --timeout", async () => {
  using silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = silent.addr as Deno.NetAddr;
  const outcome = await dipc(["get", `ucx://127.0.0.1:${port}/x?want_data=1&dipc=1`, "--timeout", "1500ms", "--json"]);
  assertError(outcome, 1, "timeout");
  const totals = totalsOf(outcome);
  assertEquals((totals.error as { code: string }).code, "timeout");
  assertGreater(totals.seconds as number, 1.4);
});

testNeeding([needsUcx], "metadata and bodies from two ports: two URIs", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow"), "--metadata-port", "0"]);
  const [metadata, body] = server.uris("trips");
  assert(metadata !== undefined && body !== undefined, "a role is missing");
  const path = folder.file("two.csv");
  const outcome = await dipc(["get", metadata, "--body-uri", body, "-o", path, "--json"]);
  assertEquals([outcome.code, outcome.stderr], [0, ""]);
  assertEquals(totalsOf(outcome).rows, ROWS);
  assertEquals(Deno.readTextFileSync(path).trimEnd().split("\n").length, ROWS + 1);
  const schema = await dipc(["schema", metadata, "--body-uri", body]);
  assertEquals([schema.code, schema.stderr], [0, ""]);
  assertStringIncludes(schema.stdout, "3 columns");
});

testNeeding([needsUcx], "schema shows the columns, as text and as JSON", () =>
  withTrips(async (uri) => {
    const text = await dipc(["schema", uri]);
    assertEquals([text.code, text.stderr], [0, ""]);
    assertMatch(text.stdout, /^3 columns\n {2}id +int32 not null\n {2}fare +double/);
    const json = JSON.parse((await dipc(["schema", uri, "--json"])).stdout);
    assertEquals(json.fields.map(({ name }: { name: string }) => name), ["id", "fare", "zone"]);
    assertEquals(json.fields[2].dictionary, true);
    assertEquals(json.fields[0], { name: "id", type: "int32", nullable: false });
    const failed = await dipc(["schema", uri.replace("/trips", "/none"), "--json"]);
    assertError(failed, 1, "not_found");
    assertEquals(JSON.parse(failed.stdout).error.code, "not_found");
  }));

for (
  const [args, code] of [
    [["get"], "invalid_argument"],
    [["get", "ucx://h:1/x?want_data=1", "ticket", "more"], "invalid_argument"],
    [["get", "http://127.0.0.1:1/x?want_data=1"], "invalid_uri"],
    [["get", "ucx://127.0.0.1:1/x"], "invalid_uri"],
    [["get", "ucx://127.0.0.1:1/x?want_data=1", "--limit", "-1"], "invalid_argument"],
    [["get", "ucx://127.0.0.1:1/x?want_data=1", "-o", "data"], "invalid_argument"],
    [["get", "ucx://127.0.0.1:1/x?want_data=1", "--format", "csv"], "invalid_argument"],
    [["get", "ucx://127.0.0.1:1/x?want_data=1", "--timeout", "soon"], "invalid_argument"],
    [["get", "ucx://127.0.0.1:1/x?want_data=1", "--jsn"], "invalid_argument"],
  ] as const
) {
  testNeeding([needsUcx], `usage error, exit status 2: dipc ${args.join(" ")}`, async () => {
    const outcome = await dipc([...args, "--json"]);
    assertError(outcome, 2, code);
    const { error } = totalsOf(outcome) as { error: { code: string; message: string } };
    assertEquals(error.code, code);
    assertStringIncludes(outcome.stderr, error.message);
  });
}

testNeeding([needsUcx], "the server killed in the middle: an error with the batches so far, and no file", async () => {
  using folder = new TemporaryFolder();
  await using held = await HeldStream.open();
  const { server } = held;
  const path = folder.file("part.arrows");
  const client = startDipc(["get", held.uri, "-o", path, "--json"]);
  await untilWriting(folder);
  server.kill("SIGKILL");
  const outcome = await client.outcome;
  assertError(outcome, 1, "connection_lost");
  const totals = totalsOf(outcome);
  assertEquals(totals.complete, false);
  assertMatch((totals.error as { message: string }).message, /batch/);
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

testNeeding([needsUcx], "Ctrl-C during get: exit status 130, a word about it, no file left", async () => {
  using folder = new TemporaryFolder();
  await using held = await HeldStream.open();
  const client = startDipc(["get", held.uri, "-o", folder.file("part.arrows"), "--json"]);
  await untilWriting(folder);
  client.kill("SIGINT");
  const outcome = await client.outcome;
  assertError(outcome, 130, "cancelled");
  assertEquals((totalsOf(outcome).error as { code: string }).code, "cancelled");
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

testNeeding([needsUcx], "a server that stalls ends get after --timeout, with the batches so far", async () => {
  await using held = await HeldStream.open();
  const outcome = await dipc(["get", held.uri, "--timeout", "2s", "--json"]);
  assertError(outcome, 1, "timeout");
  const totals = totalsOf(outcome);
  assertEquals([totals.batches, totals.complete], [2, false]);
  assertMatch((totals.error as { message: string }).message, /2 batches/);
});

for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 1]] as const) {
  testNeeding([needsUcx], `${signal} while get connects: exit status ${status}`, async () => {
    using silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const { port } = silent.addr as Deno.NetAddr;
    const client = startDipc(["get", `ucx://127.0.0.1:${port}/x?want_data=1&dipc=1`, "--json"]);
    // The connection shows that its signal handlers are there.
    using _connection = await silent.accept();
    client.kill(signal);
    const outcome = await client.outcome;
    assertError(outcome, status, "cancelled");
    assertEquals(totalsOf(outcome).batches, 0);
  });
}

testNeeding([needsUcx], "UCX's own messages never reach standard output", () =>
  withTrips(async (uri) => {
    const quiet = await dipc(["get", uri, "-o", "-", "--format", "csv"]);
    const loud = await dipc(["get", uri, "-o", "-", "--format", "csv"], { env: { UCX_LOG_LEVEL: "info" } });
    assertEquals([loud.code, loud.stdout], [0, quiet.stdout]);
    assertGreater(loud.stderr.length, quiet.stderr.length);
  }));

testNeeding([needsUcx], "a URI that is not the server's own ends with a hint", () =>
  withTrips(async (uri) => {
    const outcome = await dipc(["get", uri.replace(/want_data=\d+/, "want_data=1"), "--timeout", "10s"]);
    assertError(outcome, 1, "protocol");
    assertStringIncludes(outcome.stderr, "; check that the URI is the one that this server printed");
  }));

const needsScript: Need = {
  what: "script(1)",
  present: findCommand("script") !== null,
  how: "install bsdutils",
};

/** Runs a command on a terminal of its own. */
function onTerminal(args: readonly string[]): Running {
  const quoted = [Deno.execPath(), "run", "-A", "-q", CLI, ...args].map((word) => `'${word}'`).join(" ");
  const child = new Deno.Command("script", {
    args: ["-qec", quoted, "/dev/null"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child, performance.now(), 60_000);
}

testNeeding(
  [needsUcx, needsScript],
  "on a terminal get -o counts while data arrives, and takes the line away",
  async () => {
    using folder = new TemporaryFolder();
    await using held = await HeldStream.open();
    await using client = onTerminal(["get", held.uri, "-o", folder.file("live.csv")]);
    await untilWriting(folder);
    // The line with the counts is shown after a second.
    await delay(1500);
    await held.finish();
    const { code, stdout } = await client.outcome;
    assertEquals(code, 0, stdout);
    // "Erase to the end of the line", made visible.
    const shown = stdout.replaceAll("\x1b[K", "<erase>");
    assertMatch(shown, /\r[\d,]+ rows, [\d.]+ kB, .*\/s, .* m?s<erase>/);
    assertMatch(shown, /\r<erase>\S+live\.csv: 3,000 rows in 3 batches/);
  },
);

testNeeding(
  [needsUcx, needsScript],
  "a terminal that tells no size shows as many columns as a pipe",
  () =>
    withTrips(async (uri) => {
      await using shown = onTerminal(["get", uri]);
      assertMatch((await shown.outcome).stdout, /^ *id +fare +zone/m);
    }),
);

testNeeding([needsUcx, needsScript], "binary data is not written to a terminal", () =>
  withTrips(async (uri) => {
    await using refused = onTerminal(["get", uri, "-o", "-"]);
    const outcome = await refused.outcome;
    assertEquals(outcome.code, 2);
    assertStringIncludes(
      outcome.stdout,
      "error[invalid_argument]: cannot write arrows to standard output: it is a terminal",
    );
    await using shown = onTerminal(["get", uri, "-o", "-", "--format", "csv", "--limit", "1"]);
    assertStringIncludes((await shown.outcome).stdout, "id,fare,zone");
  }));
