/**
 * What a client is told of an error: a status and a text that says nothing of the server's inside.
 *
 * @module
 */
import { DipcError, type DipcErrorCode } from "./errors.ts";
import { grpcStatusOf } from "./grpc/status.ts";

/** Errors whose texts name paths, addresses or other things of the server's own. */
const INSIDE: readonly DipcErrorCode[] = ["io", "internal", "ucx", "cuda", "library_not_found", "out_of_memory"];

/**
 * The status and text for an error.
 *
 * @param error What was thrown
 */
export function failureOf(error: unknown): { status: number; text: string } {
  const status = grpcStatusOf(error);
  if (!(error instanceof DipcError)) return { status, text: "the server failed to answer; its own log says why" };
  if (error.foreign?.system === "grpc") return { status, text: error.foreign.text };
  if (INSIDE.includes(error.code) || error.foreign !== undefined) {
    return { status, text: `the server failed to answer (${error.code}); its own log says why` };
  }
  return { status, text: error.message };
}

/** An error as one of dipc's, for those who are told of it on the server's side. */
export function asDipcError(error: unknown): DipcError {
  return error instanceof DipcError ? error : new DipcError("internal", String(error), { cause: error });
}
