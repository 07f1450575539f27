/**
 * Connections of a client that have carried a whole stream and wait for the next one to the same server.
 *
 * @module
 */
import type { DipcError } from "../../errors.ts";
import { IdlePool, type Keepable } from "../idle_pool.ts";
import type { KeepOptions } from "../transport.ts";
import { cutConnection, type OpenConnection } from "./connection.ts";
import { tagInfoAddress } from "./operations.ts";
import type { WorkerOwner } from "./worker.ts";

/** Most connections to all servers together: each has a worker with its memory and descriptors. */
const MAX_IDLE = 32;
/** Looks by which the end of a connection shows. */
const LOOKS = 2;

/** One that waits. */
class IdleConnection implements WorkerOwner, Keepable {
  failure: DipcError | null = null;
  readonly connection: OpenConnection;
  readonly #retire: (connection: OpenConnection) => void;
  /** Whether the server has ended it, or has sent something that nobody requested. */
  #isSpoilt = false;

  constructor(connection: OpenConnection, retire: (connection: OpenConnection) => void) {
    this.connection = connection;
    this.#retire = retire;
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

  isSound(): boolean {
    const { worker } = this.connection;
    for (let i = 0; i < LOOKS && !this.#isSpoilt; i++) worker.look();
    if (this.#isSpoilt || worker.isBroken) return false;
    return worker.context.symbols.ucp_tag_probe_nb(worker.handle, 0n, 0n, 0, tagInfoAddress()) === 0n;
  }

  cut(): void {
    cutConnection(this.connection);
  }

  retire(): void {
    this.#retire(this.connection);
  }
}

/**
 * The waiting connections of a transport.
 *
 * They are cut when the program ends. UCX's thread runs until the process is gone, also after UCX has cleared its table of what that
 * thread calls: a server that dies in just that moment would make it call what is in freed memory.
 */
export class IdleConnections {
  readonly #pool = new IdlePool<IdleConnection>(MAX_IDLE);
  readonly #onUnload = (): void => this.close();
  readonly #retire: (connection: OpenConnection) => void;

  /** @param retire Closes a connection that has waited long enough, and saves its worker */
  constructor(retire: (connection: OpenConnection) => void) {
    this.#retire = retire;
    globalThis.addEventListener("unload", this.#onUnload);
  }

  /** Connections that wait. */
  get count(): number {
    return this.#pool.count;
  }

  /** Whether one of a key waits. */
  has(key: string): boolean {
    return this.#pool.has(key);
  }

  /**
   * The connection to a server that was used last, if there is one that is sound. The caller owns it.
   *
   * @param key What its user was looking for
   */
  take(key: string): OpenConnection | null {
    return this.#pool.take(key)?.connection ?? null;
  }

  /**
   * Keeps a connection. The oldest is cut if there are too many.
   *
   * @param key What a user of it will look for
   * @param connection Nothing is under way on it
   * @param keep How many of that key are kept, and how long
   */
  put(key: string, connection: OpenConnection, keep: KeepOptions): void {
    this.#pool.put(key, new IdleConnection(connection, this.#retire), keep);
  }

  /** Cuts all connections. */
  drop(): void {
    this.#pool.drop();
  }

  /** Cuts all, and those that come later. Idempotent. */
  close(): void {
    globalThis.removeEventListener("unload", this.#onUnload);
    this.#pool.close();
  }
}
