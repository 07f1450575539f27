/**
 * Streams of Arrow data from a client, and back to it.
 *
 * @module
 */
import { DipcError } from "../../errors.ts";
import type { IpcMessage, MessageHeader } from "../../ipc/message.ts";
import type { ReaderLimits } from "../../limits.ts";
import { encodeFrame, frameOfMessage, FrameVerifier } from "../data.ts";
import { type FlightDescriptor, UPLOAD_BYTES_HEADER } from "../model.ts";
import type { ServerCall } from "../../grpc/server_call.ts";
import type { FrameInput } from "./frame_input.ts";

/** One frame of a client, verified. */
export interface FlightUploadItem {
  /** A dictionary or a batch; `null` if the frame had only application metadata. The caller must release its body. */
  readonly message: IpcMessage | null;
  /** Application metadata; `null` if there is none. */
  readonly appMetadata: Uint8Array<ArrayBuffer> | null;
}

/** The stream of a client: descriptor, schema, then items. */
export class ClientStream {
  readonly #input: FrameInput;
  readonly #verifier: FrameVerifier;
  #descriptor: FlightDescriptor | null = null;
  #schema: MessageHeader | null = null;
  #first: FlightUploadItem | null = null;

  /** @ignore Made by the server. */
  constructor(input: FrameInput, limits: ReaderLimits) {
    this.#input = input;
    this.#verifier = new FrameVerifier(limits);
  }

  /** Descriptor of the client's first frame; `null` if it had none. */
  get descriptor(): FlightDescriptor | null {
    return this.#descriptor;
  }

  /** The schema; `null` until it has arrived. */
  get schema(): MessageHeader | null {
    return this.#schema;
  }

  /** @ignore Reads the first frame, which has the descriptor. */
  async _open(): Promise<void> {
    const frame = await this.#input.next();
    if (frame === null) throw new DipcError("protocol", "cannot read the client's stream: it has no messages");
    this.#descriptor = frame.descriptor;
    this.#first = this.#take(frame);
  }

  /** @ignore Reads until the schema has arrived. */
  async _readSchema(): Promise<MessageHeader> {
    // The descriptor may come in a frame of its own.
    while (this.#schema === null) {
      const first = this.#first ?? await this.#read();
      this.#first = null;
      if (first === null) throw new DipcError("protocol", "cannot read the client's stream: it has no schema");
      if (first.message === null) continue;
      first.message.body?.release();
      throw new DipcError("protocol", "cannot read the client's stream: it begins without a schema");
    }
    return this.#schema;
  }

  async #read(): Promise<FlightUploadItem | null> {
    const frame = await this.#input.next();
    return frame === null ? null : this.#take(frame);
  }

  /**
   * The next item after the schema, or `null` at the end. Application metadata of the schema or a dictionary is skipped, as
   * by Arrow's servers in other languages: Go's client sends that of the batch there, too.
   *
   * @throws {DipcError} `protocol`, `invalid_data`, `limit_exceeded`, `timeout`, `cancelled`
   */
  async next(): Promise<FlightUploadItem | null> {
    for (;;) {
      const first = this.#first;
      if (first !== null) {
        this.#first = null;
        if (first.message !== null || first.appMetadata !== null) return first;
        continue;
      }
      const item = await this.#read();
      if (item === null) return null;
      if (item.message !== null || item.appMetadata !== null) return item;
    }
  }

  /** Iterates over the items. */
  async *[Symbol.asyncIterator](): AsyncGenerator<FlightUploadItem, undefined> {
    for (let item; (item = await this.next()) !== null;) yield item;
  }

  /** @ignore Releases what was not taken. */
  _close(): void {
    this.#first?.message?.body?.release();
    this.#first = null;
    this.#input.close();
  }

  #take(frame: Parameters<FrameVerifier["verify"]>[0]): FlightUploadItem {
    const message = this.#verifier.verify(frame);
    const kind = message?.header.kind;
    if (message !== null && kind === "schema") this.#schema = message.header;
    const carries = kind === undefined || kind === "batch";
    return {
      message: kind === "schema" ? null : message,
      appMetadata: carries && frame.appMetadata.byteLength > 0 ? frame.appMetadata : null,
    };
  }
}

/** An upload (DoPut) as a handler sees it. */
export class FlightUpload extends ClientStream {
  readonly #call: ServerCall;
  readonly #encode: (appMetadata: Uint8Array) => Uint8Array;

  /** @ignore Made by the server. */
  constructor(
    input: FrameInput,
    limits: ReaderLimits,
    call: ServerCall,
    encode: (appMetadata: Uint8Array) => Uint8Array,
  ) {
    super(input, limits);
    this.#call = call;
    this.#encode = encode;
  }

  /** @ignore Bytes of all bodies, as far as the client has announced them, otherwise 0. */
  get _announcedBytes(): number {
    const text = this.#call.headers.get(UPLOAD_BYTES_HEADER) ?? "";
    return /^\d{1,15}$/.test(text) ? Number(text) : 0;
  }

  /**
   * Sends the client a result of its upload, such as how much of it has been stored.
   *
   * @param appMetadata Bytes in the application's own format
   * @throws {DipcError} `timeout` if the client accepts nothing, `cancelled`
   */
  async acknowledge(appMetadata: Uint8Array): Promise<void> {
    await this.#call.writeMessage(this.#encode(appMetadata));
    await this.#call.flush();
  }
}

/** Both directions of a DoExchange as a handler sees them. */
export class FlightServerExchange extends ClientStream {
  readonly #call: ServerCall;

  /** @ignore Made by the server. */
  constructor(input: FrameInput, limits: ReaderLimits, call: ServerCall) {
    super(input, limits);
    this.#call = call;
  }

  /**
   * Begins the stream of batches to the client.
   *
   * @param schema Schema message to send
   * @param appMetadata Application metadata of the message
   * @throws {DipcError} `timeout` if the client accepts nothing, `cancelled`
   */
  async begin(schema: MessageHeader, appMetadata?: Uint8Array): Promise<void> {
    await this.write({ header: schema, body: null }, appMetadata);
  }

  /**
   * Sends a dictionary or a batch, after `begin`; waits while the client is slower. The body is released once it has been
   * sent, even if this throws.
   *
   * @param message Dictionary or batch to send
   * @param appMetadata Application metadata of the message
   * @throws {DipcError} `timeout`, `cancelled`, `limit_exceeded`
   */
  async write(message: IpcMessage, appMetadata?: Uint8Array): Promise<void> {
    try {
      await this.#call.write(encodeFrame(frameOfMessage(message, appMetadata && { appMetadata })));
    } finally {
      message.body?.release();
    }
    await this.#call.flush();
  }

  /**
   * Sends application metadata without a message.
   *
   * @throws {DipcError} As `write` does
   */
  async writeMetadata(appMetadata: Uint8Array): Promise<void> {
    await this.#call.write(encodeFrame({ appMetadata }));
    await this.#call.flush();
  }
}
