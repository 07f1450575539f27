/**
 * Outgoing streams of Flight: DoPut and DoExchange.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { type FlightFrame, frameOfMessage, writeFrame } from "./data.ts";
import type { GrpcCall } from "../grpc/client_call.ts";
import type { FlightReader } from "./flight_reader.ts";
import type { FlightDescriptorInit } from "./model.ts";

/**
 * A running DoPut. Made by `doPut`.
 *
 * A server that answers every message stops accepting more until its answers are read: read `results()` meanwhile, or call
 * `finish()`, which reads the rest.
 */
export class FlightWriter implements AsyncDisposable {
  readonly #call: GrpcCall<FlightFrame>;
  #reading: Promise<unknown> = Promise.resolve();
  #hasEnded = false;

  /** @ignore Use `doPut`. */
  constructor(call: GrpcCall<FlightFrame>) {
    this.#call = call;
  }

  /**
   * Sends a dictionary or a batch; waits while the server is slower. The body is released once it has been sent, even if
   * this throws.
   *
   * @param message Dictionary or batch to send
   * @param appMetadata Application metadata of the message
   * @throws {DipcError} `connection_lost`, `timeout`, `cancelled`, `limit_exceeded`, and the server's status
   */
  async write(message: IpcMessage, appMetadata?: Uint8Array): Promise<void> {
    await writeFrame(
      this.#call.output,
      frameOfMessage(message, appMetadata && { appMetadata }),
      () => message.body?.release(),
    );
  }

  /**
   * Sends application metadata without a message.
   *
   * @throws {DipcError} As `write` does
   */
  async writeMetadata(appMetadata: Uint8Array): Promise<void> {
    await writeFrame(this.#call.output, { appMetadata });
  }

  /**
   * The server's results of the upload, as they arrive.
   *
   * @throws {DipcError} `connection_lost`, `timeout`, `cancelled`, and the server's status
   */
  async *results(): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
    for (;;) {
      // Two iterators may be active, that of the user and that of `finish`; reads must not overlap.
      const reading = this.#reading.then(() => this.#call.next());
      this.#reading = reading.catch(() => {});
      const frame = await reading;
      if (frame === null) return;
      yield frame.appMetadata;
    }
  }

  /** Ends the upload's stream; results continue. Idempotent. */
  doneWriting(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#call.output.end();
  }

  /**
   * Ends the upload and waits until the server has accepted it.
   *
   * @returns The results that were not read before
   * @throws {DipcError} As `results` does
   */
  async finish(): Promise<Uint8Array<ArrayBuffer>[]> {
    this.doneWriting();
    const results: Uint8Array<ArrayBuffer>[] = [];
    for await (const result of this.results()) results.push(result);
    this.#call.cancel();
    return results;
  }

  /**
   * Cancels the upload, unless it is finished. Idempotent.
   *
   * @param reason Cause of the errors of pending reads and writes
   */
  cancel(reason?: unknown): Promise<void> {
    this.#hasEnded = true;
    this.#call.cancel(new DipcError("cancelled", "cannot continue the upload: it was cancelled", { cause: reason }));
    return Promise.resolve();
  }

  /** The same as `cancel()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel();
  }
}

/** A running DoExchange. Made by `doExchange`. */
export class FlightExchange implements AsyncDisposable {
  readonly #call: GrpcCall<FlightFrame>;
  #descriptor: FlightDescriptorInit | null;
  /** The stream from the server. */
  readonly reader: FlightReader;

  /** @ignore Use `doExchange`. */
  constructor(call: GrpcCall<FlightFrame>, descriptor: FlightDescriptorInit, reader: FlightReader) {
    this.#call = call;
    this.#descriptor = descriptor;
    this.reader = reader;
  }

  /**
   * Begins the stream of batches to the server.
   *
   * @param schema Schema message to send
   * @param appMetadata Application metadata of the message
   * @throws {DipcError} As `write` does
   */
  async begin(schema: MessageHeader, appMetadata?: Uint8Array): Promise<void> {
    await this.#send({ header: schema, body: null }, appMetadata);
  }

  /**
   * Sends a dictionary or a batch, after `begin`; waits while the server is slower. The body is released once it has been
   * sent, even if this throws.
   *
   * @param message Dictionary or batch to send
   * @param appMetadata Application metadata of the message
   * @throws {DipcError} `connection_lost`, `timeout`, `cancelled`, `limit_exceeded`, and the server's status
   */
  async write(message: IpcMessage, appMetadata?: Uint8Array): Promise<void> {
    await this.#send(message, appMetadata);
  }

  /**
   * Sends application metadata without a message.
   *
   * @throws {DipcError} As `write` does
   */
  async writeMetadata(appMetadata: Uint8Array): Promise<void> {
    await writeFrame(this.#call.output, { descriptor: this.#takeDescriptor(), appMetadata });
  }

  /** Ends the stream to the server; the one from the server continues. */
  async doneWriting(): Promise<void> {
    const descriptor = this.#takeDescriptor();
    if (descriptor !== null) await writeFrame(this.#call.output, { descriptor });
    this.#call.output.end();
  }

  /**
   * Cancels the exchange, unless it has ended. Idempotent.
   *
   * @param reason Cause of the errors of pending reads and writes
   */
  cancel(reason?: unknown): Promise<void> {
    this.#call.cancel(new DipcError("cancelled", "cannot continue the exchange: it was cancelled", { cause: reason }));
    return Promise.resolve();
  }

  /** The same as `cancel()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel();
  }

  async #send(message: IpcMessage, appMetadata?: Uint8Array): Promise<void> {
    const extra = { descriptor: this.#takeDescriptor(), appMetadata: appMetadata ?? message.appMetadata };
    await writeFrame(this.#call.output, frameOfMessage(message, extra), () => message.body?.release());
  }

  /** The descriptor is sent with the first frame of any kind. */
  #takeDescriptor(): FlightDescriptorInit | null {
    const descriptor = this.#descriptor;
    this.#descriptor = null;
    return descriptor;
  }
}
