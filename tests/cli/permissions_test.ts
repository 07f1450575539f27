/**
 * The permissions that `docs/permissions.md` names: each set is enough, and without any one of its flags the command says
 * which flag it needs.
 */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { DipcError, fromTable, serve as serveData } from "../../mod.ts";
import { serveFlight } from "../../flight.ts";
import { tripsBytes, tripsTable } from "../support/cli_data.ts";
import { endpoint, fakeFlight, infoBytes } from "../support/flight_fake.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { npmFolder, ROOT, TemporaryFolder } from "../support/paths.ts";
import { dipc, type Outcome, type Running, serve, startWithFlags } from "../support/processes.ts";
import { needsPython } from "../support/python.ts";
import { onTerminal } from "../support/terminal.ts";

const FFI = "--allow-ffi";
const ENV = "--allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME";

/** Runs `dipc` with these permissions and no others. */
function start(flags: readonly string[], args: readonly string[], cwd: string): Running {
  return startWithFlags(["--no-prompt", ...flags], args, cwd);
}

/** Whether libucp is found even if no variable may be read: then nothing needs `--allow-env`. */
async function findsLibraryWithoutEnv(): Promise<boolean> {
  return (await start([FFI], ["doctor"], ROOT).outcome).code === 0;
}

function assertDenied(outcome: Outcome, flag: string): void {
  assertEquals(outcome.code, 1, `without ${flag}: ${outcome.stdout}`);
  assertMatch(outcome.stderr, /^error\[permission_denied\]: /m, `without ${flag}`);
  assert(outcome.stderr.includes(flag.split("=")[0]), `the message without ${flag} names no flag: ${outcome.stderr}`);
}

/** Runs a command with all flags, then without each of them. */
async function checkFlags(flags: readonly string[], args: readonly string[], cwd: string): Promise<void> {
  const whole = await start(flags, args, cwd).outcome;
  assertEquals([whole.code, whole.stderr], [0, ""], `${args}`);
  const withoutEnv = await findsLibraryWithoutEnv();
  for (const flag of flags) {
    if (flag === ENV && withoutEnv) {
      console.log(`${ENV} is not needed here: the system's loader finds a libucp`);
      continue;
    }
    assertDenied(await start(flags.filter((each) => each !== flag), args, cwd).outcome, flag);
  }
}

testNeeding([needsUcx], "get and schema run with FFI and three variables", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow")]);
  const uri = server.uri("trips");
  await checkFlags([FFI, ENV], ["get", uri, "--json"], folder.path);
  await checkFlags([FFI, ENV], ["get", uri], folder.path);
  await checkFlags([FFI, ENV], ["schema", uri], folder.path);
});

testNeeding([needsUcx], "get -o FILE needs its folder besides, whatever the format", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  await using server = await serve([folder.file("trips.arrow")]);
  const uri = server.uri("trips");
  const files = [FFI, ENV, "--allow-read=.", "--allow-write=."];
  for (const format of ["arrows", "arrow", "csv", "ndjson", "parquet"]) {
    const outcome = await start(files, ["get", uri, "-o", `x.${format}`], folder.path).outcome;
    assertEquals([outcome.code, outcome.stderr], [0, ""], format);
  }
  await checkFlags(files, ["get", uri, "-o", "y.csv", "--json"], folder.path);
  const unwritable = await start([FFI, ENV], ["get", uri, "-o", "y.csv"], folder.path).outcome;
  assertMatch(unwritable.stderr, /run again with --allow-read=\. --allow-write=\.\n$/);
});

testNeeding(
  [needsUcx],
  "serve needs to read its files besides, and Parquet Deno's folder of npm packages",
  async () => {
    using folder = new TemporaryFolder();
    Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
    Deno.writeFileSync(folder.file("rides.arrows"), tripsBytes("stream"));
    const flags = [FFI, ENV, "--allow-read=trips.arrow,rides.arrows"];
    const args = ["serve", "trips.arrow", "rides.arrows", "--json"];
    {
      await using running = start(flags, args, folder.path);
      const { datasets } = JSON.parse((await running.firstLine) ?? "{}");
      for (const { uris } of datasets) {
        const { code, stdout } = await dipc(["get", uris[0], "--json"]);
        assertEquals([code, JSON.parse(stdout).rows], [0, 3000]);
      }
      assertEquals((await dipc(["get", datasets[0].uris[0], "-o", folder.file("t.parquet")])).code, 0);
    }
    const withoutEnv = await findsLibraryWithoutEnv();
    for (const flag of flags) {
      if (flag === ENV && withoutEnv) continue;
      assertDenied(await start(flags.filter((each) => each !== flag), args, folder.path).outcome, flag);
    }
    const denied = await start(
      [FFI, ENV, `--allow-read=t.parquet,${ROOT}`],
      ["serve", "t.parquet", "--json"],
      folder.path,
    )
      .outcome;
    assertDenied(denied, "--allow-read");
    assertMatch(denied.stderr, /; run again with --allow-read=\S*\/npm\n$/);
    {
      await using running = start(
        [FFI, ENV, `--allow-read=t.parquet,${await npmFolder()},${ROOT}`],
        ["serve", "t.parquet", "--json"],
        folder.path,
      );
      const { datasets } = JSON.parse((await running.firstLine) ?? "{}");
      const { code, stdout } = await dipc(["get", datasets[0].uris[0], "--json"]);
      assertEquals([code, JSON.parse(stdout).rows], [0, 3000]);
    }
  },
);

testNeeding([needsUcx], "doctor runs with FFI and three variables, and says what it could not see", async () => {
  const { code, stdout } = await start([FFI, ENV], ["doctor", "--json"], ROOT).outcome;
  assertEquals(code, 0);
  const facts = JSON.parse(stdout);
  assertEquals([facts.ok, facts.permissions.ffi, facts.permissions.read], [true, "granted", "not granted"]);
  const some = await start([FFI, ENV, "--allow-read=."], ["doctor"], ROOT).outcome;
  assertMatch(some.stdout, /^permissions +ffi granted, read some paths, write not granted, env some variables/m);
  assert(facts.hardware.some((text: string) => text.includes("--allow-read")), JSON.stringify(facts.hardware));
});

Deno.test("help and version need no permission at all", async () => {
  for (const args of [["--help"], ["--version"], ["get", "--help"], ["help", "serve"]]) {
    const { code, stdout, stderr } = await start([], args, ROOT).outcome;
    assertEquals([code, stderr], [0, ""], `${args}`);
    assert(stdout.startsWith("dipc"), stdout);
  }
});

testNeeding([needsUcx], "gateway needs the addresses of both sides, and FFI for UCX", async () => {
  using folder = new TemporaryFolder();
  await using engine = await serveFlight();
  const args = ["gateway", engine.location, "--json"];
  const net = `--allow-net=127.0.0.1:0,${engine.location.replace("grpc://", "")}`;
  for (const [flags, more] of [[[FFI, ENV, net], []], [[net], ["--no-ucx"]]] as const) {
    {
      await using running = start(flags, [...args, ...more], folder.path);
      assertMatch((await running.firstLine) ?? "", /"flight":"grpc:/);
    }
    for (const flag of flags) {
      if (flag === ENV) continue;
      const less = flags.filter((each) => each !== flag);
      assertDenied(await start(less, [...args, ...more], folder.path).outcome, flag);
    }
  }
});

Deno.test("a Flight server needs the network, and neither FFI nor variables; put and a file of a token need what they read", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  Deno.writeTextFileSync(folder.file("token"), "secret");
  const data = await fromTable(tripsTable());
  await using server = await fakeFlight(async (call) => {
    await call.received();
    if (call.method === "DoGet") await call.data(data);
    if (call.method === "GetFlightInfo") await call.message(infoBytes([endpoint("t")]));
    call.finish();
  });
  const net = `--allow-net=${server.location.replace("grpc://", "")}`;
  await checkFlags([net], ["get", server.location, "trips", "--json"], folder.path);
  await checkFlags([net], ["ls", server.location], folder.path);
  await checkFlags([net, "--allow-read=token"], ["ls", server.location, "--token-file", "token"], folder.path);
  await checkFlags([net, FFI, "--allow-read=trips.arrow"], ["put", "trips.arrow", server.location], folder.path);
});

Deno.test("a flight is limited, shown and written without FFI", async () => {
  using folder = new TemporaryFolder();
  const data = await fromTable(tripsTable());
  await using server = await fakeFlight(async (call) => {
    await call.received();
    if (call.method === "DoGet") await call.data(data);
    if (call.method === "GetFlightInfo") await call.message(infoBytes([endpoint("t")]));
    call.finish();
  });
  const net = `--allow-net=${server.location.replace("grpc://", "")}`;
  const files = ["--allow-write=.", `--allow-read=.,${await npmFolder()},${ROOT}`];
  const get = async (...args: string[]): Promise<Outcome> =>
    await start([net, ...files], ["get", server.location, "trips", ...args], folder.path).outcome;
  for (const format of ["arrows", "arrow", "csv", "ndjson", "parquet"]) {
    for (const [limit, rows] of [[[], 3000], [["--limit", "1500"], 1500]] as const) {
      const { code, stdout, stderr } = await get("-o", `x.${format}`, "--json", ...limit);
      assertEquals([code, stderr, JSON.parse(stdout).rows], [0, "", rows], format);
    }
  }
  const shown = await get("--limit", "7");
  assertEquals([shown.code, shown.stderr], [0, ""]);
  assertStringIncludes(shown.stdout, "7 rows in 1 batch");
});

testNeeding([needsUcx], "serve names everything that Flight and uploads need before it starts", async () => {
  using folder = new TemporaryFolder();
  Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
  Deno.mkdirSync(folder.file("uploads"));
  const args = ["serve", "trips.arrow", "--flight-port", "0", "--allow-put", "uploads", "--json"];
  const nothing = await start([], args, folder.path).outcome;
  assertEquals([nothing.code, JSON.parse(nothing.stdout).error.code], [1, "permission_denied"]);
  assertMatch(
    nothing.stderr,
    /^error\[permission_denied\]: cannot run dipc serve: .*; run again with --allow-ffi --allow-read=trips\.arrow,uploads --allow-net=127\.0\.0\.1 --allow-write=uploads --allow-env=DIPC_LIBUCP,HOME,XDG_CACHE_HOME\n$/,
  );
  const flags = [FFI, "--allow-net=127.0.0.1", "--allow-read=trips.arrow,uploads", "--allow-write=uploads"];
  for (const flag of flags) {
    const rest = [ENV, ...flags.filter((each) => each !== flag)];
    const outcome = await start(rest, args, folder.path).outcome;
    assertDenied(outcome, flag);
    assertMatch(outcome.stderr, /^error\[[^\n]*\n$/);
  }
  await using running = start([ENV, ...flags], args, folder.path);
  const { flight } = JSON.parse((await running.firstLine) ?? "{}");
  assertEquals((await dipc(["put", folder.file("trips.arrow"), flight, "mine"])).code, 0);
  // A folder that becomes read-only is reported by the server, whose client learns only the code.
  Deno.removeSync(folder.file("uploads"), { recursive: true });
  const failed = await dipc(["put", folder.file("trips.arrow"), flight, "other"]);
  assertEquals(failed.code, 1);
  running.kill("SIGTERM");
  assertMatch(
    (await running.outcome).stderr,
    /^error\[io\]: Flight, connection \d+, DoPut, dataset other: cannot keep the upload: /m,
  );
});

Deno.test({
  name: "a missing permission of a server in a program can be caught, and so can a folder that cannot keep uploads",
  permissions: { ffi: true, env: true, read: true, net: false, write: false },
  async fn() {
    const denied = async (run: () => Promise<unknown>): Promise<string> => {
      const error = await assertRejects(run, DipcError);
      assertEquals(error.code, "permission_denied");
      return error.message;
    };
    assertMatch(await denied(() => serveFlight({})), /run again with --allow-net=127\.0\.0\.1$/);
    assertMatch(await denied(() => serveFlight({ address: "::1", port: 8815 })), /--allow-net=\[::1\]:8815$/);
    const datasets = { trips: tripsTable() };
    const ucx = "off";
    assertMatch(await denied(() => serveData({ datasets, flight: { ucx } })), /--allow-net=127\.0\.0\.1$/);
    assertMatch(await denied(() => serveData({ datasets, flight: { ucx, allowPut: "/tmp" } })), /--allow-write=\/tmp$/);
  },
});

testNeeding(
  [needsUcx, needsPython],
  "on a terminal the answers to Deno's questions are enough, and a no is named",
  async () => {
    using folder = new TemporaryFolder();
    Deno.writeFileSync(folder.file("trips.arrow"), tripsBytes("file"));
    await using server = await serve([folder.file("trips.arrow")]);
    const command = [Deno.execPath(), "run", "--config", `${ROOT}/deno.json`, `${ROOT}/cli.ts`, "schema"];
    const yes = Array.from({ length: 4 }, () => ["Allow?", "y\n"] as const);
    const granted = await onTerminal([...command, server.uri("trips")], { cwd: folder.path, answers: yes });
    assertEquals(granted.code, 0, granted.text);
    assertMatch(granted.text, /zone/);
    const no = [["Allow?", "n\n"]] as const;
    const denied = await onTerminal([...command, server.uri("trips")], { cwd: folder.path, answers: no });
    assertEquals(denied.code, 1);
    assertMatch(
      denied.text,
      /error\[permission_denied\]: cannot run dipc schema: Deno denied ffi access; run again with/,
    );
  },
);
