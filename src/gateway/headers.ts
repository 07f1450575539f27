/**
 * Which headers and trailers pass a gateway: all but those that belong to one connection, or that the gateway writes itself.
 *
 * @module
 */

/** Header by which a call names its engine, if there are several. */
export const ENGINE_HEADER = "dipc-engine";

/** Headers of a request that are not passed on. The gateway reads messages, so that nobody may compress them on the way to it. */
const OF_REQUEST = new Set([
  ...["content-type", "content-length", "te", "host", "connection", "grpc-accept-encoding", ENGINE_HEADER],
]);
/** Headers of an answer that are not passed on. */
const OF_ANSWER = new Set([
  ...["content-type", "content-length", "connection", "grpc-status", "grpc-accept-encoding", "grpc-encoding"],
]);
/** Trailers that say more of an error. */
export const ERROR_TRAILERS: readonly string[] = ["grpc-message", "grpc-status-details-bin"];
/** Headers that belong to one call, and say nothing about who calls. */
const OF_ONE_CALL = /^(?:grpc-|traceparent$|tracestate$|baggage$|user-agent$)/;

/** The headers of a client's call for its engine. */
export function passedOn(headers: Headers): Headers {
  return new Headers([...headers].filter(([name]) => !OF_REQUEST.has(name)));
}

/** What of them is left if the host may not have the client's credentials, which any header can hold. */
export function withoutCredentials(headers: Headers): Headers {
  return new Headers([...headers].filter(([name]) => OF_ONE_CALL.test(name)));
}

/** What of them says who calls, and goes with every call of that client. */
export function credentialsIn(headers: Headers): [name: string, value: string][] {
  return [...passedOn(headers)].filter(([name]) => !OF_ONE_CALL.test(name));
}

/** Adds the headers or trailers of an engine's answer to those of the gateway's. */
export function passBack(received: Headers, into: Headers): void {
  for (const [name, value] of received) {
    if (OF_ANSWER.has(name)) continue;
    // Some servers do not encode their texts.
    into.append(name, name === "grpc-message" ? value.replace(/[^ -~]+/g, encodeBytes) : value);
  }
}

/** Percent-encodes a text of one character per byte. */
function encodeBytes(text: string): string {
  return Array.from(text, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`).join("");
}
