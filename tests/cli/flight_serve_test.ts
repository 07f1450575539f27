/** `dipc serve` with a Flight side, as processes: users, certificates, uploads, and mistakes on the command line. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { tableToIPC } from "apache-arrow";
import { FlightClient } from "../../flight.ts";
import { readAuthFile } from "../../src/cli/flight_serving.ts";
import { UsageError } from "../../src/cli/args.ts";
import { assertDipcError } from "../support/assert.ts";
import { Authority } from "../support/certificates.ts";
import { tripsTable } from "../support/cli_data.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc, serve, type ServeProcess } from "../support/processes.ts";
import { assertSoon, until } from "../support/time.ts";

function withTrips(name: string, run: (folder: TemporaryFolder, trips: string) => Promise<void>): void {
  testNeeding([needsUcx], name, async () => {
    using folder = new TemporaryFolder();
    const trips = folder.file("trips.arrow");
    await Deno.writeFile(trips, tableToIPC(tripsTable(), "file"));
    await run(folder, trips);
  });
}

function flightOf(server: ServeProcess): string {
  const { flight } = server.info as { flight?: string };
  assert(flight !== undefined, "the first line names no Flight server");
  return flight;
}

withTrips("serve names its Flight server, and ls, schema and get find the data there", async (_folder, trips) => {
  await using server = await serve([trips, "--flight-port", "0"]);
  const flight = flightOf(server);
  assertMatch(flight, /^grpc:\/\/127\.0\.0\.1:\d+$/);
  const listed = await dipc(["ls", flight]);
  assertEquals([listed.code, listed.stderr], [0, ""]);
  assertStringIncludes(listed.stdout, "trips");
  for (const route of ["ucx", "flight"]) {
    const { code, stdout } = await dipc(["get", flight, "trips", "--route", route, "--json"]);
    const totals = JSON.parse(stdout);
    assertEquals([code, totals.rows, totals.route, totals.complete], [0, tripsTable().numRows, route, true]);
  }
});

withTrips("with users, neither Flight nor UCX gives anything to a stranger", async (folder, trips) => {
  const users = folder.file("users.txt"), token = folder.file("token");
  await Deno.writeTextFile(users, "# who may come in\nada:secret:with colon\n\ntoken ci:0123abcd\n");
  await Deno.writeTextFile(token, "0123abcd\n");
  await using server = await serve([trips, "--flight-port", "0", "--auth-file", users]);
  const flight = flightOf(server);
  const outcome = async (...args: string[]): Promise<[number | null, string | undefined, string | undefined]> => {
    const { code, stdout } = await dipc(["get", ...args, "--json"]);
    const { error, route } = JSON.parse(stdout);
    return [code, error?.code, error === undefined ? route : undefined];
  };
  assertEquals(await outcome(flight, "trips"), [1, "permission_denied", undefined]);
  assertEquals(await outcome(flight, "trips", "--user", "ada:wrong"), [1, "permission_denied", undefined]);
  assertEquals(await outcome(flight, "trips", "--user", "bob:secret:with colon"), [1, "permission_denied", undefined]);
  assertEquals(await outcome(server.uri("trips")), [1, "permission_denied", undefined]);
  assertEquals(await outcome(flight, "trips", "--user", "ada:secret:with colon"), [0, undefined, "ucx"]);
  assertEquals(await outcome(flight, "trips", "--token-file", token, "--route", "flight"), [0, undefined, "flight"]);
});

withTrips("certificates on both sides: only clients of the authority come in", async (folder, trips) => {
  const authority = await Authority.create();
  const [own, client] = [await authority.issue("localhost"), await authority.issue("client")];
  const file = async (name: string, text: string): Promise<string> => {
    await Deno.writeTextFile(folder.file(name), text);
    return folder.file(name);
  };
  const ca = await file("ca.pem", authority.cert);
  const tls = ["--tls-cert", await file("s.pem", own.cert), "--tls-key", await file("s.key", own.key)];
  await using server = await serve([trips, "--flight-port", "0", ...tls, "--client-ca", ca]);
  const flight = flightOf(server);
  assertMatch(flight, /^grpc\+tls:/);
  const at = flight.replace("127.0.0.1", "localhost");
  const mine = ["--tls-cert", await file("c.pem", client.cert), "--tls-key", await file("c.key", client.key)];
  const good = await dipc(["get", at, "trips", "--tls-ca", ca, ...mine, "--json"]);
  assertEquals([good.code, JSON.parse(good.stdout).complete], [0, true]);
  const stranger = await dipc(["get", at, "trips", "--tls-ca", ca, "--timeout", "5s", "--json"]);
  assertEquals(stranger.code, 1);
});

withTrips(
  "uploads land in the folder, whole and nowhere else, and are served by both routes",
  async (folder, trips) => {
    const uploads = folder.file("uploads");
    await Deno.mkdir(uploads);
    await using server = await serve(["--flight-port", "0", "--allow-put", uploads]);
    const flight = flightOf(server);
    const put = await dipc(["put", trips, flight, "new"]);
    assertEquals([put.code, put.stderr], [0, ""]);
    assertEquals([...Deno.readDirSync(uploads)].map(({ name }) => name), ["new.arrows"]);
    for (const route of ["ucx", "flight"]) {
      const { code, stdout } = await dipc(["get", flight, "new", "--route", route, "--json"]);
      assertEquals([code, JSON.parse(stdout).rows], [0, tripsTable().numRows]);
    }
    for (const name of ["../out", "/etc/out", "a/b", ".hidden"]) {
      const { code } = await dipc(["put", trips, flight, name]);
      assertEquals(code, 1, name);
    }
    assertEquals([...Deno.readDirSync(uploads)].map(({ name }) => name), ["new.arrows"]);
  },
);

withTrips("--no-ucx serves by Flight alone, without libucp", async (_folder, trips) => {
  const env = { DIPC_LIBUCP: "/nowhere/libucp.so.0" };
  await using server = await serve([trips, "--flight-port", "0", "--no-ucx"], { env });
  assertEquals(server.uris("trips"), []);
  const { code, stdout } = await dipc(["get", flightOf(server), "trips", "--json"]);
  assertEquals([code, JSON.parse(stdout).route], [0, "flight"]);
});

withTrips("options that do not go together are usage errors", async (folder, trips) => {
  const empty = folder.file("empty");
  await Deno.writeTextFile(empty, "# nobody\n");
  const cases: [string[], string][] = [
    [["--auth-file", empty], "cannot use --auth-file: it is for Flight; give --flight-port"],
    [["--no-ucx"], "cannot use --no-ucx: it is for Flight"],
    [["--flight-port", "x"], "--flight-port"],
    [["--flight-port", "0", "--tls-cert", empty], "--tls-cert or --tls-key alone: they go together"],
    [["--flight-port", "0", "--client-ca", empty], "cannot use --client-ca: it is for TLS"],
    [["--flight-port", "0", "--auth-file", empty], "it names no user"],
    [["--flight-port", "0", "--allow-put", empty], "it is not a folder"],
    [["--flight-port", "0", "--no-ucx", "--share"], "cannot use --share: it and --no-ucx exclude each other; give one"],
    [["--metadata-port", "0", "--share"], "cannot use --share: it and --metadata-port exclude each other; give one"],
    [["--flight-port", "0", "--no-ucx", "--port", "0"], "cannot use --port: it is for UCX"],
    [["--flight-port", "0", "--no-ucx", "--metadata-port", "0"], "cannot use --metadata-port: it is for UCX"],
  ];
  for (const [args, text] of cases) {
    const { code, stderr } = await dipc(["serve", trips, ...args]);
    assertEquals(code, 2, `${args}: ${stderr}`);
    assertStringIncludes(stderr, text);
  }
  for (const option of [["--share"], ["--batch-rows", "5"], ["--engine", "wasm"], ["--memory", "cuda:0"]]) {
    const { code, stderr } = await dipc(["serve", "--flight-port", "0", "--allow-put", folder.path, ...option]);
    assertEquals(code, 2, `${option}: ${stderr}`);
    assertStringIncludes(stderr, `cannot use ${option[0]}: it is for datasets, and none is served`);
  }
});

Deno.test("a password may be kept as PBKDF2, and a bad line of the file is named", async () => {
  // By Python: hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 4096).
  const hash = "xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o=";
  const { basic } = readAuthFile(`ada:pbkdf2-sha256$4096$${btoa("salt")}$${hash}`, "users");
  assertEquals([await basic!("ada", "password"), await basic!("ada", "Password")], [true, false]);
  assertEquals(await basic!("bob", "password"), false);
  const bad = ["$0$c2FsdA==$" + hash, "$4096$?$" + hash, "$4096$c2FsdA==$c2hvcnQ=", "$x"].map((end) =>
    `ada:pbkdf2-sha256${end}`
  );
  for (const text of ["ada", ":x", "ada:1\nada:2", ...bad]) {
    await assertRejects(() => Promise.resolve().then(() => readAuthFile(text, "users")), UsageError, "line");
  }
});

withTrips("the actions of a server include a health check, which its users alone may call", async (folder, trips) => {
  const users = folder.file("users.txt");
  Deno.writeTextFileSync(users, "ada:secret\n");
  await using open = await serve([trips, "--flight-port", "0"]);
  const health = await dipc(["action", flightOf(open), "healthcheck"]);
  assertEquals([health.code, health.stdout, health.stderr], [0, "ok\n", ""]);
  assertStringIncludes((await dipc(["action", flightOf(open)])).stdout, "\nhealthcheck  answers ok");
  await using closed = await serve([trips, "--flight-port", "0", "--auth-file", users]);
  assertEquals((await dipc(["action", flightOf(closed), "healthcheck"])).code, 1);
  assertEquals((await dipc(["action", flightOf(closed), "healthcheck", "--user", "ada:secret"])).stdout, "ok\n");
});

withTrips("the limits of the command are those of both sides", async (_folder, trips) => {
  await using server = await serve([
    ...[trips, "--flight-port", "0", "--max-connections", "1", "--request-timeout", "700ms", "--idle-timeout", "2m"],
  ]);
  const flight = flightOf(server);
  // A connection that makes no call is closed after the request's time.
  const held = await Deno.connect({ port: Number(new URL(flight).port) });
  await held.write(new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"));
  const start = performance.now();
  const buffer = new Uint8Array(1000);
  while (await held.read(buffer) !== null);
  held.close();
  assertSoon("closed", start);
  const clients = [await FlightClient.connect(flight), await FlightClient.connect(flight)];
  await clients[0].getSchema({ path: "trips" });
  await assertDipcError("busy", "all 1 of the server are in use", () => clients[1].getSchema({ path: "trips" }));
  for (const client of clients) await client.close();
  // The place is free once both have gone.
  await until(async () => (await dipc(["get", flight, "trips", "--json"])).code === 0);
  server.running.kill();
  assertStringIncludes((await server.running.outcome).stderr, "made no call within 700 ms");
  const wrong = await dipc(["serve", trips, "--max-connections", "0"]);
  assertEquals(wrong.code, 2);
});
