/**
 * What a Flight server is told: where to listen, who may come in, what it offers, how much it bears.
 *
 * @module
 */
import { MIB } from "../../bytes.ts";
import { timeoutOption } from "../../limits.ts";
import { integerIn } from "../../options.ts";
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

/** Who may call a Flight server. With it, every call but the handshake needs a user. */
export interface FlightAuth {
  /**
   * Checks user and password of basic authentication. The user then gets a signed bearer token.
   *
   * @returns whether they are right
   */
  basic?(user: string, password: string): MaybePromise<boolean>;
  /**
   * Checks a bearer token that this server did not sign.
   *
   * @returns the user whom it stands for, or `null`
   */
  bearer?(token: string): MaybePromise<string | null>;
  /** How long a token that this server signed is good, in milliseconds. Default 3,600,000, an hour. */
  tokenLifetimeMs?: number;
  /** Secrets to sign tokens with, as those of tickets. Default: a random one, gone with the process. */
  keys?: readonly Uint8Array[];
}

/** One action that a server offers. */
export interface FlightAction {
  /** What it does, for people. */
  description?: string;
  /**
   * Runs it.
   *
   * @returns the results, none where nothing is returned
   */
  run(
    body: Uint8Array,
    context: FlightContext,
  ): MaybePromise<AsyncIterable<Uint8Array> | Iterable<Uint8Array> | void>;
}

/**
 * What a server answers beyond what it does by itself. Each handler is asked first; where it is missing or answers
 * `undefined`, the server's own datasets are looked at. What a handler throws becomes the call's status: a `DipcError` with
 * its text, everything else as INTERNAL without one. Errors of dipc about files, libraries, memory or connections to other
 * servers give their code alone.
 */
export interface FlightHandlers {
  /** Before every call that is let in: sets headers of the answer, or throws. */
  onCall?(context: FlightContext): MaybePromise<void>;
  /** Handshakes other than that of basic authentication. What it yields is sent back. */
  handshake?(payloads: AsyncIterable<Uint8Array>, context: FlightContext): AsyncIterable<Uint8Array>;
  /** More flights than the datasets. */
  listFlights?(criteria: Uint8Array, context: FlightContext): AsyncIterable<FlightInfo> | Iterable<FlightInfo>;
  /** Where and how a flight can be fetched. */
  getFlightInfo?(descriptor: FlightDescriptor, context: FlightContext): MaybePromise<FlightInfo | undefined>;
  /** How far a long-running query is. */
  pollFlightInfo?(descriptor: FlightDescriptor, context: FlightContext): MaybePromise<PollInfo | undefined>;
  /** The schema of a flight. */
  getSchema?(descriptor: FlightDescriptor, context: FlightContext): MaybePromise<MessageHeader | undefined>;
  /** The data of a ticket; the dataset is closed when it was sent. */
  doGet?(ticket: Uint8Array, context: FlightContext): MaybePromise<Dataset | undefined>;
  /** Takes an upload. What it leaves unread is discarded. `false`: the server's own `allowPut` decides. */
  doPut?(upload: FlightUpload, context: FlightContext): MaybePromise<void | false>;
  /** Talks with a client in both directions. */
  doExchange?(exchange: FlightServerExchange, context: FlightContext): MaybePromise<void>;
  /** Actions by name, beside the pre-defined ones. */
  actions?: Readonly<Record<string, FlightAction>>;
  /** Any other action; for servers that know their names only at run time. */
  doAction?(
    type: string,
    body: Uint8Array,
    context: FlightContext,
  ): MaybePromise<AsyncIterable<Uint8Array> | Iterable<Uint8Array> | undefined>;
  /** What ListActions answers in place of the actions above and the pre-defined ones. */
  listActions?(context: FlightContext): MaybePromise<readonly ActionType[]>;
  /** CancelFlightInfo for flights of the handlers. */
  cancelFlightInfo?(info: FlightInfo, context: FlightContext): MaybePromise<CancelStatus | undefined>;
  /** RenewFlightEndpoint for flights of the handlers. */
  renewFlightEndpoint?(endpoint: FlightEndpoint, context: FlightContext): MaybePromise<FlightEndpoint | undefined>;
  /** Whether an option of a session may be set; `null` where it may. Default: every option may. */
  checkSessionOption?(name: string, value: SessionValue, context: FlightContext): SessionOptionError | null;
}

/** How much a Flight server bears. */
export interface FlightServerLimits {
  /** Connections at one time. Default 256. */
  maxConnections: number;
  /** Calls at one time, over all connections; further ones get RESOURCE_EXHAUSTED. Default 256. */
  maxCalls: number;
  /** Longest request that is no stream of Arrow data, in bytes. Default 4 MiB, as everywhere in gRPC. */
  maxRequestBytes: number;
  /** Longest metadata of one uploaded message, in bytes. Default 16 MiB. */
  maxMetadataBytes: number;
  /** Longest body of one uploaded message, in bytes. Default 2 GiB, more than which gRPC in C++ does not send. */
  maxBodyBytes: number;
  /** Most bytes of one upload that is kept in memory or in the folder. Default 4 GiB. */
  maxUploadBytes: number;
  /** Most bytes of all uploads that are kept, and of those under way. Default 16 GiB. */
  maxTotalUploadBytes: number;
  /** Uploaded datasets at one time. Default 1,000. */
  maxUploads: number;
  /**
   * A connection must make its first call, and a request be whole, within so many milliseconds; of an upload's message that
   * has begun, 64 KiB or the rest must come within it. Default 4,000.
   */
  requestTimeoutMs: number;
  /** A client that takes or sends nothing for so many milliseconds is ended; so is a connection without calls. Default 300,000. */
  idleTimeoutMs: number;
  /** Sessions at one time; the one unused for longest goes first. Default 10,000. */
  maxSessions: number;
}

/** The limits where nothing else is said. */
export const DEFAULT_LIMITS: Readonly<FlightServerLimits> = {
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

/** The limits as given, checked. @throws {DipcError} `invalid_argument` */
export function serverLimits(given: Partial<FlightServerLimits> = {}): FlightServerLimits {
  const limits = { ...DEFAULT_LIMITS };
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
  /** Port. Default 0, any free one. */
  port?: number;
  /** Host that locations name. Default: the address bound to. */
  advertise?: string;
  /** Certificates; with them the scheme is `grpc+tls:`. */
  tls?: FlightServerTls;
  /** Who may call. Default: everybody who can reach the port. */
  auth?: FlightAuth;
  /** What it answers by the program's own functions. */
  handlers?: FlightHandlers;
  /** How much it bears. */
  limits?: Partial<FlightServerLimits>;
}
