/**
 * The Flight client: one connection to one server, and every call that Flight has.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Dataset } from "../sources/dataset.ts";
import type { FlightCallOptions, FlightClientOptions } from "./client_options.ts";
import type { FlightExchange, FlightWriter } from "./upload.ts";
import { type FlightLocation, parseFlightLocation } from "./location.ts";
import type {
  ActionType,
  CancelStatus,
  CloseSessionStatus,
  FlightDescriptorInit,
  FlightEndpoint,
  FlightInfo,
  PollInfo,
  SessionOptionError,
  SessionValue,
} from "./model.ts";
import type { FlightReader } from "./flight_reader.ts";

/**
 * A connection to a Flight server.
 *
 * @example Usage
 * ```ts ignore
 * import { FlightClient } from "@arrow-ucx/dipc/flight";
 *
 * await using client = await FlightClient.connect("grpc://127.0.0.1:8815");
 * for await (const info of client.listFlights()) console.log(info.descriptor);
 * ```
 */
export class FlightClient implements AsyncDisposable {
  /** Where the server is. */
  readonly location: FlightLocation;

  private constructor(location: FlightLocation) {
    this.location = location;
  }

  /**
   * Connects, and authenticates where `user` is given.
   *
   * @param location `grpc://host:port`, `grpc+tls://host:port` or `grpc+unix:///path`
   * @param options Certificates, credentials, limits
   * @throws {DipcError} `invalid_uri`, `invalid_argument`, `unreachable`, `permission_denied`, `timeout`, `cancelled`
   */
  static connect(location: string | URL, _options: FlightClientOptions = {}): Promise<FlightClient> {
    return Promise.resolve(new FlightClient(parseFlightLocation(location)));
  }

  /** Runs over the flights that match an expression of the server's own form. */
  listFlights(
    _criteria: string | Uint8Array = "",
    _call: FlightCallOptions = {},
  ): AsyncGenerator<FlightInfo, undefined> {
    throw unwritten();
  }

  /** Asks where the data of a descriptor can be fetched. */
  getFlightInfo(_descriptor: FlightDescriptorInit, _call: FlightCallOptions = {}): Promise<FlightInfo> {
    throw unwritten();
  }

  /** Starts a long-running query, or asks how far it is. */
  pollFlightInfo(_descriptor: FlightDescriptorInit, _call: FlightCallOptions = {}): Promise<PollInfo> {
    throw unwritten();
  }

  /** Asks for the schema of a descriptor's data: an encapsulated IPC message. */
  getSchema(_descriptor: FlightDescriptorInit, _call: FlightCallOptions = {}): Promise<Uint8Array> {
    throw unwritten();
  }

  /** Fetches the stream of a ticket. */
  doGet(_ticket: string | Uint8Array, _call: FlightCallOptions = {}): Promise<FlightReader> {
    throw unwritten();
  }

  /** Starts an upload; the first frame carries descriptor and schema. */
  doPut(_descriptor: FlightDescriptorInit, _dataset: Dataset, _call: FlightCallOptions = {}): Promise<FlightWriter> {
    throw unwritten();
  }

  /** Starts a stream in each direction. */
  doExchange(_descriptor: FlightDescriptorInit, _call: FlightCallOptions = {}): Promise<FlightExchange> {
    throw unwritten();
  }

  /** Runs an action; runs over its answers. */
  doAction(
    _type: string,
    _body: string | Uint8Array = "",
    _call: FlightCallOptions = {},
  ): AsyncGenerator<Uint8Array, undefined> {
    throw unwritten();
  }

  /** Runs over the actions that the server offers. */
  listActions(_call: FlightCallOptions = {}): AsyncGenerator<ActionType, undefined> {
    throw unwritten();
  }

  /** Sends payloads of a handshake and gives the server's. */
  handshake(_payloads: Iterable<Uint8Array>, _call: FlightCallOptions = {}): AsyncGenerator<Uint8Array, undefined> {
    throw unwritten();
  }

  /** Basic authentication: the server's token is sent with every later call. */
  authenticateBasic(_user: string, _password: string, _call: FlightCallOptions = {}): Promise<string> {
    throw unwritten();
  }

  /** The action CancelFlightInfo. */
  cancelFlightInfo(_info: FlightInfo, _call: FlightCallOptions = {}): Promise<CancelStatus> {
    throw unwritten();
  }

  /** The action RenewFlightEndpoint. */
  renewFlightEndpoint(_endpoint: FlightEndpoint, _call: FlightCallOptions = {}): Promise<FlightEndpoint> {
    throw unwritten();
  }

  /** The action SetSessionOptions. */
  setSessionOptions(
    _options: Record<string, SessionValue>,
    _call: FlightCallOptions = {},
  ): Promise<Record<string, SessionOptionError>> {
    throw unwritten();
  }

  /** The action GetSessionOptions. */
  getSessionOptions(_call: FlightCallOptions = {}): Promise<Record<string, SessionValue>> {
    throw unwritten();
  }

  /** The action CloseSession. */
  closeSession(_call: FlightCallOptions = {}): Promise<CloseSessionStatus> {
    throw unwritten();
  }

  /** Cancels what runs and closes the connection. Idempotent. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function unwritten(): DipcError {
  return new DipcError("unsupported", "this call is not there yet");
}
