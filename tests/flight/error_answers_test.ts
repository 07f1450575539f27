/** What a server or a proxy says about a failure: its status is never lost for its text, and a call never costs another. */
import { assertEquals, assertMatch } from "@std/assert";
import { DipcError, FlightClient, serveFlight } from "../../flight.ts";
import { errorOfHttpStatus } from "../../src/grpc/answer_status.ts";
import { GrpcStatus } from "../../src/grpc/status.ts";
import { frame, FrameType, headerFrames } from "../../src/http2/frames.ts";
import { encodeHeaders } from "../../src/http2/hpack.ts";
import type { HeaderField } from "../../src/http2/static_table.ts";
import { assertDipcError } from "../support/assert.ts";
import { utf8 } from "../support/bytes.ts";
import { pythonClient } from "../support/flight_python.ts";
import { infoBytes } from "../support/flight_fake.ts";
import { answer } from "../support/http2_raw.ts";
import { type RawConnection, rawServer } from "../support/http2_raw_server.ts";
import { testNeeding } from "../support/needs.ts";
import { needsPython } from "../support/python.ts";
import { printTable } from "../support/table.ts";

/** A value of a header whose bytes are the text's in UTF-8. */
const raw = (text: string): string => String.fromCharCode(...utf8(text));

interface Answer {
  readonly name: string;
  /** Status of HTTP; 200 by default. */
  readonly http?: string;
  /** The status of gRPC, if there is one. */
  readonly grpc?: number;
  /** The value of `grpc-message`, one character per byte. */
  readonly message?: string;
  readonly type?: string;
  /** Whether the status of gRPC comes after the headers, in trailers. */
  readonly hasTrailers?: boolean;
  /** What our client must make of it. */
  readonly expected: number;
  readonly text?: string | RegExp;
}

const texts: Answer[] = [
  { name: "raw UTF-8", message: raw("表不存在"), text: "表不存在" },
  { name: "a stray percent sign", message: "100% caf%C3%A9", text: "100% café" },
  { name: "half a character", message: "%E8%A1", text: "\ufffd" },
  { name: "a newline", message: "line1\nline2", text: /^line1[\n ]line2$/ },
  { name: "stray and encoded percent signs", message: "100%25 %E8%A1%A8 5%", text: "100% 表 5%" },
  { name: "other control characters", message: "a\x01\x7fb", text: "a\x01\x7fb" },
  { name: "40 KB", message: "x".repeat(40_000), text: /^x{40000}$/ },
  { name: "70 KB", message: "x".repeat(70_000), text: /^x{1000,}$/ },
  { name: "500 KB", message: "x".repeat(500_000), text: /^x{1000,}$/ },
].flatMap(({ name, message, text }) =>
  [false, true].map((hasTrailers) => ({
    ...{ name: `${name}${hasTrailers ? ", in trailers" : ""}`, message, text, hasTrailers },
    ...{ grpc: GrpcStatus.invalidArgument, expected: GrpcStatus.invalidArgument },
  }))
);

const { unauthenticated, permissionDenied, unimplemented, unavailable, unknown, internal, notFound } = GrpcStatus;
const OF_HTTP: [string, number][] = [
  ["400", internal],
  ["401", unauthenticated],
  ["403", permissionDenied],
  ["404", unimplemented],
  ["413", unknown],
  ["429", unavailable],
  ["500", unknown],
  ["502", unavailable],
  ["503", unavailable],
  ["504", unavailable],
];
const statuses: Answer[] = OF_HTTP.flatMap(([http, expected]): Answer[] => [
  { name: `HTTP ${http}, a page`, http, type: "text/html", expected },
  { name: `HTTP ${http}, gRPC's type`, http, expected },
  {
    name: `HTTP ${http}, with a status of gRPC`,
    http,
    grpc: notFound,
    message: "gone",
    text: "gone",
    expected: notFound,
  },
]);

const answers: Answer[] = [...texts, ...statuses];

function fieldsOf({ http = "200", grpc, message, type = "application/grpc" }: Answer): [HeaderField[], HeaderField[]] {
  const end: HeaderField[] = message === undefined ? [] : [["grpc-message", message]];
  if (grpc !== undefined) end.push(["grpc-status", String(grpc)]);
  return [[[":status", http], ["content-type", type]], end];
}

async function send(connection: RawConnection, streamId: number, given: Answer): Promise<void> {
  const [head, end] = fieldsOf(given);
  const last = (fields: HeaderField[]) => headerFrames(streamId, encodeHeaders(fields), true, 16_384);
  if (given.hasTrailers === true) await connection.send(answer(streamId, 0, head), last(end));
  else await connection.send(last([...head, ...end]));
}

/** A server whose flight `case N.` is answered with the answer of that number, and every other one with an info. */
function answering() {
  return rawServer({
    async onRequest(connection, streamId, body) {
      const [, number] = /case (\d+)\./.exec(new TextDecoder("latin1").decode(body)) ?? [];
      if (number === undefined) await connection.succeed(streamId, infoBytes([]));
      else await send(connection, streamId, answers[Number(number)]);
    },
  });
}

Deno.test("a status keeps its code whatever its text is, and the answer of a proxy has the status of gRPC's table", async () => {
  await using server = answering();
  await using client = await FlightClient.connect(server.location);
  for (const [i, { name, expected, text }] of answers.entries()) {
    let error: unknown;
    await client.getFlightInfo({ path: `case ${i}.` }).catch((thrown) => error = thrown);
    if (!(error instanceof DipcError)) throw new Error(`${name}: ${error}`);
    assertEquals(error.foreign?.status, expected, `${name}: ${error.message}`);
    if (typeof text === "string") assertEquals(error.foreign?.text, text, name);
    else if (text !== undefined) assertMatch(error.foreign?.text ?? "", text, name);
  }
  assertEquals(server.connections.length, 1);
});

Deno.test("the errors for a proxy's 400 and 413 name the client's certificate, and the limit for a whole upload", () => {
  assertMatch(errorOfHttpStatus(400, "text/html", "DoGet").message, /tls\.cert, or --tls-cert FILE/);
  assertMatch(errorOfHttpStatus(413, "text/html", "DoPut").message, /send less in one call, .*client_max_body_size/);
});

testNeeding([needsPython], "the statuses are those that pyarrow's client makes of the same answers", async () => {
  await using server = answering();
  await using client = await FlightClient.connect(server.location);
  const steps = answers.map((_, i) => ["flight_info", [`case ${i}.`]] as const);
  const theirs = await pythonClient({ location: server.location, steps });
  const rows: string[][] = [];
  const different: string[] = [];
  for (const [i, { name }] of answers.entries()) {
    const ours = await client.getFlightInfo({ path: `case ${i}.` }).then(() => "OK", nameOf);
    const { error = "OK", message = "" } = theirs[i];
    const [, found = error] = /returned ([a-z -]+) error/.exec(message) ?? [];
    const their = PYARROW_NAMES[found] ?? found.replaceAll(/[ -]/g, "_").toUpperCase();
    rows.push([name, ours, their, textOf(message)]);
    if (ours !== their) different.push(name);
  }
  printTable("Answers as our client and pyarrow's see them", ["answer", "ours", "pyarrow's", "its text"], rows);
  assertEquals(different, PYARROW_DIFFERS);
});

/** pyarrow's names for statuses that it calls something else. */
const PYARROW_NAMES: Readonly<Record<string, string>> = {
  unauthorized: "PERMISSION_DENIED",
  FlightServerError: "UNKNOWN",
};

/** pyarrow's client accepts headers of 8 or 16 KB, and loses the status with what is longer. */
const PYARROW_DIFFERS: string[] = ["40 KB", "70 KB", "500 KB"].flatMap((name) => [name, `${name}, in trailers`]);

function nameOf(error: DipcError): string {
  return Object.entries(GrpcStatus).find(([, status]) => status === error.foreign?.status)?.[0]
    .replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase() ?? String(error);
}

const textOf = (message: string): string => message.replace(/^.*message: /s, "").slice(0, 30).replaceAll("\n", "⏎");

Deno.test("a header of an answer that is too long ends its call alone, and says so", async () => {
  await using server = rawServer({
    async onRequest(connection, streamId, body) {
      const isLong = new TextDecoder("latin1").decode(body).includes("long");
      if (!isLong) return await connection.succeed(streamId, infoBytes([]));
      const fields: HeaderField[] = [[":status", "200"], ["content-type", "application/grpc"], [
        "x",
        "y".repeat(300_000),
      ]];
      await connection.send(headerFrames(streamId, encodeHeaders(fields), false, 16_384));
      await connection.send(frame(FrameType.data, 1, streamId));
    },
  });
  await using client = await FlightClient.connect(server.location);
  await Promise.all([
    assertDipcError("limit_exceeded", "longer than 64 KiB", () => client.getFlightInfo({ path: "long" })),
    client.getFlightInfo({ path: "short" }),
  ]);
  await client.getFlightInfo({ path: "short" });
  assertEquals(server.connections.length, 1);
});

Deno.test("a bearer token of 64 KiB is accepted, and a longer one is called that, whatever its length", async () => {
  await using server = await serveFlight({ auth: { bearer: () => "u" }, handlers: { listFlights: () => [] } });
  for (const length of [100, 8193, 65_536, 65_537, 70_000, 200_000, 600_000]) {
    await using client = await FlightClient.connect(server.location, { token: "a".repeat(length) });
    const list = async () => {
      for await (const _ of client.listFlights());
    };
    if (length <= 65_536) await list();
    else if (length <= 70_000) {
      await assertDipcError("permission_denied", `too long: it has ${length} bytes, at most 65536`, list);
    } else await assertDipcError("limit_exceeded", /token or password is too long: .* 98304 bytes/, list);
  }
});

Deno.test("the longest token is an option, and other headers that are too long are named", async () => {
  const auth = { bearer: () => "u", maxTokenBytes: 100_000 };
  await using server = await serveFlight({ auth, handlers: { listFlights: () => [] } });
  const list = async (options: { token: string; headers?: Record<string, string> }) => {
    await using client = await FlightClient.connect(server.location, options);
    for await (const _ of client.listFlights());
  };
  await list({ token: "a".repeat(100_000) });
  await assertDipcError("permission_denied", "at most 100000", () => list({ token: "a".repeat(100_001) }));
  await assertDipcError(
    "limit_exceeded",
    '"x-long"',
    () => list({ token: "a", headers: { "x-long": "b".repeat(200_000) } }),
  );
});
