/**
 * The Flight client's parts that need no server: locations, cookies, status codes, deadlines, and the stubs.
 */
import { create } from "@bufbuild/protobuf";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, DipcError } from "../../mod.ts";
import { FlightClient } from "../../flight.ts";
import { CookieJar } from "../../src/flight/cookies.ts";
import { grpcTimeout } from "../../src/grpc/client_call.ts";
import {
  formatFlightLocation,
  isFlightUri,
  isReuseConnection,
  parseFlightLocation,
} from "../../src/flight/location.ts";
import { sortLocations } from "../../src/routes/locations.ts";
import {
  endpointFromProto,
  endpointToProto,
  infoFromProto,
  infoToProto,
  pollFromProto,
  pollToProto,
  sessionValueFromProto,
  sessionValueToProto,
} from "../../src/flight/model.ts";
import { FlightEndpointSchema } from "../../src/flight/gen/flight_pb.ts";
import { readEncapsulatedSchema } from "../../src/flight/schema_bytes.ts";
import { errorOfGrpcStatus, GrpcStatus, grpcStatusName, grpcStatusOf } from "../../src/grpc/status.ts";
import { assertDipcError } from "../support/assert.ts";
import { testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";

Deno.test("locations: every scheme, addresses, sockets and paths", () => {
  const parts = (uri: string) => {
    const { tls, host, port, socketPath, path } = parseFlightLocation(uri);
    return [tls, host, port, socketPath, path];
  };
  assertEquals(parts("grpc://127.0.0.1:8815"), [false, "127.0.0.1", 8815, null, []]);
  assertEquals(parts("grpc+tcp://some.host:80/"), [false, "some.host", 80, null, []]);
  assertEquals(parts("GRPC+TLS://h:443/a%2Fb/ü/.."), [true, "h", 443, null, ["a/b", "ü", ".."]]);
  assertEquals(parts("grpc://[::1]:1/x"), [false, "::1", 1, null, ["x"]]);
  assertEquals(parts("grpc+unix:///run/a%20b.sock"), [false, "", 0, "/run/a b.sock", []]);
  assertEquals(parts("grpc+unix:/run/x"), [false, "", 0, "/run/x", []]);
  assertEquals(parseFlightLocation("grpc+tls://h:443/trips").uri, "grpc+tls://h:443");
  assertEquals(formatFlightLocation("::1", 5, true), "grpc+tls://[::1]:5");
  for (
    const wrong of [
      "http://h:1",
      "grpc://h",
      "grpc://:1",
      "grpc:h:1",
      "grpc://u:p@h:1",
      "grpc+unix://",
      "grpc://h:99999",
    ]
  ) {
    assertDipcError("invalid_uri", "", () => parseFlightLocation(wrong), wrong);
  }
  assertEquals(["grpc://h:1", "grpc+unix:///x", "ucx://h:1", "grpc:"].map(isFlightUri), [true, true, false, false]);
  assert(
    isReuseConnection("arrow-flight-reuse-connection://?") && !isReuseConnection("grpc://h:1"),
    "reuse of a connection is one URI",
  );
});

Deno.test("locations of an endpoint: pairs and alternatives by UCX, the others by DoGet in their order", () => {
  const [m, b] = ["ucx://h:1/x?want_data=1", "ucx://h:2/x?want_data=2"];
  const found = sortLocations([m, "grpc://a:1", b, "other://x", "arrow-flight-reuse-connection://?", "grpc+tls://b:1"]);
  assertEquals(found.ucx.map(({ metadata, body }) => [metadata.port, body?.port]), [[1, 2]]);
  assertEquals(found.flight, ["grpc://a:1", null, "grpc+tls://b:1"]);
  const roles = sortLocations([`${m}&role=both`, `${b}&role=metadata`, "ucx://h:3/x?want_data=3&role=body"]);
  assertEquals(roles.ucx.map(({ metadata, body }) => [metadata.port, body?.port]), [[1, undefined], [2, 3]]);
  assertEquals(sortLocations([]), { ucx: [], ucxProblem: null, flight: [null] });
  assert(sortLocations(["ucx://h:1"]).ucxProblem?.includes("want_data"), "the problem of the URI is not named");
});

Deno.test("status codes: each has its code of dipc, keeps its own, and goes back to what it was", () => {
  const codes = Object.values(GrpcStatus).slice(1).map((status) => {
    const error = errorOfGrpcStatus(status, "why", "DoGet at grpc://h:1");
    assertEquals(error.foreign, { system: "grpc", status, text: "why" });
    assertEquals(
      error.message,
      `cannot complete DoGet at grpc://h:1: the server answered ${grpcStatusName(status)}: why`,
    );
    assertEquals(grpcStatusOf(error), status);
    return `${grpcStatusName(status)} ${error.code}`;
  });
  assertEquals(codes, [
    "CANCELLED cancelled",
    "UNKNOWN flight",
    "INVALID_ARGUMENT invalid_argument",
    "DEADLINE_EXCEEDED timeout",
    "NOT_FOUND not_found",
    "ALREADY_EXISTS flight",
    "PERMISSION_DENIED permission_denied",
    "RESOURCE_EXHAUSTED limit_exceeded",
    "FAILED_PRECONDITION flight",
    "ABORTED flight",
    "OUT_OF_RANGE invalid_argument",
    "UNIMPLEMENTED unsupported",
    "INTERNAL flight",
    "UNAVAILABLE unreachable",
    "DATA_LOSS invalid_data",
    "UNAUTHENTICATED permission_denied",
  ]);
  assertEquals(errorOfGrpcStatus(77, "", "x").code, "flight");
  assertEquals(grpcStatusOf(new DipcError("not_found", "")), GrpcStatus.notFound);
  assertEquals(grpcStatusOf(new TypeError("inside")), GrpcStatus.internal);
});

Deno.test("cookies are kept as long as the server says, and replaced by name", () => {
  const jar = new CookieJar();
  const take = (...lines: string[]) => {
    const headers = new Headers();
    for (const line of lines) headers.append("set-cookie", line);
    jar.take(headers, 1_000_000);
  };
  assertEquals(jar.header(), null);
  take("a=1; Path=/; HttpOnly", "b=two=2; Max-Age=10", "c=3; Expires=Thu, 01 Jan 1970 01:00:00 GMT");
  assertEquals(jar.header(1_000_000), "a=1; b=two=2; c=3");
  assertEquals(jar.header(1_011_000), "a=1; c=3");
  take("a=4", "c=; Max-Age=0; Expires=Thu, 01 Jan 2100 01:00:00 GMT", "nonsense", "=x");
  assertEquals(jar.header(1_000_000), "a=4");
  take(...Array.from({ length: 200 }, (_, i) => `n${i}=${i}`), `long=${"x".repeat(10_000)}`);
  assertEquals(jar.header(1_000_000)!.split("; ").length, 50);
});

Deno.test("a deadline is at most eight digits and a unit", () => {
  assertEquals([0.2, 1, 1500.5, 99_999_999, 1e8, 1e15].map(grpcTimeout), [
    "1m",
    "1m",
    "1501m",
    "99999999m",
    "100000S",
    "99999999S",
  ]);
});

Deno.test("infos, endpoints, polls and session values survive protobuf", () => {
  const endpoint = {
    ticket: Uint8Array.of(1, 2),
    locations: ["grpc://h:1", "ucx://h:2/x?want_data=1"],
    expirationTime: new Date(1_700_000_000_123),
    appMetadata: Uint8Array.of(3),
  };
  assertEquals(endpointFromProto(endpointToProto(endpoint)), endpoint);
  const info = {
    schema: Uint8Array.of(9),
    descriptor: { command: Uint8Array.of(5) },
    endpoints: [endpoint, { ...endpoint, expirationTime: null, locations: [] }],
    totalRecords: 2n ** 62n,
    totalBytes: -1n,
    ordered: true,
    appMetadata: Uint8Array.of(4),
  };
  assertEquals(infoFromProto(infoToProto(info)), info);
  for (const progress of [null, 0, 0.5]) {
    const poll = { info, descriptor: { path: ["a", "b"] }, progress, expirationTime: endpoint.expirationTime };
    assertEquals(pollFromProto(pollToProto(poll)), poll);
  }
  const last = { info: null, descriptor: null, progress: null, expirationTime: null };
  assertEquals(pollFromProto(pollToProto(last)), last);
  for (const value of ["text", "", true, false, 5n, -(2n ** 63n), 1.5, 0, ["a", "b"], [], null]) {
    assertEquals(sessionValueFromProto(sessionValueToProto(value)), value);
  }
});

Deno.test("a schema that a server describes wrongly is refused", () => {
  for (
    const bytes of [[], [1], [0xff, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0xff, 16, 0, 0, 0, 1], [8, 0, 0, 0, 1, 2]]
  ) {
    assertDipcError("invalid_data", "", () => readEncapsulatedSchema(Uint8Array.from(bytes)));
  }
});

/** The generator is two npm packages; what the tests import of npm is there already. */
const needsGenerator = {
  what: "the generator of the Flight stubs",
  how: "npm packages @bufbuild/buf and @bufbuild/protoc-gen-es must be reached",
  present: await generates(),
};

async function generates(): Promise<boolean> {
  const args = ["run", "-A", "--no-lock", "--no-config", "npm:@bufbuild/buf@1.75.0", "--version"];
  try {
    const { success } = await new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "null" }).output();
    return success;
  } catch {
    return false;
  }
}

testNeeding([needsGenerator], "the stubs are what flight.proto gives", async () => {
  const args = ["run", "-A", `${ROOT}/tools/flight_gen.ts`, "--check"];
  const { code, stdout } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stderr: "null" }).output();
  assertEquals(code, 0, new TextDecoder().decode(stdout));
});

Deno.test("a token that a header cannot hold is an invalid argument, which does not show it", async () => {
  for (const token of ["s\u00e4cret", "\u{1F511}secret", "se\ncret"]) {
    for (
      const connecting of [
        () => FlightClient.connect("grpc://127.0.0.1:9", { token }),
        () => connect("grpc://127.0.0.1:9/x", { flight: { token } }),
      ]
    ) {
      const error = await assertRejects(connecting, DipcError, "cannot use the token") as DipcError;
      assertEquals([error.code, error.message.includes("cret")], ["invalid_argument", false]);
    }
  }
});

Deno.test("an expiration time that a Date cannot hold is the farthest that it can", () => {
  const read = (seconds: bigint) =>
    endpointFromProto(create(FlightEndpointSchema, { expirationTime: { seconds, nanos: 999_999_999 } }));
  const farthest = new Date(8.64e15);
  for (const seconds of [8_640_000_000_000n, 8_640_000_000_001n, 2n ** 63n - 1n]) {
    assertEquals(read(seconds).expirationTime, farthest);
  }
  assertEquals(read(-(2n ** 63n)).expirationTime, new Date(-8.64e15));
  assertEquals(read(1n).expirationTime, new Date(2000));
  // It can be printed, and sent back to be renewed.
  assertEquals(read(2n ** 62n).expirationTime?.toISOString(), "+275760-09-13T00:00:00.000Z");
  assertEquals(endpointToProto(read(2n ** 62n)).expirationTime?.seconds, 8_640_000_000_000n);
});
