/** The command with Flight servers: `ls`, `schema`, `get`, `put`, `action`, their options and their errors. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { fromTable } from "../../mod.ts";
import { FrameVerifier } from "../../src/flight/data.ts";
import { FrameDecoder } from "../../src/flight/frame_decoder.ts";
import * as proto from "../../src/flight/gen/flight_pb.ts";
import { infoToProto } from "../../src/flight/model.ts";
import { frameMetadata } from "../../src/ipc/frame.ts";
import { defaultReaderLimits } from "../../src/limits.ts";
import { utf8 } from "../support/bytes.ts";
import { Authority } from "../support/certificates.ts";
import { endpoint, type FakeCall, fakeFlight, infoBytes, resultBytes } from "../support/flight_fake.ts";
import { startPythonServer } from "../support/flight_python.ts";
import { testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { dipc } from "../support/processes.ts";
import { needsPython } from "../support/python.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const data = await fromTable(tableFromArrays({ n: Int32Array.of(1, 2, 3) }));

/** Some flights, some actions, and a record of what was asked. */
class Stage {
  readonly asked: [method: string, what: string][] = [];
  readonly headers: Record<string, unknown>[] = [];
  uploaded: { rows: number; path: unknown } | null = null;

  async answer(call: FakeCall): Promise<void> {
    this.headers.push({ ...call.headers });
    switch (call.method) {
      case "ListFlights": {
        this.asked.push(["ListFlights", text(fromBinary(proto.CriteriaSchema, await call.request()).expression)]);
        const nothing = new Uint8Array(0);
        const flight = { schema: nothing, ordered: false, appMetadata: nothing, totalRecords: 3n, totalBytes: 12n };
        const infos = [
          { ...flight, descriptor: { path: ["a", "b"] }, endpoints: [endpoint("t", { locations: ["ucx://h:1"] })] },
          {
            ...flight,
            descriptor: { command: utf8("sel\u0007ect") },
            endpoints: [],
            totalRecords: -1n,
            totalBytes: -1n,
          },
          { ...flight, descriptor: { command: Uint8Array.of(0xff) }, endpoints: [], totalRecords: 2n ** 60n },
        ];
        for (const info of infos) await call.message(toBinary(proto.FlightInfoSchema, infoToProto(info)));
        return call.finish();
      }
      case "GetFlightInfo": {
        const { path, cmd } = fromBinary(proto.FlightDescriptorSchema, await call.request());
        this.asked.push(["GetFlightInfo", path.join("|") || text(cmd)]);
        if (path[0] === "missing") return call.finish(5, "no such flight");
        await call.message(infoBytes([endpoint("t")]));
        return call.finish();
      }
      case "GetSchema":
        await call.message(toBinary(
          proto.SchemaResultSchema,
          create(proto.SchemaResultSchema, {
            schema: frameMetadata(data.schema),
          }),
        ));
        return call.finish();
      case "DoGet":
        await call.data(data);
        return call.finish();
      case "DoPut": {
        const decoder = new FrameDecoder({ maxMetadataBytes: 2 ** 20, maxBodyBytes: 2 ** 20 });
        decoder.push(await call.received());
        const verifier = new FrameVerifier(defaultReaderLimits);
        let rows = 0, path: unknown = null;
        for (let frame; (frame = decoder.take()) !== null;) {
          path ??= frame.descriptor;
          const message = verifier.verify(frame);
          if (message?.header.kind === "batch") rows += message.header.rows;
        }
        this.uploaded = { rows, path };
        const result = create(proto.PutResultSchema, { appMetadata: utf8("taken") });
        await call.message(toBinary(proto.PutResultSchema, result));
        return call.finish();
      }
      case "DoAction": {
        const { type, body } = fromBinary(proto.ActionSchema, await call.request());
        this.asked.push([type, text(body)]);
        if (type === "fail") return call.finish(9, "not now");
        await call.message(resultBytes(utf8("line\u001b[31m one\nline two")));
        await call.message(resultBytes(Uint8Array.of(0xff, 0)));
        return call.finish();
      }
      case "ListActions": {
        const action = create(proto.ActionTypeSchema, { type: "clean", description: "cleans up" });
        await call.message(toBinary(proto.ActionTypeSchema, action));
        return call.finish();
      }
      default:
        return call.finish(12, "unknown");
    }
  }
}

async function withStage(run: (location: string, stage: Stage) => Promise<void>): Promise<void> {
  const stage = new Stage();
  await using server = await fakeFlight((call) => stage.answer(call));
  await run(server.location, stage);
}

Deno.test("ls lists flights, as text without control characters and as JSON", () =>
  withStage(async (location, stage) => {
    const shown = await dipc(["ls", location, "like a"]);
    assertEquals([shown.code, shown.stderr], [0, ""]);
    assertEquals(shown.stdout.split("\n"), [
      "a/b  3 rows  12 B  1 endpoint",
      "command sel\\u0007ect  rows not known  bytes not known  0 endpoints",
      "command /w==  1,152,921,504,606,846,976 rows  12 B  0 endpoints",
      "",
    ]);
    assertEquals(stage.asked, [["ListFlights", "like a"]]);
    const { code, stdout } = await dipc(["ls", location, "--json"]);
    const { flights } = JSON.parse(stdout);
    assertEquals([code, flights.length], [0, 3]);
    assertEquals(flights[0], {
      path: ["a", "b"],
      rows: 3,
      bytes: 12,
      ordered: false,
      endpoints: [{ locations: ["ucx://h:1"] }],
    });
    assertEquals([flights[1].command, flights[2].command], [{ text: "sel\u0007ect" }, { base64: "/w==" }]);
    assertEquals([flights[1].rows, flights[2].rows], [undefined, "1152921504606846976"]);
  }));

Deno.test("get, schema and put name a flight by name, path of the URI or command", () =>
  withStage(async (location, stage) => {
    using folder = new TemporaryFolder();
    const got = await dipc(["get", location, "trips", "--json", "-o", folder.file("t.arrow")]);
    assertEquals([got.code, got.stderr], [0, ""]);
    const { rows, route, routeReason, endpoints } = JSON.parse(got.stdout);
    assertEquals([rows, route, routeReason], [3, "flight", "the server offers no ucx: location"]);
    assertEquals(endpoints, [{ route, routeReason, location, batches: 1, sharedBytes: 0, sharingReason: null }]);
    const shown = await dipc(["get", `${location}/a/b`, "--route", "flight"]);
    assertMatch(shown.stdout, /3 rows in 1 batch.* by Flight \(requested by route: "flight"\)\n$/);
    await dipc(["get", location, "--command", "select", "--json"]);
    assertEquals(stage.asked.map(([, what]) => what), ["trips", "a|b", "select"]);

    assertStringIncludes((await dipc(["schema", location, "trips"])).stdout, "n  int32");

    Deno.writeFileSync(
      folder.file("up=load.arrows"),
      tableToIPC(tableFromArrays({ n: Int32Array.of(4, 5) }), "stream"),
    );
    const put = await dipc(["put", folder.file("up=load.arrows"), location, "--json"]);
    assertEquals([put.code, put.stderr], [0, ""]);
    const totals = JSON.parse(put.stdout);
    assertEquals([totals.rows, totals.batches, totals.results], [2, 1, [{ text: "taken" }]]);
    assertEquals(stage.uploaded, { rows: 2, path: { path: ["up=load"] } });
    const named = await dipc(["put", folder.file("t.arrow"), `${location}/x/y`]);
    assertMatch(named.stdout, /t\.arrow: 3 rows in 1 batch, /);
    assertEquals(stage.uploaded, { rows: 3, path: { path: ["x", "y"] } });
  }));

Deno.test("action lists actions and shows answers, text as text and bytes as base64", () =>
  withStage(async (location, stage) => {
    assertEquals((await dipc(["action", location])).stdout, "clean  cleans up\n");
    assertEquals(JSON.parse((await dipc(["action", location, "--json"])).stdout), {
      actions: [{ type: "clean", description: "cleans up" }],
    });
    const shown = await dipc(["action", location, "clean", "all"]);
    assertEquals(shown.stdout, "line\\u001b[31m one\nline two\n/wA=\n");
    const json = await dipc(["action", location, "clean", "--json"]);
    assertEquals(JSON.parse(json.stdout), { results: [{ text: "line\u001b[31m one\nline two" }, { base64: "/wA=" }] });
    assertEquals(stage.asked, [["clean", "all"], ["clean", ""]]);
  }));

Deno.test("headers, tokens, users and passwords are sent", () =>
  withStage(async (location, stage) => {
    using folder = new TemporaryFolder();
    Deno.writeTextFileSync(folder.file("token"), "s3cret\n");
    const sent = async (args: string[], env?: Record<string, string>): Promise<Record<string, unknown>> => {
      const { code, stderr } = await dipc(["action", location, ...args], { env });
      assertEquals([code, stderr], [0, ""]);
      return stage.headers.at(-1)!;
    };
    const some = await sent(["--header", "x-a=1", "--header", "X-B=b=c", "--token-file", folder.file("token")]);
    assertEquals([some["x-a"], some["x-b"], some.authorization], ["1", "b=c", "Bearer s3cret"]);
    const basic = `Basic ${btoa("ada:pass:word")}`;
    assertEquals((await sent(["--user", "ada:pass:word"])).authorization, basic);
    assertEquals((await sent(["--user", "ada"], { DIPC_PASSWORD: "pass:word" })).authorization, basic);
  }));

Deno.test("what the server refuses is one line, an exit status and, with --json, an object", () =>
  withStage(async (location) => {
    const missing = await dipc(["get", location, "missing", "--json"]);
    assertEquals(missing.code, 1);
    assertEquals(
      missing.stderr,
      `error[not_found]: cannot complete GetFlightInfo at ${location}: the server answered NOT_FOUND: no such flight\n`,
    );
    assertEquals(JSON.parse(missing.stdout).error.code, "not_found");
    const failed = await dipc(["action", location, "fail", "--json"]);
    assertEquals([failed.code, JSON.parse(failed.stdout).error.code], [1, "flight"]);
    assertStringIncludes(failed.stderr, "error[flight]: ");
    const nobody = await dipc(["ls", "grpc://127.0.0.1:9", "--json"]);
    assertEquals([nobody.code, JSON.parse(nobody.stdout).error.code], [1, "unreachable"]);
  }));

const usages: [args: string[], part: string][] = [
  [["ls"], "needs the URI of a Flight server"],
  [["ls", "ucx://h:1/x?want_data=1"], "it is not the URI of a Flight server"],
  [["ls", "grpc://h:1", "a", "b"], "also"],
  [["ls", "grpc://h"], "names no port"],
  [["put", "x.arrow"], "needs the URI"],
  [["put"], "needs a file"],
  [["put", "x", "grpc://h:1", "name", "--command", "c"], "exclude each other"],
  [["action"], "needs the URI"],
  [
    ["get", "grpc://h:1", "x", "--route", "carrier"],
    'cannot use --route: it is "carrier"; give "auto", "ucx" or "flight"',
  ],
  [["get", "grpc://h:1", "x", "--command", "c"], "exclude each other"],
  [["get", "grpc://h:1", "x", "--body-uri", "ucx://h:1"], "cannot use --body-uri: it is for a ucx: URI"],
  [["get", "ucx://h:1/x?want_data=1", "--user", "a:b"], "cannot use --user: it is for a Flight server"],
  [["get", "ucx://h:1/x?want_data=1", "--header", "a=b"], "cannot use --header: it is for a Flight server"],
  [["schema", "grpc://h:1"], "cannot show the schema: no flight is named"],
  [["ls", "grpc://h:1", "--header", "novalue"], 'cannot use --header: it is "novalue"; give K=V'],
  [["ls", "grpc://h:1", "--header", "grpc-timeout=1"], 'cannot use --header: it is "grpc-timeout=1"; give K=V'],
  [["ls", "grpc://h:1", "--user", "a"], "has no password"],
  [["ls", "grpc://h:1", "--tls-cert", "x"], "go together"],
];
for (const [args, part] of usages) {
  Deno.test(`usage error, exit status 2: dipc ${args.join(" ")}`, async () => {
    const { code, stderr } = await dipc(args);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, /^error\[(invalid_argument|invalid_uri)\]: /);
    assertStringIncludes(stderr, part);
  });
}

testNeeding([needsPython], "TLS: the authority and a certificate of the client's own are files", async () => {
  using folder = new TemporaryFolder();
  const authority = await Authority.create();
  const [server, client] = [await authority.issue("server"), await authority.issue("client")];
  const file = (name: string, content: string): string => {
    Deno.writeTextFileSync(folder.file(name), content);
    return folder.file(name);
  };
  const ca = file("ca.pem", authority.cert);
  const own = ["--tls-cert", file("cert.pem", client.cert), "--tls-key", file("key.pem", client.key)];
  const tls = { cert: server.cert, key: server.key, client_ca: authority.cert };
  await using python = await startPythonServer({ tls, generated: { made: { batches: 2, bytes: 80 } } });
  const got = await dipc(["get", python.location, "made", "--json", "--tls-ca", ca, ...own]);
  assertEquals([got.code, got.stderr], [0, ""]);
  assertEquals(JSON.parse(got.stdout).batches, 2);
  const stranger = await dipc(["ls", python.location, "--tls-ca", ca, "--timeout", "5s"]);
  assertEquals(stranger.code, 1);
  assertMatch(stranger.stderr, /^error\[unreachable\]: /);
  const missing = await dipc(["ls", python.location, "--tls-ca", folder.file("nothing.pem")]);
  assert(missing.code === 1 && missing.stderr.startsWith("error[not_found]: "), missing.stderr);
});
