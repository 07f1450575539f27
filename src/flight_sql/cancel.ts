/**
 * Cancels queries at a server, in the form that it knows.
 *
 * @module
 */
import { toBinary } from "@bufbuild/protobuf";
import type { FlightClient } from "../flight/client.ts";
import { FlightInfoSchema } from "../flight/gen/flight_pb.ts";
import { type CancelStatus, cancelStatusOf, type FlightInfo, infoToProto } from "../flight/model.ts";
import { GrpcStatus } from "../grpc/status.ts";
import { runAction } from "./action_call.ts";
import { SQL_ACTIONS } from "./actions.ts";
import type { SqlCallOptions } from "./options.ts";
import { isUnimplemented, statusOf } from "./unimplemented.ts";

/**
 * Requests that a query be stopped: by CancelFlightInfo, or by CancelQuery at a server that only knows the older form.
 *
 * @param flight The server
 * @param info The query
 * @param options Cancellation of the request itself
 */
export async function cancelQuery(
  flight: FlightClient,
  info: FlightInfo,
  options: SqlCallOptions,
): Promise<CancelStatus> {
  try {
    return await flight.cancelFlightInfo(info, options);
  } catch (error) {
    // Servers on arrow-rs call an action that they do not know an invalid one.
    const isUnknown = isUnimplemented(error) || statusOf(error) === GrpcStatus.invalidArgument;
    if (!isUnknown) throw error;
    const request = { info: toBinary(FlightInfoSchema, infoToProto(info)) };
    // Both number their statuses alike.
    return cancelStatusOf((await runAction(flight, SQL_ACTIONS.cancelQuery, request, options)).result);
  }
}
