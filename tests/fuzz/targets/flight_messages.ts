/**
 * Fuzz targets for what Flight's control messages hold: protobufs and the schema in them, locations, cookies.
 *
 * @module
 */
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { Field, Int32, Schema } from "apache-arrow";
import { DipcError } from "../../../src/errors.ts";
import { CookieJar } from "../../../src/flight/cookies.ts";
import * as proto from "../../../src/flight/gen/flight_pb.ts";
import { flightUriFor, formatFlightLocation, isFlightUri, parseFlightLocation } from "../../../src/flight/location.ts";
import {
  descriptorFromProto,
  descriptorToProto,
  endpointFromProto,
  endpointToProto,
  type FlightInfo,
  infoFromProto,
  infoToProto,
  pollFromProto,
  pollToProto,
  type SessionValue,
  sessionValueFromProto,
  sessionValueToProto,
} from "../../../src/flight/model.ts";
import { readEncapsulatedSchema } from "../../../src/flight/schema_bytes.ts";
import { BatchEncoder } from "../../../src/ipc/encode.ts";
import { frameMetadata } from "../../../src/ipc/frame.ts";
import { permittedPool } from "../../../src/memory/plain_pool.ts";
import { join } from "../../support/bytes.ts";
import type { Random } from "../../support/random.ts";
import { check, encode, fromLatin1, latin1, same } from "../support/checks.ts";
import type { FuzzTarget } from "../target.ts";

/** Reads a message of protobuf as the client and the server do: what is not one is refused. */
function read<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new DipcError("protocol", `cannot read a ${schema.name}`, { cause });
  }
}

/** What was read once is written, and read, the same from then on. */
function stable<T>(name: string, value: T, write: (value: T) => Uint8Array, readAgain: (bytes: Uint8Array) => T): void {
  const first = write(value);
  same(name, write(readAgain(first)), first);
}

const KINDS: ((bytes: Uint8Array) => boolean)[] = [
  (bytes) => {
    const fromBytes = (bytes: Uint8Array) => infoFromProto(read(proto.FlightInfoSchema, bytes));
    const info = fromBytes(bytes);
    stable("a FlightInfo", info, (info) => toBinary(proto.FlightInfoSchema, infoToProto(info)), fromBytes);
    for (const { locations } of info.endpoints) {
      for (const uri of locations) if (isFlightUri(uri)) parseFlightLocation(uri);
    }
    return info.schema.byteLength === 0 || readEncapsulatedSchema(info.schema).kind === "schema";
  },
  (bytes) => {
    const fromBytes = (bytes: Uint8Array) => pollFromProto(read(proto.PollInfoSchema, bytes));
    stable("a PollInfo", fromBytes(bytes), (poll) => toBinary(proto.PollInfoSchema, pollToProto(poll)), fromBytes);
    return true;
  },
  (bytes) => {
    const fromBytes = (bytes: Uint8Array) => endpointFromProto(read(proto.FlightEndpointSchema, bytes));
    const write = (endpoint: ReturnType<typeof fromBytes>) =>
      toBinary(proto.FlightEndpointSchema, endpointToProto(endpoint));
    stable("an endpoint", fromBytes(bytes), write, fromBytes);
    return true;
  },
  (bytes) => {
    const descriptor = descriptorFromProto(read(proto.FlightDescriptorSchema, bytes));
    if (descriptor === null) return false;
    const again = descriptorFromProto(descriptorToProto(descriptor));
    check("a descriptor comes out the same", JSON.stringify(again) === JSON.stringify(descriptor));
    return true;
  },
  (bytes) => {
    const { sessionOptions } = read(proto.SetSessionOptionsRequestSchema, bytes);
    for (const [name, option] of Object.entries(sessionOptions)) {
      const write = (value: SessionValue) => toBinary(proto.SessionOptionValueSchema, sessionValueToProto(value));
      const fromBytes = (bytes: Uint8Array) => sessionValueFromProto(read(proto.SessionOptionValueSchema, bytes));
      stable(`the option "${name}"`, sessionValueFromProto(option), write, fromBytes);
    }
    return true;
  },
  (bytes) => readEncapsulatedSchema(bytes, { maxMetadataBytes: 4096 }).kind === "schema",
  (bytes) => read(proto.ActionSchema, bytes).type.length > 0,
];

const schema = frameMetadata(
  new BatchEncoder(new Schema([new Field("x", new Int32(), true)]), permittedPool()).schemaHeader,
);
const INFO: FlightInfo = {
  schema,
  descriptor: { path: ["a", "b"] },
  endpoints: [{
    ticket: encode("ticket"),
    locations: ["grpc://127.0.0.1:8815", "ucx://127.0.0.1:1?want_data=1"],
    expirationTime: new Date(1_700_000_000_123),
    appMetadata: encode("m"),
  }],
  ...{ totalRecords: 5n, totalBytes: -1n, ordered: true, appMetadata: encode("n") },
};

const seeds = (): Uint8Array[] => {
  const poll = { info: INFO, descriptor: { command: encode("c") }, progress: 0.5, expirationTime: new Date(5) };
  const options = { a: "text", b: true, c: 5n, d: 0.5, e: ["x", "y"], f: null };
  return [
    toBinary(proto.FlightInfoSchema, infoToProto(INFO)),
    toBinary(proto.PollInfoSchema, pollToProto(poll)),
    toBinary(proto.FlightEndpointSchema, endpointToProto(INFO.endpoints[0])),
    toBinary(proto.FlightDescriptorSchema, descriptorToProto({ command: encode("c") })),
    toBinary(proto.SetSessionOptionsRequestSchema, {
      $typeName: "arrow.flight.protocol.SetSessionOptionsRequest",
      sessionOptions: Object.fromEntries(
        Object.entries(options).map(([name, value]) => [name, sessionValueToProto(value)]),
      ),
    }),
    schema,
    toBinary(proto.ActionSchema, {
      ...{ $typeName: "arrow.flight.protocol.Action", type: "CancelFlightInfo", body: encode("b") },
    }),
  ].map((bytes, kind) => join(Uint8Array.of(kind), bytes));
};

/** Puts in a field, or changes the number in one. */
function mutateProtobuf(input: Uint8Array, random: Random): Uint8Array {
  const at = 1 + random.below(input.byteLength);
  const field = random.between(1, 7);
  const number = Array.from({ length: random.between(1, 10) }, (_, i) => i === 9 ? 1 : random.pick([0x80, 0xFF, 0xC0]));
  const value = [[...number, random.below(128)], [...new Uint8Array(8).fill(random.below(256))], [3, 97, 98, 99]];
  const wireType = random.below(3);
  return join(
    input.subarray(0, at),
    Uint8Array.of(field << 3 | wireType, ...value[wireType]),
    input.subarray(at + random.pick([0, 0, 2, 5])),
  );
}

const messages: FuzzTarget = {
  name: "flight/messages",
  files: ["src/flight/model.ts", "src/flight/schema_bytes.ts"],
  maxInputBytes: 1000,
  seeds,
  mutate: mutateProtobuf,
  run: (input) => KINDS[(input[0] ?? 0) % KINDS.length](input.subarray(1)),
};

const PIECES = [
  "grpc://",
  "grpc+tls://",
  "grpc+unix://",
  "https://",
  "[::1]",
  ":443",
  ":0",
  "%2F",
  "%ff",
  "@",
  "?",
  "/..",
  "#",
];

const location: FuzzTarget = {
  name: "flight/location",
  files: ["src/flight/location.ts"],
  maxInputBytes: 300,
  seeds: () =>
    [
      "grpc://127.0.0.1:8815/a/b%20c",
      "grpc+tls://[2001:db8::1]:443",
      "grpc+unix:///run/flight.sock",
      "grpc+tcp://host.example:65535?x#y",
      "http://host:80/x",
    ].map(encode),
  mutate(input, random) {
    const text = latin1(input);
    const at = random.below(text.length + 1);
    return fromLatin1(text.slice(0, at) + random.pick(PIECES) + text.slice(at + random.pick([0, 0, 1, 7])));
  },
  run(input) {
    const text = new TextDecoder().decode(input);
    const meant = flightUriFor(text);
    check("what is meant is a URI of Flight", meant === null || isFlightUri(meant));
    const parsed = parseFlightLocation(text);
    if (parsed.socketPath !== null) return parsed.socketPath.startsWith("/");
    check("a port is a u16", parsed.port >= 1 && parsed.port <= 65535 && parsed.host !== "");
    const again = parseFlightLocation(formatFlightLocation(parsed.host, parsed.port, parsed.tls));
    check("a location comes out the same", again.host === parsed.host && again.port === parsed.port);
    check("a location comes out the same", parseFlightLocation(parsed.uri).host === parsed.host);
    return true;
  },
};

const NOW = 1_700_000_000_000;

const cookies: FuzzTarget = {
  name: "flight/cookies",
  files: ["src/flight/cookies.ts"],
  maxInputBytes: 400,
  // One header per line.
  seeds: () => [
    encode("a=b; Max-Age=5\nb=c; Expires=Wed, 21 Oct 2099 07:28:00 GMT\na=; Max-Age=-1"),
    encode("session=0123; Path=/; HttpOnly\nx"),
  ],
  run(input) {
    const headers = new Headers();
    for (const line of latin1(input).split("\n")) {
      // deno-lint-ignore no-control-regex
      headers.append("set-cookie", line.replace(/[\x00\r]/g, ""));
    }
    const jar = new CookieJar();
    jar.take(headers, NOW);
    const value = jar.header(NOW);
    if (value !== null) new Headers({ cookie: value });
    check("a cookie that has expired is not sent", jar.header(Infinity) === null);
    return value !== null;
  },
};

const targets: FuzzTarget[] = [messages, location, cookies];
export default targets;
