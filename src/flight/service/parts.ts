/**
 * What a Flight server offers besides the program's own handlers: datasets as flights, and a place for uploads.
 *
 * @module
 */
import type { MessageHeader } from "../../ipc/message.ts";
import type { Dataset } from "../../sources/dataset.ts";
import type { FlightDescriptor, FlightEndpoint, FlightInfo } from "../model.ts";
import type { Approach } from "../../reachable_host.ts";
import type { FlightUpload } from "./exchange.ts";

/** Permission to send one dataset once. */
export interface DatasetGrant {
  /** Name of the dataset. */
  readonly name: string;
  /** Dataset to send; its bodies are in host memory. */
  readonly dataset: Dataset;
  /**
   * Must be called before the first body is sent; spends a ticket that is valid once.
   *
   * @throws {DipcError} `permission_denied` if another stream has spent it first; this one must end then
   */
  spend(): void;
}

/** Datasets as flights. */
export interface FlightCatalog {
  /** Flights that match the criteria of ListFlights. @param approach How the client has reached this server */
  list(criteria: Uint8Array, approach: Approach): AsyncIterable<FlightInfo>;
  /** @param approach How the client has reached this server @throws {DipcError} `not_found` */
  info(descriptor: FlightDescriptor, approach: Approach): Promise<FlightInfo>;
  /** @throws {DipcError} `not_found` */
  schema(descriptor: FlightDescriptor): Promise<MessageHeader>;
  /** @throws {DipcError} `not_found`, `permission_denied` */
  grant(ticket: Uint8Array): Promise<DatasetGrant>;
  /** Rejects the tickets of a flight from now on; `false` if that is not possible. */
  cancel(info: FlightInfo): Promise<boolean>;
  /** A new ticket for one that is still valid. @throws {DipcError} `permission_denied` */
  renew(endpoint: FlightEndpoint): Promise<FlightEndpoint>;
}

/** Stores uploads. */
export interface UploadSink {
  /** Stores one complete upload. @throws {DipcError} The error for the client */
  take(upload: FlightUpload): Promise<void>;
}

/** What a Flight server offers besides its handlers. */
export interface FlightServerParts {
  /** Datasets as flights; `null` if there are none. */
  catalog: FlightCatalog | null;
  /** Stores uploads; `null` if none are accepted. */
  uploads: UploadSink | null;
  /** Called when a connection of a client is over, with its number. */
  onConnectionEnd?: (connection: number) => void;
}
