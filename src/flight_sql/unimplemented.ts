/**
 * Tells apart what a server does not know from what it refuses.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { GrpcStatus } from "../grpc/status.ts";

/** The status of gRPC that a server answered with; `null` if the error is from this side. */
export function statusOf(error: unknown): number | null {
  return error instanceof DipcError && error.foreign?.system === "grpc" ? error.foreign.status : null;
}

/** Whether a server does not know a call or an action. */
export function isUnimplemented(error: unknown): boolean {
  return statusOf(error) === GrpcStatus.unimplemented;
}
