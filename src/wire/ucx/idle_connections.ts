/**
 * Connections of a client that have carried a whole stream and wait for the next one to the same server.
 *
 * Nothing waits for them, so they never keep a program alive: a timer that does not count as work looks at them periodically, and
 * whoever takes one looks at it first.
 *
 * @module
 */
import type { DipcError } from "../../errors.ts";
import type { KeepOptions } from "../transport.ts";
import { cutConnection, type OpenConnection } from "./connection.ts";
import { tagInfoAddress } from "./operations.ts";
import type { WorkerOwner } from "./worker.ts";

/** Most connections to all servers together: each has a worker with its memory and descriptors. */
const MAX_IDLE = 32;
/** How often waiting connections are looked at, in milliseconds. */
const LOOK_MS = 1_000;
/** Looks by which the end of a connection shows. */
const LOOKS = 2;

/** One that waits. */
class IdleConnection implements WorkerOwner {
  failure: DipcError | null = null;
  readonly key: string;
  readonly connection: OpenConnection;
  /** When it is closed, of `performance.now()`. */
  readonly until: number;
  /** Whether the server has ended it, or has sent something that nobody requested. */
  #isSpoilt = false;

  constructor(key: string, connection: OpenConnection, until: number) {
    this.key = key;
    this.connection = connection;
    this.until = until;
    connection.worker.owner = this;
    for (const endpoint of connection.endpoints) {
      endpoint.onFailure = () => void (this.#isSpoilt = true);
      if (endpoint.failedStatus !== 0) this.#isSpoilt = true;
    }
  }

  onActiveMessage(): boolean {
    this.#isSpoilt = true;
    return false;
  }

  /** Whether it can carry a stream, as far as this side can know. */
  isSound(now: number): boolean {
    if (now >= this.until) return false;
    const { worker } = this.connection;
    for (let i = 0; i < LOOKS && !this.#isSpoilt; i++) worker.look();
    if (this.#isSpoilt || worker.isBroken) return false;
    return worker.context.symbols.ucp_tag_probe_nb(worker.handle, 0n, 0n, 0, tagInfoAddress()) === 0n;
  }

  cut(): void {
    cutConnection(this.connection);
  }
}

/** The waiting connections of a transport. */
export class IdleConnections {
  /** In the order in which they were put, the oldest first. */
  #all: IdleConnection[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  /** Connections that wait. */
  get count(): number {
    return this.#all.length;
  }

  /**
   * The connection to a server that was used last, if there is one that is sound. The caller owns it.
   *
   * @param key What its user was looking for
   */
  take(key: string): OpenConnection | null {
    const now = performance.now();
    for (let i = this.#all.length - 1; i >= 0; i--) {
      const idle = this.#all[i];
      if (idle.key !== key) continue;
      this.#all.splice(i, 1);
      if (idle.isSound(now)) return idle.connection;
      idle.cut();
    }
    return null;
  }

  /**
   * Keeps a connection. The oldest is cut if there are too many.
   *
   * @param key What a user of it will look for
   * @param connection Nothing is under way on it
   * @param keep How many of that key are kept, and how long
   */
  put(key: string, connection: OpenConnection, { connections, milliseconds }: KeepOptions): void {
    if (this.#isClosed) return cutConnection(connection);
    this.#all.push(new IdleConnection(key, connection, performance.now() + milliseconds));
    let same = this.#all.filter((each) => each.key === key).length;
    for (let i = 0; i < this.#all.length && (same > connections || this.#all.length > MAX_IDLE);) {
      const idle = this.#all[i];
      if (same > connections && idle.key !== key) {
        i++;
        continue;
      }
      if (idle.key === key) same--;
      this.#all.splice(i, 1);
      idle.cut();
    }
    this.#watch();
  }

  /** Cuts the connections to one server, or to all. */
  drop(key?: string): void {
    for (const idle of this.#all.filter((each) => key === undefined || each.key === key)) {
      this.#all.splice(this.#all.indexOf(idle), 1);
      idle.cut();
    }
    if (this.#all.length === 0) this.#unwatch();
  }

  /** Cuts all, and those that come later. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.drop();
  }

  /** Looks at the connections from time to time, as long as there are any. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    const ended = this.#all.filter((idle) => !idle.isSound(now));
    this.#all = this.#all.filter((idle) => !ended.includes(idle));
    for (const idle of ended) idle.cut();
    if (this.#all.length === 0) this.#unwatch();
  }

  #unwatch(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
