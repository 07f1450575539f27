/**
 * What clients have open: transactions, prepared statements and results, found by their handles, and ended when nobody uses them.
 *
 * @module
 */
import type { FlightContext } from "../../flight/service/context.ts";
import { PeerError } from "../../tell_peer.ts";
import type { EnginePlace } from "../engine.ts";
import { unknownHandle } from "./failure.ts";
import type { SqlLimits } from "./limits.ts";
import { placeOf } from "./place.ts";

/** How often is looked for what nobody uses, in milliseconds. */
const CHECK_MS = 250;
/** Bytes of a handle, all of them random. */
export const HANDLE_BYTES = 16;

/** Who has called: others cannot use what is open for one. */
export interface Caller {
  /** User and subject of the certificate. */
  readonly identity: string;
  /** Number of the connection. */
  readonly connection: number;
  /** Aborted if the connection ends during the call. */
  readonly signal: AbortSignal;
  /** The place of names in its session; `undefined` for the engine's default. */
  readonly place: EnginePlace | undefined;
}

/** The caller of a call. */
export function callerOf(context: FlightContext): Caller {
  const { user, certificateSubject, _connection: connection, signal, sessionOptions } = context;
  return { identity: JSON.stringify([user, certificateSubject]), connection, signal, place: placeOf(sessionOptions) };
}

/** Something that is open. */
export interface Open {
  /** Such as `"transaction"`, for messages. */
  readonly kind: string;
  /** Longest time without a use, in milliseconds. */
  readonly timeoutMs: number;
  /** Whether it is in use now. */
  readonly isBusy: boolean;
  /** Bytes of the text and the schemas of its statement, as long as that is open. Default 0. */
  readonly statementBytes?: number;
  /** Ends it. Idempotent. */
  close(error: PeerError): Promise<void>;
}

interface Entry<T extends Open> {
  readonly open: T;
  readonly identity: string;
  /** The connection that has used it last. */
  connection: number;
  usedMs: number;
  /** When its connection ended, of `performance.now()`. */
  orphanedMs: number | null;
}

/** Everything that is open. */
export class Handles {
  readonly #limits: SqlLimits;
  readonly #entries = new Map<string, Entry<Open>>();
  readonly #counts = new Map<number, number>();
  #timer: number | undefined;

  constructor(limits: SqlLimits) {
    this.#limits = limits;
  }

  /** How much is open. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * @param bytes Its `statementBytes`, as far as they are known
   * @throws {DipcError} `limit_exceeded` if the caller may not open another one
   */
  checkRoom({ connection }: Caller, bytes = 0): void {
    const { maxHandles, maxTotalHandles } = this.#limits;
    const own = this.#counts.get(connection) ?? 0;
    if (own >= maxHandles || this.#entries.size >= maxTotalHandles) {
      const most = own < maxHandles ? `${maxTotalHandles} of all clients` : `${maxHandles} of this one`;
      throw new PeerError(
        "limit_exceeded",
        `cannot open another handle: the server keeps at most ${most}; close statements and transactions, and fetch results`,
      );
    }
    if (bytes > 0) this.#checkStatements(connection, bytes);
  }

  #checkStatements(connection: number, bytes: number): void {
    const { maxStatementBytes, maxTotalStatementBytes } = this.#limits;
    let own = bytes, total = bytes;
    for (const { open: { statementBytes = 0 }, connection: other } of this.#entries.values()) {
      total += statementBytes;
      if (other === connection) own += statementBytes;
    }
    if (own <= maxStatementBytes && total <= maxTotalStatementBytes) return;
    const most = own > maxStatementBytes
      ? `${maxStatementBytes} bytes of this client`
      : `${maxTotalStatementBytes} bytes of all clients`;
    throw new PeerError(
      "limit_exceeded",
      `cannot open another statement: the server keeps texts and schemas with at most ${most}; close statements, and fetch results`,
    );
  }

  /** Keeps something. @returns its handle */
  add(open: Open, { identity, connection, signal }: Caller): Uint8Array<ArrayBuffer> {
    const handle = crypto.getRandomValues(new Uint8Array(HANDLE_BYTES));
    const usedMs = performance.now();
    // The connection may have ended while this was made.
    const orphanedMs = signal.aborted ? usedMs : null;
    this.#entries.set(handle.toHex(), { open, identity, connection, usedMs, orphanedMs });
    this.#count(connection, 1);
    if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#check(), CHECK_MS) as unknown as number;
      Deno.unrefTimer(this.#timer);
    }
    return handle;
  }

  /** Something that the caller has open. @throws {DipcError} `not_found` */
  find<T extends Open>(kind: new (...args: never[]) => T, what: string, handle: Uint8Array, caller: Caller): T {
    const entry = this.#entries.get(handle.toHex());
    if (!(entry?.open instanceof kind) || entry.identity !== caller.identity) throw unknownHandle(what);
    this.#use(entry, caller);
    return entry.open;
  }

  /** Something by its handle, whoever calls: the handle came in a ticket. */
  peek(handle: string): { readonly open: Open; readonly identity: string } | undefined {
    const entry = this.#entries.get(handle);
    if (entry !== undefined) entry.usedMs = performance.now();
    return entry;
  }

  /** Whether something is open. */
  has(handle: string): boolean {
    return this.#entries.has(handle);
  }

  /** Ends something that nobody uses. */
  drop(handle: string): void {
    this.end(handle, new PeerError("not_found", "cannot use the result: it was fetched before")).catch(() => {});
  }

  /** Everything that is open, oldest first. */
  *[Symbol.iterator](): Generator<readonly [handle: string, open: Open], undefined> {
    for (const [handle, { open }] of this.#entries) yield [handle, open];
  }

  /** A connection is over: what it has used last ends soon, unless another one uses it. */
  connectionEnded(connection: number): void {
    const now = performance.now();
    for (const entry of this.#entries.values()) if (entry.connection === connection) entry.orphanedMs = now;
    this.#counts.delete(connection);
  }

  /** Ends something. */
  async end(handle: string, error: PeerError): Promise<void> {
    const open = this.#entries.get(handle)?.open;
    this.#forget(handle);
    await open?.close(error);
  }

  /** Ends everything. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const error = new PeerError("closed", "cannot go on: the server is shutting down");
    await Promise.all([...this.#entries.keys()].map((handle) => this.end(handle, error)));
  }

  #use(entry: Entry<Open>, { connection, signal }: Caller): void {
    entry.usedMs = performance.now();
    entry.orphanedMs = signal.aborted ? entry.usedMs : null;
    if (entry.connection === connection) return;
    this.#count(entry.connection, -1);
    this.#count(connection, 1);
    entry.connection = connection;
  }

  #forget(handle: string): void {
    const entry = this.#entries.get(handle);
    if (entry === undefined) return;
    this.#entries.delete(handle);
    this.#count(entry.connection, -1);
    if (this.#entries.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #count(connection: number, change: number): void {
    const count = (this.#counts.get(connection) ?? 0) + change;
    if (count > 0) this.#counts.set(connection, count);
    else this.#counts.delete(connection);
  }

  #check(): void {
    const now = performance.now();
    for (const [handle, { open, usedMs, orphanedMs }] of [...this.#entries]) {
      if (open.isBusy) continue;
      const isLeft = orphanedMs !== null && now - orphanedMs > this.#limits.graceMs;
      if (!isLeft && now - usedMs <= open.timeoutMs) continue;
      const why = isLeft ? "its client has left" : `it was not used for ${open.timeoutMs} ms`;
      this.end(handle, new PeerError("not_found", `cannot use the ${open.kind}: ${why}`)).catch(() => {});
    }
  }
}
