/** `dipc gateway` as a process: what it prints, certificates on both sides, several engines, mistakes on the command line. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { tableToIPC } from "apache-arrow";
import { FlightClient, serveFlight } from "../../flight.ts";
import { Authority } from "../support/certificates.ts";
import { tripsTable } from "../support/cli_data.ts";
import { startGateway } from "../gateway/support/gateways.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { fromBatches, serve as serveData } from "../../mod.ts";
import { dipc, serve } from "../support/processes.ts";

testNeeding(
  [needsUcx],
  "gateway offers a server's data by UCX, with TLS on both sides, and ends on SIGTERM",
  async () => {
    using folder = new TemporaryFolder();
    const authority = await Authority.create();
    const { cert, key } = await authority.issue("localhost");
    const file = (name: string, text: string): string => {
      Deno.writeTextFileSync(folder.file(name), text);
      return folder.file(name);
    };
    const [ca, pem, keyFile] = [file("ca.pem", authority.cert), file("cert.pem", cert), file("key.pem", key)];
    const trips = folder.file("trips.arrow");
    Deno.writeFileSync(trips, tableToIPC(tripsTable(), "file"));
    const tls = ["--tls-cert", pem, "--tls-key", keyFile, "--advertise", "localhost"];
    await using engine = await serve([trips, "--flight-port", "0", "--no-ucx", ...tls]);
    await using gateway = await startGateway([
      engine.info.flight!,
      "--engine-ca",
      ca,
      "--share",
      "--one-fetch",
      ...tls,
    ]);
    assertMatch(gateway.location, /^grpc\+tls:\/\/localhost:\d+$/);
    for (const route of ["ucx", "flight"]) {
      const args = ["get", gateway.location, "trips", "--route", route, "--tls-ca", ca, "--json"];
      const { code, stdout, stderr } = await dipc(args);
      const { rows, route: taken } = JSON.parse(stdout);
      assertEquals([code, rows, taken], [0, tripsTable().numRows, route], stderr);
    }
    gateway.running.kill("SIGTERM");
    // A client that waits for half a second looks whether something else than TLS is spoken there, which the log mentions.
    assertEquals((await gateway.running.outcome).code, 0);
  },
);

Deno.test("gateway without UCX has several engines, and logs what its clients are not told", async () => {
  const start = (name: string) =>
    serveFlight({
      handlers: {
        actions: {
          who: { run: () => [new TextEncoder().encode(name)] },
          CreatePreparedStatement: { run: () => [] }, // by which a server of SQL is known
        },
      },
    });
  await using one = await start("one");
  const two = await start("two");
  await using gateway = await startGateway([`one=${one.location}`, `two=${two.location}`, "--no-ucx"]);
  await using client = await FlightClient.connect(gateway.location, { headers: { "dipc-engine": "two" } });
  for await (const body of client.doAction("who")) assertEquals(new TextDecoder().decode(body), "two");
  await two.shutdown();
  const { code, stderr } = await dipc(["action", gateway.location, "who", "--header", "dipc-engine=two"]);
  assertEquals(code, 1);
  assertMatch(stderr, /^error\[unreachable\]: .*its own log says why/);
  const lost = await dipc(["get", `${gateway.location}/two/trips`]);
  assertMatch(lost.stderr, /^error\[unreachable\]: .*its own log says why$/m); // not that the other one has SQL
  gateway.running.kill("SIGTERM");
  const outcome = await gateway.running.outcome;
  assertEquals(outcome.code, 0);
  assertStringIncludes(
    outcome.stderr,
    `error[unreachable]: Flight, connection 2, DoAction: cannot connect to ${two.location}`,
  );
});

testNeeding([needsUcx], "gateway names its engines alike if it has one, and logs a client that leaves", async () => {
  const { schema, batches: [batch] } = tripsTable();
  await using engine = await serveData({
    datasets: {
      endless: await fromBatches(
        (function* () {
          for (;;) yield batch;
        })(),
        schema,
      ),
    },
    flight: { ucx: "off" },
  });
  const uri = engine.flight!.location;
  await using gateway = await startGateway([uri]);
  const { engines } = JSON.parse((await gateway.running.firstLine)!);
  assertEquals(engines, { "": uri });
  const { code, stderr } = await dipc(["get", gateway.location, "endless", "--route", "ucx", "--limit", "1"]);
  assertEquals(code, 0, stderr);
  gateway.running.kill("SIGTERM");
  assertMatch((await gateway.running.outcome).stderr, /^connection 1: the client left after \d+ batch(es)?$/m);
});

Deno.test("gateway says what is wrong on its command line", async () => {
  const cases: readonly [args: string[], status: number, text: RegExp][] = [
    [[], 2, /it needs the URI of a Flight server/],
    [["127.0.0.1:8815"], 2, /did you mean grpc:\/\/127\.0\.0\.1:8815\?/],
    [["grpc://a:1", "grpc://b:1"], 2, /with several, write NAME=URI/],
    [["a=grpc://a:1", "a=grpc://b:1"], 2, /there is an engine "a" already/],
    [["a=ucx://a:1"], 2, /is not the URI of a Flight server/],
    [["grpc://a:1", "--share", "--no-ucx"], 2, /cannot use --share/],
    [["grpc://a:1", "--engine-cert", "x"], 2, /cannot use --engine-cert or --engine-key alone/],
    [["grpc://a:1", "--engine-ca", "x"], 2, /cannot use --engine-ca: .*write grpc\+tls: in its URI/],
    [["a=grpc://a:1", "b=grpc://b:1", "--engine-cert", "x", "--engine-key", "y"], 2, /cannot use --engine-cert: .*TLS/],
    [["grpc://a:1", "--engine-ca", "no such", "--trust-locations"], 1, /no such/],
    [["a=grpc://a:1", "b=grpc+tls://b:1", "--engine-ca", "no such"], 1, /no such/],
    [["grpc://a:1", "--port", "0", "--no-ucx"], 2, /cannot use --port: .*--no-ucx/],
    [["grpc://a:1", "--keep-results", "5s"], 2, /cannot use --keep-results: .*give --one-fetch too/],
    [["grpc://a:1", "--flight-port", "65536"], 2, /--flight-port/],
  ];
  for (const [args, status, text] of cases) {
    const { code, stderr } = await dipc(["gateway", ...args]);
    assertEquals(code, status, stderr);
    assertMatch(stderr, text);
  }
});
