/**
 * Streams of Flight on their way out: DoPut, and DoExchange.
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
 * A server that answers every message stops taking more once its answers are not read: read `results()` meanwhile, or call
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
   * Sends a dictionary or a batch; waits while the server is slower. The body is released once it has been sent, also where
   * this throws.
   *
   * @param message The message
   * @param appMetadata What the application adds
   * @throws {DipcError} `connection_lost`, `timeout`, `cancelled`, `limit_exceeded`, and what the server answers
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
   * @throws {DipcError} as `write` does
   */
  async writeMetadata(appMetadata: Uint8Array): Promise<void> {
    await writeFrame(this.#call.output, { appMetadata });
  }

  /**
   * What the server says about the upload, as it comes.
   *
   * @throws {DipcError} `connection_lost`, `timeout`, `cancelled`, and what the server answers
   */
  async *results(): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
    for (;;) {
      // Two iterators may be under way, that of the user and that of `finish`; reads must not overlap.
      const reading = this.#reading.then(() => this.#call.next());
      this.#reading = reading.catch(() => {});
      const frame = await reading;
      if (frame === null) return;
      yield frame.appMetadata;
    }
  }

  /** Says that there is no more to come; results go on. Idempotent. */
  doneWriting(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#call.output.end();
  }

  /**
   * Ends the upload and waits until the server has taken it.
   *
   * @returns the results that were not read before
   * @throws {DipcError} as `results` does
   */
  async finish(): Promise<Uint8Array<ArrayBuffer>[]> {
    this.doneWriting();
    const results: Uint8Array<ArrayBuffer>[] = [];
    for await (const result of this.results()) results.push(result);
    this.#call.cancel();
    return results;
  }

  /**
   * Gives the upload up, where it was not finished. Idempotent.
   *
   * @param reason Becomes the cause of the errors that pending reads and writes get
   */
  cancel(reason?: unknown): Promise<void> {
    this.#hasEnded = true;
    this.#call.cancel(new DipcError("cancelled", "the upload was cancelled", { cause: reason }));
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
   * @param schema The schema message
   * @param appMetadata What the application adds
   * @throws {DipcError} as `write` does
   */
  async begin(schema: MessageHeader, appMetadata?: Uint8Array): Promise<void> {
    await this.#send({ header: schema, body: null }, appMetadata);
  }

  /**
   * Sends a dictionary or a batch, after `begin`; waits while the server is slower. The body is released once it has been
   * sent, also where this throws.
   *
   * @param message The message
   * @param appMetadata What the application adds
   * @throws {DipcError} `connection_lost`, `timeout`, `cancelled`, `limit_exceeded`, and what the server answers
   */
  async write(message: IpcMessage, appMetadata?: Uint8Array): Promise<void> {
    await this.#send(message, appMetadata);
  }

  /**
   * Sends application metadata without a message.
   *
   * @throws {DipcError} as `write` does
   */
  async writeMetadata(appMetadata: Uint8Array): Promise<void> {
    await writeFrame(this.#call.output, { descriptor: this.#takeDescriptor(), appMetadata });
  }

  /** Ends the stream to the server; the one from it goes on. */
  async doneWriting(): Promise<void> {
    const descriptor = this.#takeDescriptor();
    if (descriptor !== null) await writeFrame(this.#call.output, { descriptor });
    this.#call.output.end();
  }

  /**
   * Gives the exchange up, where it has not ended. Idempotent.
   *
   * @param reason Becomes the cause of the errors that pending reads and writes get
   */
  cancel(reason?: unknown): Promise<void> {
    this.#call.cancel(new DipcError("cancelled", "the exchange was cancelled", { cause: reason }));
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

  /** The descriptor goes with the first frame, whatever that is. */
  #takeDescriptor(): FlightDescriptorInit | null {
    const descriptor = this.#descriptor;
    this.#descriptor = null;
    return descriptor;
  }
}
