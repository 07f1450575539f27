/**
 * Options of a Flight server: address, authentication, handlers, limits.
 *
 * @module
 */
import { MIB } from "../../bytes.ts";
import { timeoutOption } from "../../limits.ts";
import { checkOptionNames, integerIn } from "../../options.ts";
import type { MessageHeader } from "../../ipc/message.ts";
import type { Dataset } from "../../sources/dataset.ts";
import type {
  ActionType,
  CancelStatus,
  FlightDescriptor,
  FlightEndpoint,
  FlightInfo,
  PollInfo,
  SessionOptionError,
  SessionValue,
} from "../model.ts";
import type { FlightContext } from "./context.ts";
import type { FlightServerExchange, FlightUpload } from "./exchange.ts";
import type { FlightServerTls } from "../../grpc/tls.ts";

/** A value, or the promise of one. */
export type MaybePromise<T> = T | Promise<T>;

/** Authentication of a Flight server. With it, every call but the handshake needs a user. */
export interface FlightAuth {
  /**
   * Checks user and password of basic authentication. The user then gets a signed bearer token.
   *
   * @returns Whether they are correct
   */
  basic?(user: string, password: string): MaybePromise<boolean>;
  /**
   * Checks a bearer token that this server did not sign.
   *
   * @returns The user of the token, or `null` if it is not accepted
   */
  bearer?(token: string): MaybePromise<string | null>;
  /** How long a token that this server signed is valid, in milliseconds. Default 3,600,000, an hour. */
  tokenLifetimeMs?: number;
  /** Longest bearer token, or user with password, in bytes. Default 65,536. */
  maxTokenBytes?: number;
  /** Secrets to sign tokens with, as those of tickets. Default: a random one, which is lost when the process ends. */
  keys?: readonly Uint8Array[];
}

/** One action that a server offers. */
export interface FlightAction {
  /** Human-readable description. */
  description?: string;
  /**
   * Runs the action.
   *
   * @returns The results; without a value there are none
   */
  run(
    body: Uint8Array,
    context: FlightContext,
  ): MaybePromise<AsyncIterable<Uint8Array> | Iterable<Uint8Array> | void>;
}

/**
 * What a server answers beyond its own datasets. Each handler is called first; if it is missing or returns `undefined`, the
 * server's own datasets are used. What a handler throws becomes the call's status: a `DipcError` with its text, everything
 * else as INTERNAL without one. Errors of dipc about files, libraries, memory or connections to other servers give their code
 * alone.
 */
export interface FlightHandlers {
  /** Called before every call that is authenticated: may set headers of the answer, or throw. */
  onCall?(context: FlightContext): MaybePromise<void>;
  /** Handshakes other than those of basic authentication. What it yields is sent back. */
  handshake?(payloads: AsyncIterable<Uint8Array>, context: FlightContext): AsyncIterable<Uint8Array>;
  /** Flights besides the datasets. */
  listFlights?(criteria: Uint8Array, context: FlightContext): AsyncIterable<FlightInfo> | Iterable<FlightInfo>;
  /** Endpoints and properties of a flight. */
  getFlightInfo?(descriptor: FlightDescriptor, context: FlightContext): MaybePromise<FlightInfo | undefined>;
  /** Progress of a long-running query. */
  pollFlightInfo?(descriptor: FlightDescriptor, context: FlightContext): MaybePromise<PollInfo | undefined>;
  /** Schema of a flight. */
  getSchema?(descriptor: FlightDescriptor, context: FlightContext): MaybePromise<MessageHeader | undefined>;
  /** Data of a ticket; the dataset is closed once it has been sent. */
  doGet?(ticket: Uint8Array, context: FlightContext): MaybePromise<Dataset | undefined>;
  /** Accepts an upload. What it leaves unread is discarded. With `false`, the server's own `allowPut` decides. */
  doPut?(upload: FlightUpload, context: FlightContext): MaybePromise<void | false>;
  /** Exchanges streams with a client in both directions. */
  doExchange?(exchange: FlightServerExchange, context: FlightContext): MaybePromise<void>;
  /** Actions by name, besides the pre-defined ones. */
  actions?: Readonly<Record<string, FlightAction>>;
  /** Any other action, for servers that know the names only at run time. */
  doAction?(
    type: string,
    body: Uint8Array,
    context: FlightContext,
  ): MaybePromise<AsyncIterable<Uint8Array> | Iterable<Uint8Array> | undefined>;
  /** Answer of ListActions instead of the actions above and the pre-defined ones. */
  listActions?(context: FlightContext): MaybePromise<readonly ActionType[]>;
  /** CancelFlightInfo for flights of the handlers. */
  cancelFlightInfo?(info: FlightInfo, context: FlightContext): MaybePromise<CancelStatus | undefined>;
  /** RenewFlightEndpoint for flights of the handlers. */
  renewFlightEndpoint?(endpoint: FlightEndpoint, context: FlightContext): MaybePromise<FlightEndpoint | undefined>;
  /** Why an option of a session must not be set, or `null` if it may. Default: every option may. */
  checkSessionOption?(name: string, value: SessionValue, context: FlightContext): SessionOptionError | null;
  /** @ignore What becomes of options that are set together; called after `checkSessionOption`, with those that may be set. */
  _changeSession?(
    changes: ReadonlyMap<string, SessionValue>,
    current: ReadonlyMap<string, SessionValue>,
  ): Promise<SessionChange>;
}

/** @ignore What is set of the options of a session, and why the others are not. */
export interface SessionChange {
  readonly changes: ReadonlyMap<string, SessionValue>;
  readonly errors: ReadonlyMap<string, SessionOptionError>;
}

/** Limits of a Flight server. */
export interface FlightServerLimits {
  /** Maximum number of concurrent connections. Default 256. */
  maxConnections: number;
  /** Maximum number of concurrent calls, over all connections; further ones get RESOURCE_EXHAUSTED. Default 256. */
  maxCalls: number;
  /** Longest request that does not stream Arrow data, in bytes. Default 4 MiB, as everywhere in gRPC. */
  maxRequestBytes: number;
  /** Longest metadata of one uploaded message, in bytes. Default 16 MiB. */
  maxMetadataBytes: number;
  /** Longest body of one uploaded message, in bytes. Default 2 GiB, the most that gRPC in C++ sends. */
  maxBodyBytes: number;
  /** Maximum size of one upload that is kept in memory or in the folder, in bytes. Default 4 GiB. */
  maxUploadBytes: number;
  /** Maximum size of all uploads that are kept or under way, in bytes. Default 16 GiB. */
  maxTotalUploadBytes: number;
  /** Maximum number of uploaded datasets. Default 1,000. */
  maxUploads: number;
  /**
   * Longest wait for the first call of a connection, for a complete request, and for each 64 KiB, or the rest, of a message of an
   * upload, an exchange or a handshake that has begun, in milliseconds. Default 4,000.
   */
  requestTimeoutMs: number;
  /** Calls whose client accepts or sends nothing for this many milliseconds end, and connections without calls. Default 300,000. */
  idleTimeoutMs: number;
  /** Maximum number of sessions; the least recently used one is dropped first. Default 10,000. */
  maxSessions: number;
}

/** The default limits. */
const DEFAULT_LIMITS: Readonly<FlightServerLimits> = {
  maxConnections: 256,
  maxCalls: 256,
  maxRequestBytes: 4 * MIB,
  maxMetadataBytes: 16 * MIB,
  maxBodyBytes: 2048 * MIB,
  maxUploadBytes: 4096 * MIB,
  maxTotalUploadBytes: 16384 * MIB,
  maxUploads: 1000,
  requestTimeoutMs: 4_000,
  idleTimeoutMs: 300_000,
  maxSessions: 10_000,
};

/** Checks limits and adds the defaults. @throws {DipcError} `invalid_argument` */
export function serverLimits(given: Partial<FlightServerLimits> = {}): FlightServerLimits {
  const limits = { ...DEFAULT_LIMITS };
  checkOptionNames("the server", given, limits as Readonly<Record<string, unknown>>, "limits.");
  for (const name of Object.keys(limits) as (keyof FlightServerLimits)[]) {
    const value = given[name];
    if (value === undefined) continue;
    limits[name] = name.endsWith("TimeoutMs") ? timeoutOption(name, value) : integerIn(name, value, 1);
  }
  return limits;
}

/** Options of a Flight server. */
export interface FlightServerOptions {
  /** Address to bind. Default `127.0.0.1`. */
  address?: string;
  /** Port to bind. Default 0, any free one. */
  port?: number;
  /**
   * Host in locations. Default: the address bound to; if that stands for all addresses (`0.0.0.0`, `::`), the one by which the
   * client has reached this server, otherwise this machine's own.
   */
  advertise?: string;
  /** Certificates; with them the scheme is `grpc+tls:`. */
  tls?: FlightServerTls;
  /** Authentication of callers. Default: everyone who can reach the port may call. */
  auth?: FlightAuth;
  /** The program's own functions. */
  handlers?: FlightHandlers;
  /** Limits of the server. */
  limits?: Partial<FlightServerLimits>;
  /**
   * Longest message of a DoGet, in bytes: longer batches are cut by their rows. `false` sends them as they are, and refuses those over 2 GiB. Default: 4 MiB, the
   * most that clients of gRPC take by default, for Parquet files that are read without `batchRows`; 2 GiB, more than which nobody takes, for others.
   */
  maxBatchBytes?: number | false;
}

/** Names of {@linkcode FlightServerOptions}. */
export const FLIGHT_SERVER_KEYS: Readonly<Record<keyof FlightServerOptions, true>> = {
  ...{
    address: true,
    port: true,
    advertise: true,
    tls: true,
    auth: true,
    handlers: true,
    limits: true,
    maxBatchBytes: true,
  },
};
