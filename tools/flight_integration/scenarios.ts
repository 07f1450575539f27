/**
 * The scenarios of Arrow's Flight integration tests that both roles know.
 *
 * @module
 */

/** Those of Flight SQL. */
export const SQL_SCENARIOS = ["flight_sql", "flight_sql:extension", "flight_sql:ingestion"] as const;

/** Names as the testers of the other implementations take them; the last one is the default, which has no name. */
export const SCENARIOS = [
  "auth:basic_proto",
  "middleware",
  "ordered",
  "expiration_time:do_get",
  "expiration_time:list_actions",
  "expiration_time:cancel_flight_info",
  "expiration_time:renew_flight_endpoint",
  "location:reuse_connection",
  "session_options",
  "poll_flight_info",
  "app_metadata_flight_info_endpoint",
  "do_exchange:echo",
  ...SQL_SCENARIOS,
  "",
] as const;

/** Name of a scenario. */
export type Scenario = typeof SCENARIOS[number];

/** Whether a scenario is one of Flight SQL. */
export function isSqlScenario(scenario: Scenario): scenario is typeof SQL_SCENARIOS[number] {
  return (SQL_SCENARIOS as readonly string[]).includes(scenario);
}

/** Whether a text names a scenario. */
export function isScenario(name: string): name is Scenario {
  return (SCENARIOS as readonly string[]).includes(name);
}

/** User and password of `auth:basic_proto`. */
export const USER = "arrow";
/** See {@linkcode USER}. */
export const PASSWORD = "flight";
/** Header that carries what the server gave in the handshake; binary headers are base64 on the wire. */
export const TOKEN_HEADER = "auth-token-bin";

/** Header of the scenario `middleware`, and what the client sends in it. */
export const MIDDLEWARE_HEADER = "x-middleware";
/** See {@linkcode MIDDLEWARE_HEADER}. */
export const MIDDLEWARE_VALUE = "expected value";

/** Location of an endpoint whose data comes from the same connection. */
export const REUSE_CONNECTION = "arrow-flight-reuse-connection://?";

/** What the three endpoints of `ordered` hold. */
export const ORDERED: readonly (readonly number[])[] = [[1, 2, 3], [10, 20, 30], [100, 200, 300]];

/** List of the scenario `session_options`: blanks, and characters outside of ASCII. */
export const SESSION_LIST: readonly string[] = ["a", "b", "sea", "dee", " ", "  ", "geee", "(づ｡◕‿‿◕｡)づ"];
