/**
 * One call as a handler sees it.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import { GrpcStatus } from "../../grpc/status.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import type { Session } from "./sessions.ts";

/** One call as a handler sees it. */
export class FlightContext {
  /** Name of the method, such as `"DoGet"`. */
  readonly method: string;
  /** What the client sent in front of the call. Names that end with `-bin` hold base64. */
  readonly headers: Headers;
  /** Headers of the answer, until it has begun. */
  readonly responseHeaders: Headers;
  /** Sent with the status. */
  readonly trailers: Headers;
  /** Aborted once nobody waits for an answer any more. */
  readonly signal: AbortSignal;
  /** Who calls; `null` on a server without authentication. */
  readonly user: string | null;
  /** Subject of the client's certificate; `null` where there is none. */
  readonly certificateSubject: string | null;
  readonly #session: () => Session | null;

  /** @ignore Made by the server. */
  constructor(call: ServerCall, user: string | null, session: () => Session | null) {
    this.method = call.method;
    this.headers = call.headers;
    this.responseHeaders = call.responseHeaders;
    this.trailers = call.trailers;
    this.signal = call.signal;
    this.user = user;
    this.certificateSubject = call.peerCertificate?.subject ?? null;
    this.#session = session;
  }

  /** Options of the client's session; `null` where it has none. */
  get sessionOptions(): ReadonlyMap<string, unknown> | null {
    return this.#session()?.options ?? null;
  }
}

/** The error for a caller who is not known; UNAUTHENTICATED to its client. */
export function unauthenticated(text: string): DipcError {
  return new DipcError("permission_denied", text, {
    foreign: { system: "grpc", status: GrpcStatus.unauthenticated, text },
  });
}
