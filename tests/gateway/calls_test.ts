/** Every call of Flight through a gateway: what the engine and the client say to each other arrives as it was said. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { DipcError, FlightClient, type FlightContext, GrpcStatus, serveFlight } from "../../flight.ts";
import { FlightSqlClient } from "../../flight_sql.ts";
import * as proto from "../../src/flight/gen/flight_pb.ts";
import { SERVICE_PATH } from "../../src/flight/model.ts";
import { GrpcCall } from "../../src/grpc/client_call.ts";
import { GrpcConnection } from "../../src/grpc/client_connection.ts";
import { MessageDecoder } from "../../src/grpc/message_decoder.ts";
import { parseFlightLocation } from "../../src/flight/location.ts";
import { scenarios, throughGateway } from "./support/scenarios.ts";
import { endpoint, fakeFlight, infoBytes } from "../support/flight_fake.ts";
import { pythonClient, type PythonStep, startPythonServer } from "../support/flight_python.ts";
import { byFlight } from "./support/gateways.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { needsPython } from "../support/python.ts";
import { testNeeding } from "../support/needs.ts";
import { printTable } from "../support/table.ts";
import { until } from "../support/time.ts";
import { tableFromArrays, tableToIPC } from "apache-arrow";

/** One message as a client of nothing but gRPC sends it; the answers as they come. */
async function rawCall(location: string, method: string, request: Uint8Array): Promise<Uint8Array[]> {
  const target = parseFlightLocation(location);
  const connection = new GrpcConnection(target, { timeoutMs: 5000 });
  try {
    const call = await GrpcCall.start(connection, {
      ...{ service: SERVICE_PATH, method, headers: new Headers(), decoder: new MessageDecoder(2 ** 20) },
      ...{ maxInFlightBytes: 2 ** 20, timeoutMs: 5000, peer: location },
    });
    void call.output.message(request);
    call.output.end();
    const answers: Uint8Array[] = [];
    for (let answer; (answer = await call.next()) !== null;) answers.push(answer);
    return answers;
  } finally {
    await connection.close();
  }
}

/** Field 99 with two bytes, which no version of Flight has. */
const UNKNOWN_FIELD = Uint8Array.of(0x9a, 0x06, 2, 7, 9);

testNeeding([needsPython], "pyarrow's client gets by a gateway what it gets from pyarrow's server itself", async () => {
  using folder = new TemporaryFolder();
  const file = folder.file("t.arrow");
  const table = tableFromArrays({ n: Int32Array.of(1, 2, 3), text: ["a", null, "ü"] });
  Deno.writeFileSync(file, tableToIPC(table, "file"));
  const held = { files: { t: file }, generated: { g: { batches: 3, bytes: 3_000_000 } }, app_metadata: true };
  await using engine = await startPythonServer(held);
  // One of its own, because the steps upload.
  await using behind = await startPythonServer(held);
  await using gateway = await byFlight(behind.location);
  const steps: PythonStep[] = [
    ["header", "x-echo", "and back"],
    ["list"],
    ["received", "x-echo"],
    ["flight_info", ["t"]],
    ["flight_info", { command: "g" }],
    ["schema", ["t"]],
    ["get", ["t"]],
    ["get_counting", ["g"]],
    ["get", { hex: "74" }],
    ["get", { hex: "78" }],
    ["flight_info", ["none"]],
    ["put", ["made"], file, true],
    ["get", ["made"]],
    ["put_big", ["big"], 5, 2_000_000],
    ["exchange", "echo", [1, 2, 0]],
    ["exchange", "other", [1]],
    ["get_then_cancel", ["g"], 1],
  ];
  // Tickets are the gateway's own.
  const plain = (text: string): unknown =>
    JSON.parse(text.replaceAll(/"ticket":"[0-9a-f]*"/g, "").replaceAll(/,\s*,|\{\s*,/g, (at) => at[0]));
  const [direct, through] = [
    await pythonClient({ location: engine.location, steps }),
    await pythonClient({ location: gateway.location, steps }),
  ];
  for (const [i, step] of steps.entries()) {
    // The line of the traceback is that of the same server; its text names the server's address in between.
    const of = (result: unknown): unknown => plain(JSON.stringify(result).replaceAll(/127\.0\.0\.1:\d+/g, "HOST"));
    assertEquals(of(through[i]), of(direct[i]), JSON.stringify(step));
  }
  await until(() => gateway.engineCalls + gateway.activeCalls === 0);
});

peerTest(["flightGo"], "Arrow's scenarios pass through a gateway, between ours and Arrow's Go", async () => {
  const failures: string[] = [];
  const rows: string[][] = [];
  for (const [name, pairs] of scenarios) {
    const found = await Promise.all(pairs.map((pair) => throughGateway(name, pair)));
    failures.push(...found.filter((failure) => failure !== ""));
    for (const [index, pair] of pairs.entries()) {
      rows.push([name, pair.join(" → gateway → "), found[index] === "" ? "passes" : "FAILS"]);
    }
  }
  printTable("Arrow's Flight integration scenarios through a gateway", ["scenario", "client, server", ""], rows);
  assertEquals(failures, []);
});

Deno.test("a query is cancelled at its engine with the engine's own tickets, as older servers of Flight SQL want it, too", async () => {
  const cancelled: [type: string, tickets: string[], locations: string[]][] = [];
  await using engine = await fakeFlight(async (call) => {
    if (call.method === "GetFlightInfo") {
      await call.message(infoBytes([endpoint("one"), endpoint("two", { locations: ["grpc://elsewhere:1"] })]));
      return call.finish();
    }
    const { type, body } = fromBinary(proto.ActionSchema, await call.request());
    const isFlight = type === "CancelFlightInfo";
    const info = isFlight
      ? fromBinary(proto.CancelFlightInfoRequestSchema, body).info!
      : fromBinary(proto.FlightInfoSchema, fromBinary(proto.TicketSchema, fromBinary(AnySchema, body).value).ticket);
    cancelled.push([
      type,
      info.endpoint.map(({ ticket }) => new TextDecoder().decode(ticket!.ticket)),
      info.endpoint.flatMap(({ location }) => location.map(({ uri }) => uri)),
    ]);
    if (isFlight) return call.finish(GrpcStatus.unimplemented);
    // Field 1 of an ActionCancelQueryResult: cancelled.
    const value = Uint8Array.of(8, 1);
    const typeUrl = "type.googleapis.com/arrow.flight.protocol.sql.ActionCancelQueryResult";
    const result = create(proto.ResultSchema, { body: toBinary(AnySchema, create(AnySchema, { typeUrl, value })) });
    await call.message(toBinary(proto.ResultSchema, result));
    call.finish();
  });
  await using gateway = await byFlight(engine.location);
  await using client = await FlightSqlClient.connect(gateway.location);
  assertEquals(await client.cancel(await client.execute("select 1")), "cancelled");
  const own: [string[], string[]] = [["one", "two"], ["grpc://elsewhere:1"]];
  assertEquals(cancelled, [["CancelFlightInfo", ...own], ["CancelQuery", ...own]]);
});

Deno.test("what the gateway does not understand is for the engine to judge, and what is malformed ends the call", async () => {
  const seen: [string, Uint8Array][] = [];
  await using engine = await fakeFlight(async (call) => {
    seen.push([call.method, await call.request()]);
    await call.message(Uint8Array.of(0x0a));
    call.finish();
  });
  await using gateway = await byFlight(engine.location);
  const malformed = Uint8Array.of(0x0a, 5, 1);
  const action = (type: string) => toBinary(proto.ActionSchema, create(proto.ActionSchema, { type, body: malformed }));
  for (const type of ["CancelFlightInfo", "CancelQuery", "anything"]) {
    assertEquals(await rawCall(gateway.location, "DoAction", action(type)), [Uint8Array.of(0x0a)]);
    assertEquals(seen.pop(), ["DoAction", action(type)]);
  }
  const error = await assertRejects(() => rawCall(gateway.location, "GetFlightInfo", malformed), DipcError);
  assertEquals([seen.pop(), error.code], [["GetFlightInfo", malformed], "protocol"]);
});

Deno.test("headers, cookies, deadlines and traceparent reach the engine, and its headers, trailers and details the client", async () => {
  let seen: FlightContext | undefined;
  await using engine = await serveFlight({
    handlers: {
      doAction(type, _, context) {
        if (type !== "look") return undefined;
        seen = context;
        context.responseHeaders.append("set-cookie", "a=1");
        context.responseHeaders.append("set-cookie", "b=2; HttpOnly");
        context.trailers.set("grpc-status-details-bin", "CAMSAnRvbw==");
        throw new DipcError("flight", "x".repeat(3000), {
          foreign: { system: "grpc", status: GrpcStatus.aborted, text: `é ${"long ".repeat(150)}` },
        });
      },
    },
  });
  await using gateway = await byFlight(engine.location);
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const headers = {
    traceparent,
    "x-key": "k",
    cookie: "c=3",
    authorization: "Bearer t",
    "x-key-bin": "AQI=",
    "user-agent": "it/1",
  };
  await using client = await FlightClient.connect(gateway.location, { headers, cookies: false });
  let cookies: string[] = [];
  let trailers = new Headers();
  const error = await assertRejects(async () => {
    const call = {
      timeoutMs: 20_000,
      onHeaders: (received: Headers) => cookies = received.getSetCookie(),
      onTrailers: (received: Headers) => trailers = received,
    };
    for await (const _ of client.doAction("look", "", call));
  }, DipcError);
  assertEquals([error.foreign?.status, error.foreign?.text.slice(0, 7)], [GrpcStatus.aborted, "é long "]);
  assertEquals(trailers.get("grpc-status-details-bin"), "CAMSAnRvbw==");
  // Without a message the headers of an answer are its trailers.
  assertEquals(cookies.length === 0 ? trailers.getSetCookie() : cookies, ["a=1", "b=2; HttpOnly"]);
  for (const [name, value] of Object.entries(headers)) assertEquals(seen!.headers.get(name), value, name);
  assertMatch(seen!.headers.get("grpc-timeout") ?? "", /^(20000m|19\d\d\dm)$/);
});

Deno.test("a deadline and a cancelled call end at the engine, too", async () => {
  const ended: string[] = [];
  await using engine = await fakeFlight((call) => {
    call.respond();
    call.stream.on("close", () => ended.push(`${call.method} ${call.stream.rstCode}`));
  });
  await using gateway = await byFlight(engine.location);
  await using client = await FlightClient.connect(gateway.location);
  const late = await assertRejects(() => client.getFlightInfo({ path: "x" }, { timeoutMs: 200 }), DipcError);
  assertEquals(late.code, "timeout");
  await until(() => ended.length === 1);
  const controller = new AbortController();
  const get = client.doGet("x", { signal: controller.signal });
  await until(() => engine.calls.length === 2);
  controller.abort();
  await assertRejects(() => get, DipcError);
  await until(() => ended.length === 2);
  assertEquals(ended, ["GetFlightInfo 8", "DoGet 8"]);
  await until(() => gateway.engineCalls === 0);
});

Deno.test("what a later version of Flight adds passes unread, in messages that the gateway changes, too", async () => {
  const endpoint = toBinary(
    proto.FlightEndpointSchema,
    create(proto.FlightEndpointSchema, { ticket: { ticket: Uint8Array.of(1) } }),
  );
  const withUnknown = (bytes: Uint8Array) => Uint8Array.of(...bytes, ...UNKNOWN_FIELD);
  // FlightInfo: field 3 is an endpoint.
  const inner = withUnknown(endpoint);
  const info = withUnknown(Uint8Array.of(0x1a, inner.byteLength, ...inner));
  let request: Uint8Array = new Uint8Array(0);
  await using engine = await fakeFlight(async (call) => {
    request = await call.request();
    await call.message(call.method === "GetFlightInfo" ? info : withUnknown(Uint8Array.of()));
    call.finish();
  });
  await using gateway = await byFlight(engine.location);
  const descriptor = withUnknown(toBinary(
    proto.FlightDescriptorSchema,
    create(proto.FlightDescriptorSchema, { type: 1, path: ["a"] }),
  ));
  const [answer] = await rawCall(gateway.location, "GetFlightInfo", descriptor);
  assertEquals(request, descriptor);
  const found = fromBinary(proto.FlightInfoSchema, answer);
  assertEquals(found.$unknown?.map(({ no, data }) => [no, [...data]]), [[99, [2, 7, 9]]]);
  assertEquals(found.endpoint[0].$unknown?.map(({ no }) => no), [99]);
  assert(new TextDecoder().decode(found.endpoint[0].ticket!.ticket).startsWith("dipcg1."));
  // A call that no version has yet.
  assertEquals(await rawCall(gateway.location, "DoSomethingNew", UNKNOWN_FIELD), [UNKNOWN_FIELD]);
  assertEquals(request, UNKNOWN_FIELD);
});

Deno.test("an engine that is not there, or does not answer by gRPC, is UNAVAILABLE without its address", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await using gateway = await byFlight(`grpc://127.0.0.1:${port}`);
  await using client = await FlightClient.connect(gateway.location);
  const error = await assertRejects(() => client.getFlightInfo({ path: "x" }), DipcError);
  assertEquals([error.code, error.foreign?.status], ["unreachable", GrpcStatus.unavailable]);
  assert(!error.message.includes(String(port)), error.message);
  await using web = await fakeFlight((call) => call.respond({ ":status": 503, "content-type": "text/html" }));
  await using other = await byFlight(web.location);
  await using second = await FlightClient.connect(other.location);
  const refused = await assertRejects(() => second.getFlightInfo({ path: "x" }), DipcError);
  assertEquals(refused.foreign?.status, GrpcStatus.unavailable);
});

Deno.test("the flights of several engines are listed though one of them has no such call, unless none has it", async () => {
  await using files = await serveFlight({ handlers: { listFlights: () => [infoOf("trips")] } });
  await using sql = await serveFlight({
    handlers: {
      listFlights: () => {
        throw new DipcError("unsupported", "cannot list flights: this server has none");
      },
    },
  });
  for (
    const engines of [{ sql: sql.location, files: files.location }, { files: files.location, sql: sql.location }]
  ) {
    await using gateway = await byFlight(engines);
    await using client = await FlightClient.connect(gateway.location);
    const paths = [];
    for await (const { descriptor } of client.listFlights()) paths.push(descriptor);
    assertEquals(paths, [{ path: ["files", "trips"] }]);
  }
  await using gateway = await byFlight({ one: sql.location, other: sql.location });
  await using client = await FlightClient.connect(gateway.location);
  const error = await assertRejects(async () => {
    for await (const _ of client.listFlights());
  }, DipcError);
  assertEquals(error.code, "unsupported");
  assertMatch(error.message, /UNIMPLEMENTED: cannot list flights: this server has none$/);
});

function infoOf(name: string) {
  return {
    ...{ schema: new Uint8Array(0), descriptor: { path: [name] }, endpoints: [], totalRecords: 0n, totalBytes: 0n },
    ...{ ordered: false, appMetadata: new Uint8Array(0) },
  };
}
