/**
 * Authenticates callers: by basic authentication, and by bearer tokens of this server and of others.
 *
 * @module
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DipcError } from "../../errors.ts";
import { integerIn } from "../../options.ts";
import * as proto from "../gen/flight_pb.ts";
import { Keyring } from "../signing.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import { unauthenticated } from "./context.ts";
import type { FlightAuth } from "./options.ts";

/** Prefix of tokens of this server. */
const PREFIX = "dipct1.";
/** Longest token or password that is accepted by default, in bytes. */
const MAX_TOKEN_BYTES = 64 * 1024;
/** The most that the option may be, in bytes: a longer header block ends its connection. */
const MAX_TOKEN_OPTION = 512 * 1024;
const EXPIRY_BYTES = 8;
/** Header in which clients with their own handshake send the token that they got; binary headers are base64. */
const TOKEN_HEADER = "auth-token-bin";

/** Authenticates callers. */
export class Authenticator {
  readonly #auth: FlightAuth;
  readonly #keyring: Keyring;
  readonly #lifetimeMs: number;
  readonly #maxTokenBytes: number;

  /** @ignore Use {@linkcode Authenticator.open}. */
  constructor(auth: FlightAuth, keyring: Keyring) {
    this.#auth = auth;
    this.#keyring = keyring;
    this.#lifetimeMs = integerIn("tokenLifetimeMs", auth.tokenLifetimeMs ?? 3_600_000, 1);
    this.#maxTokenBytes = maxTokenBytes(auth);
  }

  /**
   * Imports the keys.
   *
   * @throws {DipcError} `invalid_argument` for a bad key, or if there is neither `basic` nor `bearer`
   */
  static async open(auth: FlightAuth): Promise<Authenticator> {
    if (auth.basic === undefined && auth.bearer === undefined) {
      throw new DipcError(
        "invalid_argument",
        "cannot authenticate callers: auth has neither basic nor bearer; set one or both",
      );
    }
    return new Authenticator(auth, await Keyring.open(auth.keys));
  }

  /**
   * The user of the header `authorization`, or of `auth-token-bin`, in which older clients send the token of a handshake. For
   * a user with password, a token is added to the answer's headers.
   *
   * @throws {DipcError} `permission_denied` (UNAUTHENTICATED)
   */
  async user(call: ServerCall): Promise<string> {
    const authorization = call.headers.get("authorization");
    const token = call.headers.get(TOKEN_HEADER);
    if (authorization === null && token !== null) {
      this.#checkLength(TOKEN_HEADER, token);
      return await this.#bearer(fromBinaryHeader(token));
    }
    const [, scheme, value] = /^(\S+)\s+(\S+)\s*$/.exec(authorization ?? "") ?? [];
    if (scheme === undefined) {
      throw unauthenticated("this server requires authentication; send user and password, or a bearer token");
    }
    this.#checkLength(scheme.toLowerCase() === "bearer" ? "bearer token" : `${scheme} credential`, value);
    if (scheme.toLowerCase() === "basic") {
      const user = await this.#basic(value);
      call.responseHeaders.set("authorization", `Bearer ${await this.#issue(user)}`);
      return user;
    }
    if (scheme.toLowerCase() !== "bearer") throw unauthenticated(`this server does not know the scheme "${scheme}"`);
    return await this.#bearer(value);
  }

  /**
   * A handshake: user and password in its headers, or in a payload that is a BasicAuth.
   *
   * @returns The payload to send back, the token
   * @throws {DipcError} `permission_denied` (UNAUTHENTICATED)
   */
  async handshake(call: ServerCall, payload: Uint8Array | null): Promise<Uint8Array> {
    if (call.headers.has("authorization")) {
      const user = await this.user(call);
      return new TextEncoder().encode(await this.#issue(user));
    }
    const { username, password } = readBasicAuth(payload);
    await this.#check(username, password);
    const token = await this.#issue(username);
    call.responseHeaders.set("authorization", `Bearer ${token}`);
    return new TextEncoder().encode(token);
  }

  #checkLength(what: string, { length }: string): void {
    if (length <= this.#maxTokenBytes) return;
    throw unauthenticated(
      `the ${what} is too long: it has ${length} bytes, at most ${this.#maxTokenBytes} are accepted`,
    );
  }

  async #basic(value: string): Promise<string> {
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(value));
    } catch {
      throw unauthenticated("user and password are not base64 of UTF-8");
    }
    // RFC 7617, section 2: the first colon ends the user's name.
    const colon = text.indexOf(":");
    if (colon < 0) throw unauthenticated("there is no colon between user and password");
    const user = text.slice(0, colon);
    await this.#check(user, text.slice(colon + 1));
    return user;
  }

  async #check(user: string, password: string): Promise<void> {
    if (this.#auth.basic === undefined) throw unauthenticated("this server accepts bearer tokens only");
    if (await this.#auth.basic(user, password) !== true) throw unauthenticated("user or password is wrong");
  }

  async #bearer(token: string): Promise<string> {
    const content = await this.#keyring.verify(PREFIX, new TextEncoder().encode(token), this.#maxTokenBytes);
    if (content !== null && content.byteLength >= EXPIRY_BYTES) {
      if (Number(new DataView(content.buffer, content.byteOffset).getBigUint64(0, true)) > Date.now()) {
        return new TextDecoder().decode(content.subarray(EXPIRY_BYTES));
      }
      throw unauthenticated("the bearer token has expired; authenticate again");
    }
    const user = await this.#auth.bearer?.(token);
    if (typeof user !== "string") throw unauthenticated("this server does not accept the bearer token");
    return user;
  }

  async #issue(user: string): Promise<string> {
    const name = new TextEncoder().encode(user);
    const content = new Uint8Array(EXPIRY_BYTES + name.byteLength);
    new DataView(content.buffer).setBigUint64(0, BigInt(Date.now() + this.#lifetimeMs), true);
    content.set(name, EXPIRY_BYTES);
    return new TextDecoder().decode(await this.#keyring.sign(PREFIX, content));
  }
}

/** Longest token or password that is accepted, in bytes. @throws {DipcError} `invalid_argument` */
export function maxTokenBytes(auth: FlightAuth | undefined): number {
  return integerIn("auth.maxTokenBytes", auth?.maxTokenBytes ?? MAX_TOKEN_BYTES, 1, MAX_TOKEN_OPTION);
}

function fromBinaryHeader(value: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(value));
  } catch {
    throw unauthenticated(`the header ${TOKEN_HEADER} holds no token of this server`);
  }
}

function readBasicAuth(payload: Uint8Array | null): proto.BasicAuth {
  if (payload === null || payload.byteLength === 0) {
    throw unauthenticated("the handshake holds neither a header with user and password, nor a BasicAuth");
  }
  try {
    return fromBinary(proto.BasicAuthSchema, payload);
  } catch {
    throw unauthenticated("the handshake's payload is not a BasicAuth");
  }
}

/** One answer of a handshake as protobuf. */
export function handshakeResponse(payload: Uint8Array): Uint8Array {
  return toBinary(proto.HandshakeResponseSchema, create(proto.HandshakeResponseSchema, { payload }));
}
