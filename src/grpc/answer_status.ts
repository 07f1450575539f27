/**
 * What an answer's HTTP status and status text stand for: proxies answer for servers, and servers send texts of any kind.
 *
 * @module
 */
import { type DipcError, type DipcErrorCode, LocalError } from "../errors.ts";
import { codeOfGrpcStatus, GrpcStatus } from "./status.ts";

/** Statuses of gRPC for those of HTTP, as in gRPC's document "HTTP to gRPC status code mapping". */
const OF_HTTP: Readonly<Record<number, number>> = {
  400: GrpcStatus.internal,
  401: GrpcStatus.unauthenticated,
  403: GrpcStatus.permissionDenied,
  404: GrpcStatus.unimplemented,
  429: GrpcStatus.unavailable,
  502: GrpcStatus.unavailable,
  503: GrpcStatus.unavailable,
  504: GrpcStatus.unavailable,
};

/** What to do about an HTTP status, if there is more to say than to check the server. */
const ADVICE: Readonly<Record<number, string>> = {
  400:
    "check the call's headers or, if a proxy verifies clients, the client's certificate: tls.cert, or --tls-cert FILE",
  401: "send credentials that it accepts",
  403: "send credentials that it accepts",
  413: "send less in one call, or raise the limit of the proxy, such as client_max_body_size of nginx",
  429: "try again later",
  502: "check that the server behind the proxy is running",
  503: "check that the server behind the proxy is running, or try again later",
  504: "check the server behind the proxy, or raise the proxy's timeout",
};

/** Whether a content type is one of gRPC's. */
export function isGrpcType(type: string): boolean {
  return /^application\/grpc(?:[+;]|$)/.test(type);
}

/**
 * The error for an answer that is not one of gRPC.
 *
 * @param status Status of HTTP
 * @param type Its content type
 * @param what The call, such as `"DoGet at grpc://127.0.0.1:8815"`
 */
export function errorOfHttpStatus(status: number, type: string, what: string): DipcError {
  const grpcStatus = OF_HTTP[status] ?? GrpcStatus.unknown;
  // With the status of success it is simply another kind of server.
  const code: DipcErrorCode = status === 200 ? "protocol" : codeOfGrpcStatus(grpcStatus);
  return new LocalError(
    code,
    `cannot complete ${what}: the server answered with HTTP status ${status} and content type ${
      JSON.stringify(type)
    }, expected 200 and application/grpc; ${ADVICE[status] ?? "check that it is a Flight server"}`,
    { foreign: { system: "grpc", status: grpcStatus, text: `HTTP status ${status}` } },
  );
}

/**
 * Decodes the value of `grpc-message`. What is percent-encoded is decoded; everything else is taken as it is, for some servers
 * do not encode their texts.
 *
 * @param text The value of the header, one character per byte
 */
export function decodeStatusText(text: string): string {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const digits = text[i] === "%" ? /^[0-9a-f]{2}$/i.exec(text.slice(i + 1, i + 3)) : null;
    bytes[length++] = digits === null ? text.charCodeAt(i) : parseInt(digits[0], 16);
    if (digits !== null) i += 2;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}
