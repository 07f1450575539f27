/**
 * Streams of Flight on their way out: DoPut, and the sending half of DoExchange.
 *
 * @module
 */
import type { IpcMessage } from "../ipc/message.ts";
import type { FlightReader } from "./flight_reader.ts";

/** A running DoPut. */
export interface FlightWriter extends AsyncDisposable {
  /** Sends one message; waits while the server is slower. Releases the body. */
  write(message: IpcMessage, appMetadata?: Uint8Array): Promise<void>;
  /** Sends application metadata without a message. */
  writeMetadata(appMetadata: Uint8Array): Promise<void>;
  /** What the server says about the upload, as it comes. */
  results(): AsyncGenerator<Uint8Array, undefined>;
  /** Ends the upload and waits until the server has taken it. */
  finish(): Promise<void>;
  /** Gives the upload up. Idempotent. */
  cancel(reason?: unknown): Promise<void>;
}

/** A running DoExchange. */
export interface FlightExchange extends AsyncDisposable {
  /** Begins the stream to the server. */
  begin(schema: IpcMessage, appMetadata?: Uint8Array): Promise<void>;
  /** Sends one message. */
  write(message: IpcMessage, appMetadata?: Uint8Array): Promise<void>;
  /** Sends application metadata without a message. */
  writeMetadata(appMetadata: Uint8Array): Promise<void>;
  /** Ends the stream to the server; the one from it goes on. */
  doneWriting(): Promise<void>;
  /** The stream from the server. */
  readonly reader: FlightReader;
  /** Gives the exchange up. Idempotent. */
  cancel(reason?: unknown): Promise<void>;
}
