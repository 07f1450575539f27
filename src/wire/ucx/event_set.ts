/**
 * What the progress loop sleeps on: the event file descriptors of its workers, and one that wakes it up, in one `epoll` set.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import { closeOnExec } from "../../../ffi/close_on_exec.ts";
import { libc } from "../../../ffi/libc.ts";
import {
  EFD_CLOEXEC_NONBLOCK,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLIN,
  EPOLLONESHOT,
  MAP_FAILED,
  MAP_PRIVATE_ANONYMOUS,
  PROT_READ_WRITE,
} from "../../../ffi/libc_symbols.ts";

/** struct epoll_event, which is packed on x86-64 only. */
const [EVENT_BYTES, EVENT_DATA] = Deno.build.arch === "x86_64" ? [12, 4] : [16, 8];
const MAX_EVENTS = 64;
/** Memory mapped for events: at least as much as they take, in bytes. */
const EVENTS_BYTES = 4096n;
/** What the descriptor that wakes has in place of a worker's token. */
const WAKE = 0;

/** File descriptors and their events. */
export class EventSet {
  readonly #libc = libc();
  readonly #epoll: number;
  readonly #wakeFd: number;
  readonly #wakeBytes = new Uint8Array(new BigUint64Array([1n]).buffer);
  /** Native memory: the system may write to it from another thread after a web worker was terminated. */
  readonly #eventsAddress: bigint;
  readonly #events: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  #isAsleep = false;
  #isWoken = false;

  /** @throws {DipcError} `io`, `out_of_memory` if the system refuses file descriptors or memory */
  constructor() {
    this.#eventsAddress = this.#libc.mmap(0n, EVENTS_BYTES, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    if (this.#eventsAddress === MAP_FAILED) {
      throw new LocalError("out_of_memory", "cannot make the progress loop: the system refused to map a page");
    }
    this.#epoll = this.#libc.epoll_create1(EPOLL_CLOEXEC);
    this.#wakeFd = this.#libc.eventfd(0, EFD_CLOEXEC_NONBLOCK);
    try {
      if (this.#epoll < 0 || this.#wakeFd < 0) {
        throw new LocalError(
          "io",
          "cannot make the progress loop: the system refused a file descriptor; check `ulimit -n`",
        );
      }
      this.#control(EPOLL_CTL_ADD, this.#wakeFd, WAKE);
    } catch (error) {
      this.close();
      throw error;
    }
    const pointer = Deno.UnsafePointer.create(this.#eventsAddress)!;
    const memory = Deno.UnsafePointerView.getArrayBuffer(pointer, EVENT_BYTES * MAX_EVENTS) as ArrayBuffer;
    this.#events = new Uint8Array(memory);
    this.#view = new DataView(memory);
  }

  /**
   * Takes a descriptor in, for its next event.
   *
   * @param fd The descriptor
   * @param token What its events have, not 0
   */
  add(fd: number, token: number): void {
    this.#control(EPOLL_CTL_ADD, fd, token);
  }

  /** Has one more event of a descriptor of the set reported. */
  renew(fd: number, token: number): void {
    this.#control(EPOLL_CTL_MOD, fd, token);
  }

  /** Takes a descriptor out. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, WAKE);
  }

  /** Ends the sleep under way, if there is one. */
  wake(): void {
    if (!this.#isAsleep || this.#isWoken) return;
    this.#isWoken = true;
    this.#libc.write(this.#wakeFd, this.#wakeBytes, 8n);
  }

  /** The number of events that are there, to be taken. */
  poll(): number {
    return this.#libc.epoll_wait(this.#epoll, this.#events, MAX_EVENTS, 0);
  }

  /**
   * Waits for events on a thread of Deno's pool.
   *
   * @param deadline Until when, of `performance.now()`
   * @returns their number, to be taken
   */
  async sleep(deadline: number): Promise<number> {
    const timeout = deadline === Infinity ? -1 : Math.max(0, Math.ceil(deadline - performance.now()));
    closeOnExec();
    this.#isAsleep = true;
    this.#isWoken = false;
    const count = await this.#libc.epollWaitAsync(
      this.#epoll,
      this.#eventsAddress,
      MAX_EVENTS,
      Math.min(timeout, 0x7fff_ffff),
    );
    this.#isAsleep = false;
    return count;
  }

  /** The token of an event; 0 is that of a wake-up. */
  take(index: number): number {
    const token = this.#view.getUint32(index * EVENT_BYTES + EVENT_DATA, true);
    if (token === WAKE) this.#libc.read(this.#wakeFd, new Uint8Array(8), 8n);
    return token;
  }

  /** Closes its file descriptors. Nobody may sleep. */
  close(): void {
    this.#libc.close(this.#epoll);
    this.#libc.close(this.#wakeFd);
    this.#libc.munmap(this.#eventsAddress, EVENTS_BYTES);
  }

  #control(operation: number, fd: number, token: number): void {
    const event = new Uint8Array(EVENT_BYTES);
    const view = new DataView(event.buffer);
    // Only an armed worker may end a sleep: an unread event of another descriptor would end every sleep.
    view.setUint32(0, token === WAKE ? EPOLLIN : EPOLLIN | EPOLLONESHOT, true);
    view.setUint32(EVENT_DATA, token, true);
    if (this.#libc.epoll_ctl(this.#epoll, operation, fd, event) !== 0) {
      throw new LocalError("internal", `cannot watch file descriptor ${fd}: epoll_ctl(${operation}) failed`);
    }
  }
}
