/**
 * What a connection sends: frames are gathered into few large writes, of which at most two are under way. If the
 * transport can, the data of large bodies is sent from its memory instead.
 *
 * @module
 */
import type { Transport } from "./transport.ts";

/** Maximum size of one write, in bytes. */
const BUFFER_BYTES = 512 * 1024;
/** The same for a write that starts with control frames, which are often all of it: most connections never need a large one. */
const CONTROL_BUFFER_BYTES = 4 * 1024;
/** Writes under way: one that the system is working on, and one that follows it immediately. */
const MAX_IN_FLIGHT = 2;
/** Buffers of each size kept for later writes, of any connection. */
const MAX_SPARE = 8;
/**
 * Microtasks for which the headers of a call wait for its messages and its end. They come a few `await`s after one another, and all
 * these microtasks cost less than one call of the system.
 */
const HEADERS_WAIT = 32;

const spare: Readonly<Record<number, Uint8Array<ArrayBuffer>[]>> = { [BUFFER_BYTES]: [], [CONTROL_BUFFER_BYTES]: [] };

interface Control {
  bytes: Uint8Array;
  /** Whether they count as waiting. */
  isCounted: boolean;
  sent?: () => void;
}

/** Gathers frames and writes them. */
export class Output {
  readonly #transport: Transport;
  readonly #onRoom: () => void;
  #buffer: Uint8Array<ArrayBuffer> | null = null;
  #length = 0;
  #sent: (() => void)[] = [];
  /** Callbacks of what has not been written yet. */
  readonly #unsent = new Set<() => void>();
  #control: Control[] = [];
  #controlBytes = 0;
  #microtasksLeft = 0;
  #writtenBytes = 0;
  #inFlight = 0;
  /** Whether the system has not taken all of what it was given at once. */
  #isFull = false;
  #isScheduled = false;
  #isClosed = false;
  #ending: (() => void) | null = null;

  /**
   * @param transport What the frames are written to
   * @param onRoom Called when there may be room again
   */
  constructor(transport: Transport, onRoom: () => void) {
    this.#transport = transport;
    this.#onRoom = onRoom;
  }

  /** Bytes of control frames, without headers, that wait for room. */
  get waitingBytes(): number {
    return this.#controlBytes;
  }

  /** Bytes written so far. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /**
   * Sends a frame that flow control does not hold back, after everything queued before it.
   *
   * @param bytes The frame; it may be copied later, so it must not change
   */
  control(bytes: Uint8Array): void {
    this.#put({ bytes, isCounted: true });
  }

  /**
   * Sends the frames of headers, or the end of a stream, in the same way. The number of streams bounds their number.
   *
   * @param bytes The frames; they may be copied later, so they must not change
   * @param sent Called once they have been written, or cannot be
   */
  headers(bytes: Uint8Array, sent?: () => void): void {
    this.#put({ bytes, isCounted: false, sent });
  }

  #put(control: Control): void {
    if (this.#isClosed) return;
    this.#control.push(control);
    if (control.sent !== undefined) this.#unsent.add(control.sent);
    if (control.isCounted) this.#controlBytes += control.bytes.byteLength;
    this.#putControl();
    const isBeginning = !control.isCounted && control.sent === undefined;
    if (!isBeginning) this.#microtasksLeft = 1;
    this.schedule(isBeginning ? HEADERS_WAIT : 1);
  }

  /** The buffer to put data into, with the offset to start at and how much fits, or `null` while there is no room. */
  room(minBytes: number): { buffer: Uint8Array; at: number; bytes: number } | null {
    if (this.#isClosed || this.#control.length > 0) return null;
    const left = this.#buffer === null ? Infinity : this.#buffer.byteLength - this.#length;
    if (left < minBytes && !this.#write()) return null;
    const buffer = this.#open(BUFFER_BYTES);
    return buffer === null ? null : { buffer, at: this.#length, bytes: buffer.byteLength - this.#length };
  }

  /** Bytes were put into the buffer that `room` returned. */
  advance(bytes: number): void {
    this.#length += bytes;
    this.schedule();
  }

  /** Whether data can be sent from its memory, unless {@linkcode isWaiting}. */
  get sendsNow(): boolean {
    return !this.#isClosed && this.#transport.writesNow;
  }

  /** Whether something waits until the system has room; `onRoom` is called then. */
  get isWaiting(): boolean {
    return this.#isFull || this.#inFlight > 0 || this.#control.length > 0;
  }

  /**
   * Sends data from its memory, after what is in the buffer. Of a frame that the system takes in part the rest is copied.
   *
   * @param frames The pieces of each frame; they may change afterwards
   * @returns Number of frames that were taken, 0 if there is no room now
   */
  sendNow(frames: readonly (readonly Uint8Array<ArrayBuffer>[])[]): number {
    let bytes = this.#writeNow(frames.flat());
    let count = 0;
    for (const pieces of frames) {
      if (bytes === 0) break;
      count++;
      for (const piece of pieces) {
        if (bytes < piece.byteLength) this.#append(piece.subarray(bytes));
        bytes = Math.max(0, bytes - piece.byteLength);
      }
    }
    this.#isFull = this.#length > 0;
    return count;
  }

  /**
   * Writes soon, or when the write before has finished.
   *
   * @param microtasks When, unless that was said before
   */
  schedule(microtasks = 1): void {
    if (this.#isScheduled || this.#inFlight > 0) return;
    this.#isScheduled = true;
    this.#microtasksLeft = microtasks;
    queueMicrotask(this.#onMicrotask);
  }

  #onMicrotask = (): void => {
    if (--this.#microtasksLeft > 0) return queueMicrotask(this.#onMicrotask);
    this.#isScheduled = false;
    if (this.#inFlight === 0) this.#write();
    this.#checkEnd();
  };

  /** Calls back once everything queued has been written. */
  end(done: () => void): void {
    this.#ending = done;
    this.schedule();
    this.#checkEnd();
  }

  /** Drops everything that waits. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#control = [];
    this.#controlBytes = 0;
    if (this.#buffer !== null) release(this.#buffer);
    this.#buffer = null;
    this.#length = 0;
    this.#sent = [];
    for (const each of this.#unsent) each();
    this.#unsent.clear();
  }

  #open(byteLength: number): Uint8Array<ArrayBuffer> | null {
    // While `MAX_IN_FLIGHT` writes are under way the next is not gathered either, so that what is held is bounded.
    if (this.#buffer === null && this.#inFlight < MAX_IN_FLIGHT) {
      this.#buffer = spare[byteLength].pop() ?? new Uint8Array(byteLength);
    }
    return this.#buffer;
  }

  #putControl(): void {
    while (this.#control.length > 0) {
      const buffer = this.#open(CONTROL_BUFFER_BYTES);
      if (buffer === null) return;
      const first = this.#control[0];
      const n = Math.min(first.bytes.byteLength, buffer.byteLength - this.#length);
      buffer.set(first.bytes.subarray(0, n), this.#length);
      this.#length += n;
      if (first.isCounted) this.#controlBytes -= n;
      if (n < first.bytes.byteLength) {
        first.bytes = first.bytes.subarray(n);
        if (!this.#write()) return;
        continue;
      }
      this.#control.shift();
      if (first.sent !== undefined) this.#sent.push(first.sent);
    }
  }

  #write(): boolean {
    const buffer = this.#buffer;
    if (this.#isClosed || buffer === null || this.#length === 0) return buffer === null;
    if (this.#inFlight >= MAX_IN_FLIGHT) return false;
    if (this.#inFlight === 0 && !this.#isFull && this.sendsNow) {
      this.#writeNow();
      if (this.#length === 0) return true;
    }
    const sent = this.#sent;
    const bytes = buffer.subarray(0, this.#length);
    this.#buffer = null;
    this.#length = 0;
    this.#sent = [];
    this.#inFlight++;
    this.#transport.write(bytes, (error) => {
      this.#inFlight--;
      this.#writtenBytes += bytes.byteLength;
      // After an error the system may still read the buffer.
      if (error === null || error === undefined) release(buffer);
      if (this.#isClosed) return;
      this.#isFull = false;
      this.#report(sent);
      this.#putControl();
      this.#onRoom();
      if (this.#inFlight === 0) this.#write();
      this.#checkEnd();
    });
    return true;
  }

  /**
   * Writes what is in the buffer, and more, without waiting.
   *
   * @returns Bytes taken of what is not in the buffer
   */
  #writeNow(more: readonly Uint8Array<ArrayBuffer>[] = []): number {
    const buffer = this.#buffer;
    const length = this.#length;
    const taken = this.#transport.writeNow(buffer === null ? more : [buffer.subarray(0, length), ...more]);
    this.#writtenBytes += taken;
    this.#length = Math.max(0, length - taken);
    if (this.#length > 0) {
      buffer!.copyWithin(0, taken, length);
      return 0;
    }
    if (buffer !== null) release(buffer);
    this.#buffer = null;
    this.#report(this.#sent.splice(0));
    return taken - length;
  }

  /** Adds the rest of a frame to the buffer, which has room for it: nothing else is in it. */
  #append(bytes: Uint8Array): void {
    this.#open(BUFFER_BYTES)!.set(bytes, this.#length);
    this.advance(bytes.byteLength);
  }

  #report(sent: readonly (() => void)[]): void {
    for (const each of sent) {
      this.#unsent.delete(each);
      each();
    }
  }

  #checkEnd(): void {
    if (this.#ending === null || this.#inFlight > 0 || this.#length > 0 || this.#control.length > 0) return;
    const done = this.#ending;
    this.#ending = null;
    done();
  }
}

function release(buffer: Uint8Array<ArrayBuffer>): void {
  const same = spare[buffer.byteLength];
  if (same.length < MAX_SPARE) same.push(buffer);
}
