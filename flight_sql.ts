/**
 * Flight SQL: SQL at servers of Arrow Flight. Does not need UCX.
 *
 * @module
 */
export { SqlInfo } from "./src/flight_sql/gen/flight_sql_pb.ts";
export { FlightSqlClient } from "./src/flight_sql/client.ts";
export { RESULT_SCHEMAS } from "./src/flight_sql/result_schemas.ts";
