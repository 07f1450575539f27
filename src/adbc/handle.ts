/**
 * A database, connection or statement of a driver: what uses it, and when it is released.
 *
 * @module
 */
import { ADBC_LAYOUT, type AdbcFunctionName } from "../../ffi/adbc.ts";
import { libc } from "../../ffi/libc.ts";
import { allocate } from "../../ffi/raw_memory.ts";
import { zeroAddress } from "../c_data/raw.ts";
import { DipcError } from "../errors.ts";
import type { AdbcArgument, Driver } from "./driver.ts";
import { Turns } from "../c_data/turns.ts";

/** The three kinds, as functions of a driver begin. */
export type HandleKind = "Database" | "Connection" | "Statement";

/** What uses a handle: another handle, or a stream. */
export interface HandleUser {
  /** Ends the use, after which it calls {@linkcode Handle.drop}. */
  close(): Promise<void>;
}

/** Options of a call. */
export interface CallOptions {
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** A native object, which is released exactly once, after everything that uses it. */
export class Handle implements HandleUser {
  readonly kind: HandleKind;
  readonly driver: Driver;
  readonly parent: Handle | null;
  /** Address of the structure. */
  readonly address: bigint;
  /** How many streams the connection has. */
  readonly streams: { count: number };
  readonly #turns: Turns;
  readonly #users = new Set<HandleUser>();
  #isClosed = false;
  #isCreated = false;
  #isRunning = false;
  #isReleased = false;
  #releasing: Promise<void> | null = null;

  /** It becomes a user of its parent. */
  private constructor(kind: HandleKind, driver: Driver, parent: Handle | null) {
    this.kind = kind;
    this.driver = driver;
    this.parent = parent;
    // A connection and its statements may not be used concurrently.
    this.streams = kind === "Statement" ? parent!.streams : { count: 0 };
    this.#turns = kind === "Statement" ? parent!.#turns : new Turns();
    const { size } = ADBC_LAYOUT[`Adbc${kind}`];
    this.address = allocate(size);
    libc().memcpy(this.address, zeroAddress(), BigInt(size));
    parent?.hold(this);
  }

  /**
   * Makes a handle, and with the driver the native object; if either fails, what was made is released.
   *
   * @param action What it is made for, as it follows "cannot"
   * @param initialise What follows
   * @throws {DipcError} What the driver reports; `closed` if the parent was closed
   */
  static async create(
    kind: HandleKind,
    driver: Driver,
    parent: Handle | null,
    action: string,
    initialise: (handle: Handle) => Promise<void>,
  ): Promise<Handle> {
    parent?.checkOpen(action);
    const handle = new Handle(kind, driver, parent);
    try {
      await handle.#create(action);
      await initialise(handle);
    } catch (error) {
      await handle.close().catch(() => {});
      throw error;
    }
    return handle;
  }

  #create(action: string): Promise<void> {
    const { kind, driver, parent, address } = this;
    return this.task(action, async () => {
      await driver.call(`${kind}New`, action, kind === "Statement" ? [parent!.address, address] : [address]);
      this.#isCreated = true;
    });
  }

  /** The connection that it is or belongs to. */
  get connection(): Handle {
    return this.kind === "Statement" ? this.parent! : this;
  }

  /** Its functions that every kind has. */
  name<const S extends string>(suffix: S): `${HandleKind}${S}` {
    return `${this.kind}${suffix}`;
  }

  /** @throws {DipcError} `closed` */
  checkOpen(action: string): void {
    if (!this.#isClosed) return;
    throw new DipcError("closed", `cannot ${action}: the ${this.kind.toLowerCase()} was closed; open another one`);
  }

  /**
   * Calls a function with this handle as its first argument, once no other call runs.
   *
   * @param name The function
   * @param action What it is called for, as it follows "cannot"
   * @param args Its further arguments
   * @throws {DipcError} `closed`; `cancelled`; what the driver reports
   */
  call(name: AdbcFunctionName, action: string, args: readonly AdbcArgument[] = []): Promise<void> {
    return this.task(action, () => this.driver.call(name, action, [this.address, ...args]));
  }

  /** Runs calls without those of others between them. @throws {DipcError} `closed`; what they throw */
  async task<T>(action: string, run: () => Promise<T>): Promise<T> {
    this.checkOpen(action);
    return await this.#turns.run(async () => {
      this.checkOpen(action);
      this.#isRunning = true;
      try {
        return await run();
      } finally {
        this.#isRunning = false;
      }
    });
  }

  /** Runs calls of a stream of this handle, also after the handle was closed. */
  streamTask<T>(run: () => T | Promise<T>): Promise<T> {
    return this.#turns.run(run);
  }

  /**
   * Cancels the call that is under way.
   *
   * @throws {DipcError} What the driver reports; `unsupported` if it cannot
   */
  async interrupt(): Promise<void> {
    // There is nothing to cancel while the driver makes it; what a database waits for is cancelled by the connection that is being
    // opened.
    if (!this.#isCreated || this.#isReleased || this.kind === "Database") return;
    const { kind } = this;
    const action = `cancel the ${kind.toLowerCase()}`;
    await this.#turns.interrupt(() => this.driver.call(`${kind}Cancel`, action, [this.address]));
  }

  /** Adds a user. */
  hold(user: HandleUser): void {
    this.#users.add(user);
  }

  /** Removes a user. The last one releases a handle that was closed. */
  drop(user: HandleUser): void {
    this.#users.delete(user);
    if (this.#isClosed && this.#users.size === 0) this.#release().catch(() => {});
  }

  /** Closes everything that uses it. */
  async closeUsers(): Promise<void> {
    await Promise.allSettled([...this.#users].map((user) => user.close()));
  }

  /** Lets nothing new use it, and releases it after the last user. */
  async leave(): Promise<void> {
    this.#isClosed = true;
    if (this.#users.size === 0) await this.#release();
  }

  /** Closes everything that uses it, cancels the call that is under way, and releases it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#isRunning) this.interrupt().catch(() => {});
    await this.closeUsers();
    await this.#release();
  }

  #release(): Promise<void> {
    return this.#releasing ??= this.#releaseOnce();
  }

  async #releaseOnce(): Promise<void> {
    const { kind, driver, parent } = this;
    const call = async (): Promise<void> => {
      this.#isReleased = true;
      if (!this.#isCreated) return;
      await driver.call(`${kind}Release`, `release the ${kind.toLowerCase()}`, [this.address]);
    };
    try {
      // The driver uses the database when it releases a connection.
      await this.#turns.run(() => kind === "Connection" ? parent!.#turns.run(call) : call());
    } finally {
      libc().free(this.address);
      if (parent === null) driver.release();
      else parent.drop(this);
    }
  }
}

/** Releases what was dropped without being closed. */
const dropped = new FinalizationRegistry<Handle>((handle) => void handle.leave().catch(() => {}));

/** Sees to it that a handle is released if the object of the program that stands for it is collected. */
export function watch(owner: object, handle: Handle): void {
  dropped.register(owner, handle, handle);
}

/** Ends {@linkcode watch}. */
export function unwatch(handle: Handle): void {
  dropped.unregister(handle);
}
