/**
 * One stream of a connection: bytes that are pulled on the way in, and sent under flow control on the way out.
 *
 * @module
 */
import { BodyQueue } from "./body_queue.ts";
import { Http2Code, type Http2Error } from "./errors.ts";
import type { HeaderField } from "./static_table.ts";

/** What a stream needs of its connection. */
export interface StreamHost {
  /** Sends headers; with `isLast` they end this direction. */
  sendHeaders(stream: Http2Stream, fields: readonly HeaderField[], isLast: boolean): void;
  /** Ends this direction without trailers. */
  sendEnd(stream: Http2Stream): void;
  /** There is something to send. */
  sendSoon(stream: Http2Stream): void;
  /** Bytes were used: gives credit for them. */
  credit(stream: Http2Stream | null, bytes: number): void;
  /** Sends RST_STREAM, and forgets the stream. */
  reset(stream: Http2Stream, code: number): void;
  /** Both sides have ended. */
  done(stream: Http2Stream): void;
}

/** A stream. Its owner sets the callbacks. */
export abstract class Http2Stream {
  /**
   * Offered bytes as they come, where none wait to be read; answers whether it took them. They are its only until it returns;
   * what it does not take is kept, and told by `onReadable`.
   */
  onBytes: ((bytes: Uint8Array) => boolean) | null = null;
  /** Called when there may be something to read, or nothing more to come. */
  onReadable: (() => void) | null = null;
  /** Called once, when the stream is over, whichever way. */
  onClose: (() => void) | null = null;
  /** Resolves once the stream is over and what was to be sent has been written, or cannot be. */
  readonly closed: Promise<void>;
  /** Why the stream was reset or its connection lost; `null` where it was not. */
  error: Error | null = null;
  /** @ignore Its number; 0 as long as it was not opened. */
  id: number;
  /** @ignore Credit of the two directions, kept by the connection. */
  sendWindow: number;
  /** @ignore */
  receiveWindow: number;
  /** @ignore Bytes used for which no credit was given yet. */
  uncredited = 0;
  /** @ignore Bytes of the whole body where the peer announces it, otherwise `null`. */
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
    this.receiveWindow = receiveWindow;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /**
   * @ignore Headers came.
   *
   * @returns What is wrong with them, or `null`
   */
  abstract receiveHeaders(fields: readonly HeaderField[], isTooLong: boolean, isLast: boolean): Http2Error | null;

  /** @ignore Whether the headers that belong in front of a body have come. */
  abstract get hasHeaders(): boolean;

  /** Whether the stream is over. What has arrived in order may still be read. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the peer has said its last byte, read or not. */
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
    if (piece !== null) this.#credit(piece.byteLength);
    return piece;
  }

  /** Throws away what the peer has sent and sends. */
  discard(): void {
    this.#isDiscarding = true;
    this.#drop();
  }

  /**
   * Sends bytes, once flow control lets them. One write at a time.
   *
   * @param bytes The caller's again once they were taken
   * @param taken Called when they were taken, or the stream is over; not where they are taken at once
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
   * Ends this direction, behind what is being written.
   *
   * @param trailers Sent last, where there are any
   */
  end(trailers: readonly HeaderField[] = []): void {
    if (this.#isClosed || this.#isLocalEnded || this.#end !== null) return;
    this.#end = trailers;
    this.#host.sendSoon(this);
  }

  /** Gives up what is being written. */
  drop(): void {
    this.#pending = null;
    this.#tellTaken();
    // It waited behind the bytes, and needs no window itself.
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

  /** @ignore Copies bytes out that go into a frame. */
  take(into: Uint8Array, at: number, bytes: number): void {
    const pending = this.#pending!;
    into.set(bytes === pending.byteLength ? pending : pending.subarray(0, bytes), at);
    this.sendWindow -= bytes;
    this.#pending = bytes === pending.byteLength ? null : pending.subarray(bytes);
    if (this.#pending === null) this.#tellTaken();
  }

  /** @ignore Sends the end where its turn has come. */
  sendEnd(): void {
    if (this.#pending !== null || this.#end === null) return;
    const trailers = this.#end;
    this.#end = null;
    this.endWith(trailers);
  }

  /** @ignore A piece of the body came. */
  receive(bytes: Uint8Array): void {
    const isTaken = this.#isClosed || this.#isDiscarding || (this.#queue.bytes === 0 && this.onBytes?.(bytes) === true);
    if (isTaken) return this.#credit(bytes.byteLength);
    this.#queue.push(bytes);
    this.onReadable?.();
  }

  /** @ignore Counts the body; says whether it is longer than announced. */
  count(bytes: number): boolean {
    this.#received += bytes;
    return this.expectedBytes === null || this.#received <= this.expectedBytes;
  }

  /** @ignore Whether the body up to now is as long as announced. */
  get isWhole(): boolean {
    return this.expectedBytes === null || this.#received === this.expectedBytes;
  }

  /** @ignore The peer has ended its side; says whether the body is as long as announced. */
  receiveEnd(): boolean {
    if (!this.isWhole) return false;
    this.#isRemoteEnded = true;
    this.onReadable?.();
    if (this.#isLocalEnded) this.#host.done(this);
    return true;
  }

  /** @ignore The stream is over. With `isSending` its last headers are still on their way. */
  close(isSending: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pending = null;
    this.#end = null;
    if (!this.#isRemoteEnded) this.#drop();
    this.onReadable?.();
    this.onClose?.();
    this.#tellTaken();
    if (!isSending) this.#resolveClosed();
  }

  /** @ignore What was to be sent has been written. */
  sent(): void {
    if (this.#isClosed) this.#resolveClosed();
    else this.#isWritten = true;
  }

  /** Sends what ends this direction. */
  protected endWith(fields: readonly HeaderField[]): void {
    this.#isLocalEnded = true;
    if (fields.length > 0) this.#host.sendHeaders(this, fields, true);
    else this.#host.sendEnd(this);
    if (this.#isRemoteEnded) this.#host.done(this);
  }

  #credit(bytes: number): void {
    this.#host.credit(this.#isClosed ? null : this, bytes);
  }

  #tellTaken(): void {
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
