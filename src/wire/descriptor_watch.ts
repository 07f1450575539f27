/**
 * Waits for file descriptors to become readable, all of them in one system call on a thread of Deno's pool.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { libc } from "../../ffi/libc.ts";
import { EFD_CLOEXEC_NONBLOCK, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN } from "../../ffi/libc_symbols.ts";
import { CallMemory } from "../../ffi/raw_memory.ts";

/** struct epoll_event, which is packed on x86-64 only. */
const [EVENT_BYTES, EVENT_DATA] = Deno.build.arch === "x86_64" ? [12, 4] : [16, 8];
const MAX_EVENTS = 64;

/** Calls back whenever one of its descriptors is readable or its connection is over. Keeps the process alive until it is closed. */
export class DescriptorWatch {
  readonly #epoll: number;
  readonly #wakeFd: number;
  readonly #events = new CallMemory(MAX_EVENTS * EVENT_BYTES);
  readonly #watched = new Map<number, () => void>();
  readonly #running: Promise<void>;
  #isClosed = false;

  /** @throws {DipcError} `limit_exceeded` if the process has too many descriptors */
  constructor() {
    this.#epoll = libc().epoll_create1(EPOLL_CLOEXEC);
    this.#wakeFd = libc().eventfd(0, EFD_CLOEXEC_NONBLOCK);
    if (this.#epoll < 0 || this.#wakeFd < 0) {
      for (const fd of [this.#epoll, this.#wakeFd]) if (fd >= 0) libc().close(fd);
      this.#events[Symbol.dispose]();
      throw new LocalError("limit_exceeded", "cannot wait for connections: the process has too many open descriptors");
    }
    this.#control(EPOLL_CTL_ADD, this.#wakeFd);
    this.#running = this.#run();
  }

  /**
   * Watches a descriptor.
   *
   * @param onReadable Called as long as there is something to read; must not throw
   */
  add(fd: number, onReadable: () => void): void {
    this.#watched.set(fd, onReadable);
    this.#control(EPOLL_CTL_ADD, fd);
  }

  /** Ends that; to be called before the descriptor is closed. */
  remove(fd: number): void {
    if (this.#watched.delete(fd)) this.#control(EPOLL_CTL_DEL, fd);
  }

  /** Ends all waits. Idempotent. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      libc().write(this.#wakeFd, new Uint8Array(new BigUint64Array([1n]).buffer), 8n);
    }
    await this.#running;
  }

  #control(operation: number, fd: number): void {
    const event = new Uint8Array(EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(0, EPOLLIN, true);
    view.setUint32(EVENT_DATA, fd, true);
    libc().epoll_ctl(this.#epoll, operation, fd, event);
  }

  async #run(): Promise<void> {
    const view = new DataView(this.#events.bytes.buffer);
    while (!this.#isClosed) {
      const count = await libc().epollWaitAsync(this.#epoll, this.#events.address, MAX_EVENTS, -1);
      for (let i = 0; i < count; i++) this.#watched.get(view.getUint32(i * EVENT_BYTES + EVENT_DATA, true))?.();
    }
    libc().close(this.#epoll);
    libc().close(this.#wakeFd);
    this.#events[Symbol.dispose]();
  }
}
