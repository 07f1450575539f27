/**
 * The errors that clients of Flight SQL get.
 *
 * @module
 */
import { DipcError, LocalError } from "../../errors.ts";
import { GrpcStatus } from "../../grpc/status.ts";
import { PeerError } from "../../tell_peer.ts";

/**
 * What an engine has thrown, for a client: with its text, unless that is about this process.
 *
 * @param thrown What was thrown
 * @param signal What has ended the call, if it was ended
 */
export function engineError(thrown: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted && signal.reason instanceof DipcError) return signal.reason;
  if (!(thrown instanceof DipcError) || thrown instanceof LocalError || thrown instanceof PeerError) return thrown;
  return new PeerError(thrown.code, thrown.message, { cause: thrown.cause, foreign: thrown.foreign });
}

/** Calls an engine. @throws What it throws, as {@linkcode engineError} */
export async function fromEngine<T>(ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw engineError(error, signal);
  }
}

/** An error with a status that no code of dipc has. */
function withStatus(status: number, text: string): PeerError {
  return new PeerError("flight", text, { foreign: { system: "grpc", status, text } });
}

/** The error for what cannot be done in the state that something is in. */
export function notNow(text: string): PeerError {
  return withStatus(GrpcStatus.failedPrecondition, text);
}

/** The error for a handle that is not one, is no more, or is another client's, which is not told apart. */
export function unknownHandle(what: string): PeerError {
  return new PeerError("not_found", `cannot use the ${what}: the server does not know it; it may have been closed`);
}

/** The error for what an engine does not have. */
export function notOffered(what: string): PeerError {
  return new PeerError("unsupported", `cannot ${what}: this server does not offer it; SqlInfo says what it offers`);
}
