/**
 * Basic authentication of a Flight client.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { GrpcStatus } from "../grpc/status.ts";

/**
 * Requests a token from the server, as Arrow's clients do: an empty handshake with user and password in the header
 * `authorization`, to which the server answers with the same header, a bearer token in it.
 *
 * @param user Name of the user, without a colon
 * @param password Password of the user
 * @param handshake Makes the handshake with headers; passes the server's headers and trailers to `onHeaders`
 * @returns The value of `authorization` for later calls: the token, or user and password if the server has no handshake
 * @throws {DipcError} `invalid_argument`, and what the handshake throws
 */
export async function authenticate(
  user: string,
  password: string,
  handshake: (headers: [string, string][], onHeaders: (headers: Headers) => void) => AsyncIterable<Uint8Array>,
): Promise<string> {
  // RFC 7617, section 2.
  if (user.includes(":")) {
    throw new DipcError(
      "invalid_argument",
      "cannot authenticate: the user name contains a colon, which basic authentication does not allow",
    );
  }
  let token: string | null = null;
  const basic = `Basic ${base64(`${user}:${password}`)}`;
  const take = (headers: Headers): void => {
    const value = headers.get("authorization");
    if (value !== null && /^bearer /i.test(value)) token = value;
  };
  try {
    for await (const _ of handshake([["authorization", basic]], take)) {
      // The token is in the headers; payloads belong to another scheme.
    }
  } catch (error) {
    const isUnknown = error instanceof DipcError && error.foreign?.system === "grpc" &&
      error.foreign.status === GrpcStatus.unimplemented;
    if (!isUnknown) throw error;
  }
  return token ?? basic;
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
