/**
 * What a Flight server may answer from besides the program's own handlers: datasets as flights, and a place for uploads.
 *
 * @module
 */
import type { MessageHeader } from "../../ipc/message.ts";
import type { Dataset } from "../../sources/dataset.ts";
import type { FlightDescriptor, FlightEndpoint, FlightInfo } from "../model.ts";
import type { FlightUpload } from "./exchange.ts";

/** Permission to send one dataset once. */
export interface DatasetGrant {
  /** Its name. */
  readonly name: string;
  /** What is sent; its bodies are in host memory. */
  readonly dataset: Dataset;
  /**
   * To be called before the first body is sent; uses up a ticket that is good for one time.
   *
   * @throws {DipcError} `permission_denied` when another stream was faster; this one must end then
   */
  spend(): void;
}

/** Datasets as flights. */
export interface FlightCatalog {
  /** Flights that match the criteria of ListFlights. */
  list(criteria: Uint8Array): AsyncIterable<FlightInfo>;
  /** @throws {DipcError} `not_found` */
  info(descriptor: FlightDescriptor): Promise<FlightInfo>;
  /** @throws {DipcError} `not_found` */
  schema(descriptor: FlightDescriptor): MessageHeader;
  /** @throws {DipcError} `not_found`, `permission_denied` */
  grant(ticket: Uint8Array): Promise<DatasetGrant>;
  /** Rejects the tickets of a flight from now on; false when that is not possible. */
  cancel(info: FlightInfo): Promise<boolean>;
  /** A new ticket for one that still holds. @throws {DipcError} `permission_denied` */
  renew(endpoint: FlightEndpoint): Promise<FlightEndpoint>;
}

/** Where uploads go. */
export interface UploadSink {
  /** Takes one upload whole. @throws {DipcError} what the client is answered */
  take(upload: FlightUpload): Promise<void>;
}

/** What a Flight server answers from besides its handlers. */
export interface FlightServerParts {
  /** Datasets as flights; `null` without any. */
  catalog: FlightCatalog | null;
  /** Where uploads go; `null` when none are taken. */
  uploads: UploadSink | null;
}
