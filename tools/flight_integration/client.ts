/**
 * The client's part of each scenario of Arrow's Flight integration tests: it calls the server, and throws if an answer is not the
 * expected one.
 *
 * @module
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { DipcError, FlightClient, type FlightEndpoint, type FlightInfo } from "../../flight.ts";
import { BasicAuthSchema } from "../../src/flight/gen/flight_pb.ts";
import { runDefault } from "./default_client.ts";
import { runEcho } from "./echo_client.ts";
import {
  MIDDLEWARE_HEADER,
  MIDDLEWARE_VALUE,
  ORDERED,
  PASSWORD,
  REUSE_CONNECTION,
  type Scenario,
  SESSION_LIST,
  TOKEN_HEADER,
  USER,
} from "./scenarios.ts";
import { runFlightSql, runFlightSqlExtension, runFlightSqlIngestion } from "./sql_client.ts";

/** Codes of gRPC. */
const UNKNOWN = 2;
const UNAUTHENTICATED = 16;

/** What a scenario is given. */
export interface ClientTask {
  /** Location of the server. */
  location: string;
  /** Of the default scenario: the integration file to upload and fetch. */
  path: string;
}

type Run = (client: FlightClient, task: ClientTask) => Promise<void>;

function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The code of gRPC that a call fails with. */
async function codeOf(call: Promise<unknown>): Promise<number | undefined> {
  const outcome = await call.then(() => new Error("the call was expected to fail"), (error) => error);
  if (outcome instanceof DipcError && outcome.foreign?.system === "grpc") return outcome.foreign.status;
  throw outcome;
}

/** Values of the column `number` of each batch of an endpoint, which names no location but its server's. */
async function numbersAt(client: FlightClient, endpoint: FlightEndpoint): Promise<number[][]> {
  check(endpoint.locations.length === 0, `expected no locations, found ${endpoint.locations}`);
  const batches: number[][] = [];
  await using reader = await client.doGet(endpoint.ticket);
  const fields = reader.schema.fields.map(({ name }) => name).join();
  check(fields === "number", `expected one column "number", found "${fields}"`);
  for await (const { batch } of reader) if (batch !== null) batches.push([...batch.getChildAt(0)!].map(Number));
  return batches;
}

async function runBasicAuth(client: FlightClient): Promise<void> {
  const whoAmI = async (headers: HeadersInit): Promise<string[]> => {
    const answers: string[] = [];
    for await (const body of client.doAction("", "", { headers })) answers.push(text(body));
    return answers;
  };
  const code = await codeOf(whoAmI({}));
  check(code === UNAUTHENTICATED, `without a handshake: expected UNAUTHENTICATED (16), found ${code}`);

  const login = toBinary(BasicAuthSchema, create(BasicAuthSchema, { username: USER, password: PASSWORD }));
  const tokens: Uint8Array[] = [];
  for await (const payload of client.handshake([login])) tokens.push(payload);
  check(tokens.length === 1, `expected one answer to the handshake, found ${tokens.length}`);
  const answers = await whoAmI({ [TOKEN_HEADER]: btoa(String.fromCharCode(...tokens[0])) });
  check(answers.join() === USER, `expected the answer "${USER}", found "${answers}"`);
}

async function runMiddleware(_client: FlightClient, { location }: ClientTask): Promise<void> {
  let received: string | null = null;
  await using client = await FlightClient.connect(location, {
    middleware: [{
      onCall: ({ headers }) => headers.set(MIDDLEWARE_HEADER, MIDDLEWARE_VALUE),
      onHeaders: (_call, headers) => received = headers.get(MIDDLEWARE_HEADER),
    }],
  });
  const code = await codeOf(client.getFlightInfo({ command: "" }));
  check(code === UNKNOWN, `expected UNKNOWN (2), found ${code}`);
  check(received === MIDDLEWARE_VALUE, `failed call: expected the header "${MIDDLEWARE_VALUE}", found ${received}`);
  received = null;
  await client.getFlightInfo({ command: "success" });
  check(received === MIDDLEWARE_VALUE, `good call: expected the header "${MIDDLEWARE_VALUE}", found ${received}`);
}

async function runOrdered(client: FlightClient): Promise<void> {
  const info = await client.getFlightInfo({ command: "ordered" });
  check(info.ordered, "expected ordered = true");
  const batches: number[][] = [];
  for (const endpoint of info.endpoints) batches.push(...await numbersAt(client, endpoint));
  check(JSON.stringify(batches) === JSON.stringify(ORDERED), `found the batches ${JSON.stringify(batches)}`);
}

async function expiring(client: FlightClient): Promise<FlightInfo> {
  return await client.getFlightInfo({ command: "expiration_time" });
}

async function runExpirationDoGet(client: FlightClient): Promise<void> {
  const batches: number[][] = [];
  for (const [index, endpoint] of (await expiring(client)).endpoints.entries()) {
    check((endpoint.expirationTime === null) === (index === 0), `endpoint ${index}: ${endpoint.expirationTime}`);
    batches.push(...await numbersAt(client, endpoint));
  }
  check(JSON.stringify(batches) === "[[0],[1],[2]]", `found the batches ${JSON.stringify(batches)}`);
}

async function runExpirationListActions(client: FlightClient): Promise<void> {
  const names: string[] = [];
  for await (const { type } of client.listActions()) names.push(type);
  const found = names.sort().join();
  check(found === "CancelFlightInfo,RenewFlightEndpoint", `found the actions ${found}`);
}

async function runExpirationCancel(client: FlightClient): Promise<void> {
  const info = await expiring(client);
  const status = await client.cancelFlightInfo(info);
  check(status === "cancelled", `expected the status "cancelled", found "${status}"`);
  for (const endpoint of info.endpoints) {
    const outcome = await numbersAt(client, endpoint).catch((error) => error);
    check(outcome instanceof DipcError, "DoGet after CancelFlightInfo was expected to fail");
  }
}

async function runExpirationRenew(client: FlightClient): Promise<void> {
  for (const endpoint of (await expiring(client)).endpoints) {
    if (endpoint.expirationTime === null) continue;
    const { expirationTime } = await client.renewFlightEndpoint(endpoint);
    check(expirationTime !== null, "the renewed endpoint has no expiration time");
    check(expirationTime > endpoint.expirationTime, `${endpoint.expirationTime} was renewed to ${expirationTime}`);
  }
}

async function runReuseConnection(client: FlightClient): Promise<void> {
  const { endpoints } = await client.getFlightInfo({ command: "reuse" });
  check(endpoints.length === 1, `expected one endpoint, found ${endpoints.length}`);
  const found = endpoints[0].locations.join();
  check(found === REUSE_CONNECTION, `expected the location ${REUSE_CONNECTION}, found ${found}`);
}

async function runSessionOptions(client: FlightClient): Promise<void> {
  const expectOptions = async (expected: Record<string, unknown>): Promise<void> => {
    const order = (options: Record<string, unknown>): string =>
      Object.entries(options).map(([name, value]) =>
        `${name}: ${typeof value} ${typeof value === "bigint" ? value : JSON.stringify(value)}`
      ).sort().join("; ");
    const found = order(await client.getSessionOptions());
    check(found === order(expected), `expected the options ${order(expected)}, found ${found}`);
  };
  await expectOptions({});
  const errors = await client.setSessionOptions({
    foolong: 123n,
    bardouble: 456.0,
    lol_invalid: "this won't get set",
    key_with_invalid_value: "lol_invalid",
    big_ol_string_list: SESSION_LIST,
  });
  const names = Object.entries(errors).map(([name, error]) => `${name}: ${error}`).sort().join();
  check(names === "key_with_invalid_value: invalid value,lol_invalid: invalid name", `found the errors ${names}`);
  await expectOptions({ foolong: 123n, bardouble: 456, big_ol_string_list: SESSION_LIST });
  const none = await client.setSessionOptions({ foolong: null });
  check(Object.keys(none).length === 0, `removing an option: found errors for ${Object.keys(none)}`);
  await expectOptions({ bardouble: 456, big_ol_string_list: SESSION_LIST });
  const status = await client.closeSession();
  check(status === "closed", `expected the status "closed", found "${status}"`);
}

async function runPoll(client: FlightClient): Promise<void> {
  const first = await client.pollFlightInfo({ command: "heavy query" });
  check(first.descriptor !== null, "first answer: the descriptor is missing");
  check(first.progress !== null && first.progress >= 0 && first.progress <= 1, `progress ${first.progress}`);
  check(first.expirationTime !== null, "first answer: the expiration time is missing");
  const second = await client.pollFlightInfo(first.descriptor);
  check(second.descriptor === null, "second answer: the query is not complete");
  check(second.progress !== null && Math.abs(second.progress - 1) < 1e-5, `progress ${second.progress} at the end`);
  check(second.expirationTime === null, "second answer: there is an expiration time");
}

async function runAppMetadata(client: FlightClient): Promise<void> {
  const info = await client.getFlightInfo({ command: "foobar" });
  check(text(info.appMetadata) === "foobar", `app_metadata of the info: "${text(info.appMetadata)}"`);
  check(info.endpoints.length === 1, `expected one endpoint, found ${info.endpoints.length}`);
  const found = text(info.endpoints[0].appMetadata);
  check(found === "foobar", `app_metadata of the endpoint: "${found}"`);
}

const RUNS: Readonly<Record<Scenario, Run>> = {
  "auth:basic_proto": runBasicAuth,
  "middleware": runMiddleware,
  "ordered": runOrdered,
  "expiration_time:do_get": runExpirationDoGet,
  "expiration_time:list_actions": runExpirationListActions,
  "expiration_time:cancel_flight_info": runExpirationCancel,
  "expiration_time:renew_flight_endpoint": runExpirationRenew,
  "location:reuse_connection": runReuseConnection,
  "session_options": runSessionOptions,
  "poll_flight_info": runPoll,
  "app_metadata_flight_info_endpoint": runAppMetadata,
  "do_exchange:echo": runEcho,
  "flight_sql": (_client, { location }) => runFlightSql(location),
  "flight_sql:extension": (_client, { location }) => runFlightSqlExtension(location),
  "flight_sql:ingestion": (_client, { location }) => runFlightSqlIngestion(location),
  "": runDefault,
};

/**
 * Runs the client's part of a scenario.
 *
 * @param scenario Which one
 * @param task Location of the server, and what to upload
 * @throws {Error} if an answer is not the expected one
 */
export async function runClient(scenario: Scenario, task: ClientTask): Promise<void> {
  await using client = await FlightClient.connect(task.location);
  await RUNS[scenario](client, task);
}
