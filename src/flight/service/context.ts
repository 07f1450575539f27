/**
 * One call as a handler sees it.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import { GrpcStatus } from "../../grpc/status.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import type { Approach } from "../../reachable_host.ts";
import type { Session } from "./sessions.ts";

/** One call as a handler sees it. */
export class FlightContext {
  /** Name of the method, such as `"DoGet"`. */
  readonly method: string;
  /** Headers of the request. Names that end with `-bin` hold base64. */
  readonly headers: Headers;
  /** Headers of the answer; changes have no effect once it has begun. */
  readonly responseHeaders: Headers;
  /** Sent with the status. */
  readonly trailers: Headers;
  /** Aborted once the answer is not needed any more. */
  readonly signal: AbortSignal;
  /** User who calls; `null` on a server without authentication. */
  readonly user: string | null;
  /** Subject of the client's certificate; `null` if it has none. */
  readonly certificateSubject: string | null;
  /** @ignore Number of the client's connection, from 1. */
  readonly _connection: number;
  /** @ignore How the client has reached this server. */
  readonly _approach: Approach;
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
    this._connection = call.connection;
    this._approach = call.approach;
    this.#session = session;
  }

  /** Options of the client's session; `null` if it has none. */
  get sessionOptions(): ReadonlyMap<string, unknown> | null {
    return this.#session()?.options ?? null;
  }
}

/** The error for a caller that is not authenticated; UNAUTHENTICATED for the client. */
export function unauthenticated(why: string): DipcError {
  const text = `cannot authenticate the caller: ${why}`;
  return new DipcError("permission_denied", text, {
    foreign: { system: "grpc", status: GrpcStatus.unauthenticated, text },
  });
}
