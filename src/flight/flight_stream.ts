/**
 * Verified messages of one call's stream, in order.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import type { ReaderLimits } from "../limits.ts";
import type { MessageInput } from "../stream/message_input.ts";
import { type FlightFrame, FrameVerifier } from "./data.ts";
import type { GrpcCall } from "../grpc/client_call.ts";

/** One frame, verified. */
export interface FlightItem {
  /** The message; `null` if the frame had only application metadata. The caller owns its body. */
  readonly message: IpcMessage | null;
  /** Application metadata; `null` if there is none. */
  readonly appMetadata: Uint8Array<ArrayBuffer> | null;
}

/** Memory of an item besides its content, in bytes. */
const ITEM_BYTES = 256;

/** The stream of a DoGet, or the server's stream of a DoExchange. */
export class FlightStream implements MessageInput {
  readonly #call: GrpcCall<FlightFrame>;
  readonly #verifier: FrameVerifier;
  #schema: MessageHeader | null = null;
  /** Application metadata that came no later than the schema, to be read after it. */
  readonly #early: FlightItem[] = [];
  #earlyBytes = 0;
  readonly #maxEarlyBytes: number;

  /**
   * @param call The running call; closed with this stream
   * @param limits Limits of what the server may send
   */
  constructor(call: GrpcCall<FlightFrame>, limits: ReaderLimits) {
    this.#call = call;
    this.#verifier = new FrameVerifier(limits);
    this.#maxEarlyBytes = limits.maxMetadataBytes;
  }

  /** The schema message, once it has arrived. */
  get schema(): MessageHeader | null {
    return this.#schema;
  }

  /** Size of the received metadata, in bytes. */
  get metadataBytes(): number {
    return this.#verifier.metadataBytes;
  }

  /**
   * Waits for the schema of a stream that begins with it. Application metadata before it can be read afterwards.
   *
   * @returns the schema, or `null` if the stream has ended without one
   * @throws {DipcError} as `next` does
   */
  async readSchema(): Promise<MessageHeader | null> {
    const early: FlightItem[] = [];
    while (this.#schema === null) {
      const item = await this.nextItem();
      if (item === null) break;
      if (item.appMetadata !== null) early.push(this.#kept(item.appMetadata));
    }
    this.#early.push(...early);
    return this.#schema;
  }

  #kept(appMetadata: Uint8Array<ArrayBuffer>): FlightItem {
    this.#earlyBytes += appMetadata.byteLength + ITEM_BYTES;
    if (this.#earlyBytes <= this.#maxEarlyBytes) return { message: null, appMetadata };
    const error = new DipcError(
      "limit_exceeded",
      `cannot read the stream: over ${this.#maxEarlyBytes} bytes of application metadata came before its schema; raise ` +
        "limits.maxMetadataBytes if you trust the server",
    );
    this.#call.cancel(error);
    throw error;
  }

  /**
   * The next message after the schema, or `null` at the end of a complete stream. Frames without a message are skipped. Must
   * not be called while an earlier call is pending.
   *
   * @throws {DipcError} `connection_lost`, `protocol`, `timeout`, `cancelled`, `invalid_data`, `limit_exceeded`, and the
   * server's status
   */
  next(): IpcMessage | null | Promise<IpcMessage | null> {
    for (;;) {
      const item = this.nextItem();
      if (item === null) return null;
      if (item instanceof Promise) return this.#nextLater(item);
      if (item.message !== null && item.message.header.kind !== "schema") return item.message;
    }
  }

  /** The next frame, including the schema's; otherwise like {@linkcode next}. */
  nextItem(): FlightItem | null | Promise<FlightItem | null> {
    if (this.#early.length > 0) return this.#early.shift()!;
    const frame = this.#call.next();
    return frame instanceof Promise ? frame.then(this.#verify) : this.#verify(frame);
  }

  /** Ends the stream; cancels the call unless it has ended. Idempotent. */
  close(): Promise<void> {
    this.#call.cancel();
    return Promise.resolve();
  }

  async #nextLater(pending: Promise<FlightItem | null>): Promise<IpcMessage | null> {
    const item = await pending;
    if (item === null) return null;
    if (item.message !== null && item.message.header.kind !== "schema") return item.message;
    return await this.next();
  }

  #verify = (frame: FlightFrame | null): FlightItem | null => {
    if (frame === null) return null;
    const appMetadata = frame.appMetadata.byteLength === 0 ? null : frame.appMetadata;
    try {
      const message = this.#verifier.verify(frame);
      if (message?.header.kind === "schema") this.#schema = message.header;
      return { message, appMetadata };
    } catch (error) {
      this.#call.cancel(error);
      throw error;
    }
  };
}
