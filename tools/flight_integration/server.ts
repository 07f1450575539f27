/**
 * The server's part of each scenario of Arrow's Flight integration tests: answers what the clients of the other
 * implementations expect.
 *
 * @module
 */
import { Int32, Uint32 } from "apache-arrow";
import { DipcError } from "../../mod.ts";
import {
  type FlightDescriptor,
  type FlightEndpoint,
  type FlightHandlers,
  type FlightInfo,
  type FlightServer,
  type FlightServerOptions,
  GrpcStatus,
  serveFlight,
} from "../../flight.ts";
import { UploadedFlights } from "./default_server.ts";
import { echo } from "./echo_server.ts";
import { expiringHandlers } from "./expiring_server.ts";
import { numbers, numbersSchema } from "./numbers.ts";
import { sqlHandlers } from "./sql_server.ts";
import {
  isSqlScenario,
  MIDDLEWARE_HEADER,
  ORDERED,
  PASSWORD,
  REUSE_CONNECTION,
  type Scenario,
  type SQL_SCENARIOS,
  USER,
} from "./scenarios.ts";

const NOTHING = new Uint8Array(0);

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function commandOf(descriptor: FlightDescriptor): string {
  return "command" in descriptor ? new TextDecoder().decode(descriptor.command) : "";
}

function endpoint(ticket: string, more: Partial<FlightEndpoint> = {}): FlightEndpoint {
  return { ticket: bytes(ticket), locations: [], expirationTime: null, appMetadata: NOTHING, ...more };
}

function info(
  schema: Uint8Array,
  descriptor: FlightDescriptor,
  endpoints: readonly FlightEndpoint[],
  more: Partial<FlightInfo> = {},
): FlightInfo {
  const unknown = { totalRecords: -1n, totalBytes: -1n, ordered: false, appMetadata: NOTHING };
  return { schema, descriptor, endpoints, ...unknown, ...more };
}

/** Callers must know the password; each learns its own name. */
const AUTH: FlightServerOptions = {
  auth: { basic: (user, password) => user === USER && password === PASSWORD },
  handlers: { doAction: (_type, _body, { user }) => [bytes(user!)] },
};

/** The client's header goes back, with errors too. */
const MIDDLEWARE: FlightHandlers = {
  onCall: ({ headers, responseHeaders }) => {
    const value = headers.get(MIDDLEWARE_HEADER);
    if (value !== null) responseHeaders.set(MIDDLEWARE_HEADER, value);
  },
  getFlightInfo: async (descriptor) => {
    if (commandOf(descriptor) !== "success") {
      const text = "this call fails";
      throw new DipcError("flight", text, { foreign: { system: "grpc", status: GrpcStatus.unknown, text } });
    }
    const location = "grpc+tcp://localhost:10010";
    return info(await numbersSchema(new Int32()), descriptor, [endpoint("foo", { locations: [location] })]);
  },
};

const ORDERED_ENDPOINTS: FlightHandlers = {
  getFlightInfo: async (descriptor) =>
    info(await numbersSchema(new Int32()), descriptor, ORDERED.map((_, index) => endpoint(String(index))), {
      ordered: commandOf(descriptor) === "ordered",
    }),
  doGet: (ticket) => {
    const values = ORDERED[Number(new TextDecoder().decode(ticket))];
    return values === undefined ? undefined : numbers(new Int32(), values);
  },
};

const REUSE: FlightHandlers = {
  getFlightInfo: async (descriptor) =>
    info(await numbersSchema(new Int32()), descriptor, [endpoint("reuse", { locations: [REUSE_CONNECTION] })]),
};

const SESSIONS: FlightHandlers = {
  checkSessionOption: (name, value) => {
    if (name === "lol_invalid") return "invalid name";
    return value === "lol_invalid" ? "invalid value" : null;
  },
};

/** Milliseconds that the query of `poll_flight_info` can be asked about. */
const QUERY_LIFETIME_MS = 10_000;

const POLL: FlightHandlers = {
  pollFlightInfo: async (descriptor) => {
    const found = info(await numbersSchema(new Uint32()), descriptor, [endpoint("long-running query")]);
    if (commandOf(descriptor) === "poll") return { info: found, descriptor: null, progress: 1, expirationTime: null };
    const expirationTime = new Date(Date.now() + QUERY_LIFETIME_MS);
    return { info: found, descriptor: { command: bytes("poll") }, progress: 0.1, expirationTime };
  },
};

const APP_METADATA: FlightHandlers = {
  getFlightInfo: async (descriptor) => {
    if (!("command" in descriptor)) throw new DipcError("invalid_argument", "expected a command");
    const appMetadata = descriptor.command;
    return info(await numbersSchema(new Uint32()), descriptor, [endpoint("", { appMetadata })], { appMetadata });
  },
};

const OPTIONS: Readonly<Record<Exclude<Scenario, "" | typeof SQL_SCENARIOS[number]>, () => FlightServerOptions>> = {
  "auth:basic_proto": () => AUTH,
  "middleware": () => ({ handlers: MIDDLEWARE }),
  "ordered": () => ({ handlers: ORDERED_ENDPOINTS }),
  "expiration_time:do_get": () => ({ handlers: expiringHandlers() }),
  "expiration_time:list_actions": () => ({ handlers: expiringHandlers() }),
  "expiration_time:cancel_flight_info": () => ({ handlers: expiringHandlers() }),
  "expiration_time:renew_flight_endpoint": () => ({ handlers: expiringHandlers() }),
  "location:reuse_connection": () => ({ handlers: REUSE }),
  "session_options": () => ({ handlers: SESSIONS }),
  "poll_flight_info": () => ({ handlers: POLL }),
  "app_metadata_flight_info_endpoint": () => ({ handlers: APP_METADATA }),
  "do_exchange:echo": () => ({ handlers: { doExchange: echo } }),
};

/**
 * Starts the server of a scenario.
 *
 * @param scenario Which one
 * @param port Port on 127.0.0.1; 0 chooses a free one
 * @throws {DipcError} `unreachable` if the port is taken
 */
export async function startServer(scenario: Scenario, port: number): Promise<FlightServer> {
  if (isSqlScenario(scenario)) return await serveFlight({ port, handlers: await sqlHandlers() });
  if (scenario !== "") return await serveFlight({ port, ...OPTIONS[scenario]() });
  const flights = new UploadedFlights();
  const server = await serveFlight({ port, handlers: flights.handlers });
  flights.location = server.location.replace("grpc:", "grpc+tcp:");
  return server;
}
