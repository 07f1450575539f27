/** `dipc serve` as a process: what it prints, what it refuses, how it ends. */
import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { delay } from "../support/time.ts";
import { TRIP_BATCH_ROWS, tripsBytes } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { unusedPort } from "../support/ports.ts";
import { isAlive } from "../support/proc.ts";
import { dipc, serve, startDipc } from "../support/processes.ts";
import { HeldStream, untilWriting } from "./support/held_stream.ts";

function folderWithTrips(): TemporaryFolder {
  const folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  Deno.writeFileSync(folder.file("rides.arrows"), tripsBytes("stream"));
  return folder;
}

testNeeding([needsUcx], "serve prints one line per dataset: name, rows or batches, bytes, URI", async () => {
  using folder = folderWithTrips();
  await using server = startDipc(["serve", folder.file("trips.arrow"), `r=${folder.file("rides.arrows")}`]);
  assertMatch(
    await server.firstLine ?? "",
    /^trips +3,000 rows +[\d.]+ kB {2}ucx:\/\/127\.0\.0\.1:\d+\/trips\?want_data=\d+\S*$/,
  );
  assertMatch(await server.nextLine() ?? "", /^r +.+ {2}ucx:\/\/127\.0\.0\.1:\d+\/r\?\S+$/);
});

testNeeding([needsUcx], "serve --json: exactly one object as the first line, and nothing after it", async () => {
  using folder = folderWithTrips();
  const running = startDipc(["serve", folder.file("trips.arrow"), "--json"]);
  const info = JSON.parse((await running.firstLine)!);
  assertEquals(Object.keys(info).slice(0, 4), ["pid", "address", "port", "datasets"]);
  assertEquals(info.pid, running.pid);
  assertEquals(info.address, "127.0.0.1");
  assertGreater(info.port, 0);
  assertEquals(info.datasets.length, 1);
  assertEquals(info.datasets[0].name, "trips");
  assertEquals(info.datasets[0].uris.length, 1);
  assertEquals(info.datasets[0].rows, 3 * TRIP_BATCH_ROWS);
  assertEquals((await dipc(["get", info.datasets[0].uris[0], "--json"])).code, 0);
  running.kill("SIGTERM");
  const { code, stdout } = await running.outcome;
  assertEquals(code, 0);
  assertEquals(stdout.trimEnd().split("\n").length, 1);
});

testNeeding(
  [needsUcx],
  "serve --port listens on that port, and a second server on it reports the conflict",
  async () => {
    using folder = folderWithTrips();
    const path = folder.file("trips.arrow");
    const port = unusedPort();
    await using server = await serve([path, "--port", String(port)]);
    assertEquals(server.info.port, port);
    const second = await dipc(["serve", path, "--port", String(port), "--json"], { timeoutMs: 20_000 });
    assertEquals(second.code, 1);
    assertMatch(second.stderr, /^error\[unreachable\]: .*\d+/m);
    assertEquals(JSON.parse(second.stdout).error.code, "unreachable");
  },
);

testNeeding([needsUcx], "serve --advertise names the host of the URIs", async () => {
  using folder = folderWithTrips();
  await using server = await serve([folder.file("trips.arrow"), "--advertise", "localhost"]);
  assertMatch(server.uri("trips"), /^ucx:\/\/localhost:\d+\/trips\?/);
  assertEquals((await dipc(["get", server.uri("trips"), "--json"])).code, 0);
});

testNeeding([needsUcx], "a name with spaces, signs and letters of other scripts makes a good URI", async () => {
  using folder = folderWithTrips();
  await using server = await serve([`städte & more 2024=${folder.file("trips.arrow")}`]);
  const uri = server.uri("städte & more 2024");
  assertEquals((await dipc(["get", uri, "--json"])).code, 0, uri);
});

testNeeding([needsUcx], "standard input is served once, and a second client hears why not", async () => {
  await using server = startDipc(["serve", "-", "--json"], { stdin: "piped" });
  await server.write(tripsBytes("stream"));
  await server.closeStdin();
  const { datasets } = JSON.parse((await server.firstLine)!);
  assertEquals(datasets[0].name, "stdin");
  const first = await dipc(["get", datasets[0].uris[0], "--json"]);
  assertEquals([first.code, JSON.parse(first.stdout).rows], [0, 3 * TRIP_BATCH_ROWS]);
  const second = await dipc(["get", datasets[0].uris[0]]);
  assertEquals(second.code, 1);
  assertMatch(second.stderr, /^error\[busy\]: .{10,}/m);
});

for (
  const [signal, status] of [["SIGINT", 130], ["SIGTERM", 0]] as const
) {
  testNeeding([needsUcx], `an idle server ends at once on ${signal}, with exit status ${status}`, async () => {
    using folder = folderWithTrips();
    const running = startDipc(["serve", folder.file("trips.arrow"), "--json"]);
    await running.firstLine;
    running.kill(signal);
    const { code, stderr } = await running.outcome;
    assertEquals([code, stderr], [status, ""]);
    assert(!isAlive(running.pid), "the server still runs");
  });
}

testNeeding([needsUcx], "a running stream is finished after SIGTERM, and new clients are refused", async () => {
  using folder = new TemporaryFolder();
  await using held = await HeldStream.open();
  const { server } = held;
  const client = startDipc(["get", held.uri, "-o", folder.file("out.arrows"), "--json"]);
  await untilWriting(folder);
  server.kill("SIGTERM");
  // It must still be there after a while.
  await delay(300);
  assert(!server.ended, "the server ended at the first signal");
  await held.finish();
  const outcome = await client.outcome;
  assertEquals([outcome.code, JSON.parse(outcome.stdout).complete], [0, true], outcome.stderr);
  const { code, stderr } = await server.outcome;
  assertEquals(code, 0);
  assertStringIncludes(stderr, "stopping: 1 connection open");
});

testNeeding([needsUcx], "a second Ctrl-C ends the server at once", async () => {
  using folder = new TemporaryFolder();
  await using held = await HeldStream.open();
  const { server } = held;
  const client = startDipc(["get", held.uri, "-o", folder.file("out.arrows"), "--json"]);
  await untilWriting(folder);
  server.kill("SIGINT");
  // It must still be there after a while.
  await delay(300);
  assert(!server.ended, "the server ended at the first signal");
  server.kill("SIGINT");
  assertEquals((await server.outcome).code, 130);
  const outcome = await client.outcome;
  assertEquals(outcome.code, 1);
  assertMatch(outcome.stderr, /^error\[connection_lost\]/m);
});

testNeeding([needsUcx], "serve refuses what it cannot serve, and says why", async () => {
  using folder = folderWithTrips();
  Deno.writeTextFileSync(folder.file("text.csv"), "a,b\n1,2\n");
  Deno.writeTextFileSync(folder.file("empty.arrow"), "");
  const trips = folder.file("trips.arrow");
  for (
    const [args, status, code, text] of [
      [[], 2, "invalid_argument", "needs a file"],
      [[trips, folder.file("trips.parquet")], 2, "invalid_argument", "NAME=PATH"],
      [[`a=${trips}`, `a=${folder.file("rides.arrows")}`], 2, "invalid_argument", '"a"'],
      [[trips, "--port", "70000"], 2, "invalid_argument", "65535"],
      [[trips, "--batch-rows", "0"], 2, "invalid_argument", "--batch-rows"],
      [[folder.file("none.arrow")], 1, "not_found", "none.arrow"],
      [[folder.file("text.csv")], 1, "invalid_data", "give an Arrow, Feather or Parquet file (CSV, JSON and text"],
      [[folder.file("empty.arrow")], 1, "invalid_data", "empty"],
      [[folder.path], 1, "invalid_argument", "directory"],
    ] as const
  ) {
    const outcome = await dipc(["serve", ...args, "--json"], { timeoutMs: 20_000 });
    assertEquals(outcome.code, status, `${args}: ${outcome.stderr}`);
    assertMatch(outcome.stderr, new RegExp(`^error\\[${code}\\]: `));
    assertStringIncludes(outcome.stderr, text);
    assertEquals(JSON.parse(outcome.stdout).error.code, code);
  }
});

testNeeding([needsUcx], "a client that leaves early is not an error of the server", async () => {
  using folder = folderWithTrips();
  await using server = await serve([folder.file("trips.arrow")]);
  assertEquals((await dipc(["get", server.uri("trips"), "--limit", "1"])).code, 0);
  assertEquals((await dipc(["schema", server.uri("trips")])).code, 0);
  server.running.kill("SIGTERM");
  const { code, stderr } = await server.running.outcome;
  assertEquals(code, 0);
  assert(!stderr.includes("error["), stderr);
});

testNeeding(
  [needsUcx],
  "serve --isolates prints a URI for each, and every client gets the whole file from any of them",
  async () => {
    using folder = folderWithTrips();
    const paths = [folder.file("trips.arrow"), `r=${folder.file("rides.arrows")}`];
    {
      await using text = startDipc(["serve", ...paths, "--isolates", "2"]);
      assertMatch(await text.firstLine ?? "", /^trips +3,000 rows .+ {2}ucx:\/\/\S+ {2}ucx:\/\/\S+$/);
    }
    const running = startDipc(["serve", ...paths, "--isolates", "2", "--json"]);
    const { port, datasets } = JSON.parse((await running.firstLine)!);
    for (const { uris } of datasets) {
      assertEquals(uris.length, 2);
      for (const uri of uris) assertEquals(JSON.parse((await dipc(["get", uri, "--json"])).stdout).rows, 3000);
    }
    assertStringIncludes(datasets[0].uris[0], `:${port}/`);
    const early = await dipc(["get", datasets[0].uris[1].replace("trips", "nothing")]);
    assertMatch(early.stderr, /no such dataset/);
    running.kill("SIGTERM");
    const { code, stderr } = await running.outcome;
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /^error\[not_found\]: connection 5: .*no such dataset/);
    for (const isolates of ["0", "x", "257"]) {
      const { code, stderr } = await dipc(["serve", paths[0], "--isolates", isolates]);
      assertEquals(code, 2);
      assertStringIncludes(stderr, "--isolates");
    }
  },
);
