/**
 * One stream of a connection: bytes that are pulled on the way in, and sent under flow control on the way out.
 *
 * @module
 */
import { BodyQueue } from "./body_queue.ts";
import { Http2Code, type Http2Error } from "./errors.ts";
import type { HeaderField } from "./static_table.ts";

/** What a stream needs from its connection. */
export interface StreamHost {
  /** Sends headers; with `isLast` they end this direction. */
  sendHeaders(stream: Http2Stream, fields: readonly HeaderField[], isLast: boolean): void;
  /** Ends this direction without trailers. */
  sendEnd(stream: Http2Stream): void;
  /** There is something to send. */
  sendSoon(stream: Http2Stream): void;
  /** Bytes were consumed: gives credit for them. */
  credit(stream: Http2Stream | null, bytes: number): void;
  /** Sends RST_STREAM, and forgets the stream. */
  reset(stream: Http2Stream, code: number): void;
  /** Both sides have ended. */
  done(stream: Http2Stream): void;
}

/** The memory that the bytes of a body belong in. */
export interface BodyPlace {
  /** The memory that the next bytes belong in; `null` if that is not known, or none are accepted now. */
  room(): Uint8Array<ArrayBuffer> | null;
  /** Bytes came into the memory that `room` has just returned. */
  filled(count: number): void;
}

/** A stream. Its owner sets the callbacks. */
export abstract class Http2Stream {
  /**
   * Offered bytes as they come, if none wait to be read; returns whether it consumed them. They are valid until it returns;
   * what it does not consume is queued, and announced by `onReadable`.
   */
  onBytes: ((bytes: Uint8Array) => boolean) | null = null;
  /** Where bytes are received without a copy, if that is possible and no others wait to be read; used instead of `onBytes`. */
  place: BodyPlace | null = null;
  /** Called when there may be something to read, or nothing more to come. */
  onReadable: (() => void) | null = null;
  /** Called when a part of what is being written was taken. */
  onProgress: (() => void) | null = null;
  /** Called once, when the stream is over for any reason. */
  onClose: (() => void) | null = null;
  /** Resolves once the stream is over and what was to be sent has been written, or cannot be. */
  readonly closed: Promise<void>;
  /** Why the stream was reset or its connection lost; `null` if neither happened. */
  error: Error | null = null;
  /** @ignore Stream id; 0 until opened. */
  id: number;
  /** @ignore Windows of the two directions, maintained by the connection. */
  sendWindow: number;
  /** @ignore */
  receiveWindow: number;
  /** @ignore What the peer may send when everything was consumed, in bytes. */
  window: number;
  /** Up to how many bytes that grows while `onBytes` and `place` take what comes. Default: it stays as it is. */
  maxWindow = 0;
  /** @ignore Whether the bytes consumed last were consumed as they came. */
  keepsUp = false;
  /** @ignore Bytes consumed for which no credit was given yet. */
  uncredited = 0;
  /** @ignore Size of the whole body if the peer announces it, otherwise `null`. */
  expectedBytes: number | null = null;
  readonly #host: StreamHost;
  readonly #queue = new BodyQueue();
  readonly #resolveClosed: () => void;
  #received = 0;
  #isRemoteEnded = false;
  #isLocalEnded = false;
  #isWritten = false;
  #isClosed = false;
  #isDiscarding = false;
  #pending: Uint8Array | null = null;
  #taken: (() => void) | null = null;
  /** What is to be sent last: trailers, or nothing. */
  #end: readonly HeaderField[] | null = null;

  /** @ignore Made by a connection. */
  constructor(host: StreamHost, id: number, sendWindow: number, receiveWindow: number) {
    this.#host = host;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = this.window = receiveWindow;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /**
   * @ignore Headers came.
   *
   * @returns The fault to reset the stream for, or `null`
   */
  abstract receiveHeaders(fields: readonly HeaderField[], isTooLong: boolean, isLast: boolean): Http2Error | null;

  /** @ignore Whether the headers that precede a body have come. */
  abstract get hasHeaders(): boolean;

  /** Whether the stream is over. What has arrived in order may still be read. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the peer's last byte has arrived, read or not. */
  get isRemoteEnded(): boolean {
    return this.#isRemoteEnded;
  }

  /** Whether the peer's last byte has been read. */
  get isReadToEnd(): boolean {
    return this.#isRemoteEnded && this.#queue.bytes === 0;
  }

  /** Whether the end of this direction has been written. */
  get isWritten(): boolean {
    return this.#isWritten;
  }

  /** The next bytes, or `null` while there are none. The peer gets credit for them. */
  read(): Uint8Array | null {
    const piece = this.#queue.shift();
    this.keepsUp = false;
    if (piece !== null) this.#credit(piece.byteLength);
    return piece;
  }

  /** Discards what the peer has sent and will send. */
  discard(): void {
    this.#isDiscarding = true;
    this.#drop();
  }

  /**
   * Sends bytes, once flow control allows it. One write at a time.
   *
   * @param bytes Must not change until they were taken
   * @param taken Called when they were taken, or the stream is over; not if they are taken at once
   * @returns Whether they were taken at once
   */
  write(bytes: Uint8Array, taken: () => void): boolean {
    if (this.#isClosed || this.#isLocalEnded || bytes.byteLength === 0) return true;
    if (this.#pending !== null) throw new TypeError("a write is under way on this stream");
    this.#pending = bytes;
    this.#host.sendSoon(this);
    if (this.#pending === null) return true;
    this.#taken = taken;
    return false;
  }

  /**
   * Ends this direction, after what is being written.
   *
   * @param trailers Sent last, if there are any
   */
  end(trailers: readonly HeaderField[] = []): void {
    if (this.#isClosed || this.#isLocalEnded || this.#end !== null) return;
    this.#end = trailers;
    this.#host.sendSoon(this);
  }

  /** Drops what is being written. */
  drop(): void {
    this.#pending = null;
    this.#notifyTaken();
    // The end waited for the bytes, and needs no window itself.
    if (this.#end !== null) this.#host.sendSoon(this);
  }

  /** Ends the stream at once. Idempotent. */
  reset(code: number = Http2Code.cancel): void {
    if (!this.#isClosed) this.#host.reset(this, code);
  }

  /** Bytes that wait to be sent. */
  get pendingBytes(): number {
    return this.#pending?.byteLength ?? 0;
  }

  /** @ignore Whether there is something to send. */
  get wantsToSend(): boolean {
    return this.#pending !== null || this.#end !== null;
  }

  /** @ignore Copies bytes into a frame. */
  take(into: Uint8Array, at: number, bytes: number): void {
    const pending = this.#pending!;
    into.set(bytes === pending.byteLength ? pending : pending.subarray(0, bytes), at);
    this.sentNow(bytes);
  }

  /** @ignore The first bytes of those that wait to be sent. */
  peek(most: number): Uint8Array<ArrayBuffer> {
    return this.#pending!.subarray(0, most) as Uint8Array<ArrayBuffer>;
  }

  /** @ignore Those were sent. */
  sentNow(bytes: number): void {
    const pending = this.#pending!;
    this.sendWindow -= bytes;
    this.#pending = bytes === pending.byteLength ? null : pending.subarray(bytes);
    if (this.#pending === null) this.#notifyTaken();
    else this.onProgress?.();
  }

  /** @ignore Sends the end if nothing is to be sent before it. */
  sendEnd(): void {
    if (this.#pending !== null || this.#end === null) return;
    const trailers = this.#end;
    this.#end = null;
    this.endWith(trailers);
  }

  /** @ignore A piece of the body came. */
  receive(bytes: Uint8Array): void {
    const isDropped = this.#isClosed || this.#isDiscarding;
    this.keepsUp = !isDropped && this.#queue.bytes === 0 && this.onBytes?.(bytes) === true;
    if (isDropped || this.keepsUp) return this.#credit(bytes.byteLength);
    this.#queue.push(bytes);
    this.onReadable?.();
  }

  /** @ignore The memory that the next piece of the body belongs in. None if its size is announced, which is checked before. */
  room(): Uint8Array<ArrayBuffer> | null {
    const isCopied = this.#isClosed || this.#isDiscarding || this.#queue.bytes > 0 || this.expectedBytes !== null;
    return isCopied ? null : this.place?.room() ?? null;
  }

  /** @ignore A piece of the body came into the memory that `room` has just returned. */
  receiveInPlace(count: number): void {
    this.#received += count;
    this.keepsUp = true;
    this.place!.filled(count);
    this.#credit(count);
  }

  /** @ignore Counts bytes of the body; returns whether it is still within its announced size. */
  count(bytes: number): boolean {
    this.#received += bytes;
    return this.expectedBytes === null || this.#received <= this.expectedBytes;
  }

  /** @ignore Whether the body so far has its announced size. */
  get isWhole(): boolean {
    return this.expectedBytes === null || this.#received === this.expectedBytes;
  }

  /** @ignore The peer has ended its side; returns whether the body has its announced size. */
  receiveEnd(): boolean {
    if (!this.isWhole) return false;
    this.#isRemoteEnded = true;
    this.onReadable?.();
    if (this.#isLocalEnded) this.#host.done(this);
    return true;
  }

  /** @ignore The stream is over. With `isSending` its last frame is still to be written. */
  close(isSending: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pending = null;
    this.#end = null;
    if (!this.#isRemoteEnded) this.#drop();
    this.onReadable?.();
    this.onClose?.();
    this.#notifyTaken();
    if (!isSending) this.#resolveClosed();
  }

  /** @ignore What was to be sent has been written. */
  sent(): void {
    if (this.#isClosed) this.#resolveClosed();
    else this.#isWritten = true;
  }

  /** Ends this direction, with trailers if there are any. */
  protected endWith(fields: readonly HeaderField[]): void {
    this.#isLocalEnded = true;
    if (fields.length > 0) this.#host.sendHeaders(this, fields, true);
    else this.#host.sendEnd(this);
    if (this.#isRemoteEnded) this.#host.done(this);
  }

  #credit(bytes: number): void {
    this.#host.credit(this.#isClosed ? null : this, bytes);
  }

  #notifyTaken(): void {
    const taken = this.#taken;
    this.#taken = null;
    taken?.();
  }

  #drop(): void {
    const { bytes } = this.#queue;
    this.#queue.clear();
    if (bytes > 0) this.#credit(bytes);
  }
}
