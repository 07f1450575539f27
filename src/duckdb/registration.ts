/**
 * A stream as a view of DuckDB.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { Arena } from "../c_data/arena.ts";
import { type ExportSource, openSource, type StreamSource } from "../c_data/export_source.ts";
import type { Exportable } from "../c_data/export.ts";
import { scratch } from "../c_data/raw.ts";
import { exportOpened } from "../c_data/stream_out.ts";
import { releaseStruct } from "../c_data/structs.ts";
import { DipcError } from "../errors.ts";
import { identifier, literal } from "./identifiers.ts";
import { wordAt } from "./library.ts";
import type { NativeConnection } from "./native.ts";
import { ScanColumns } from "./scan_columns.ts";
import { SCAN_FUNCTION, type ScanFunction } from "./scan_function.ts";
import { SOURCE, SOURCE_BYTES } from "./scan_source.ts";

/** A source that can be ended while its next batch is waited for. */
class StoppableSource implements ExportSource {
  readonly schema: ExportSource["schema"];
  readonly #source: ExportSource;
  readonly #stop = Promise.withResolvers<never>();
  #error: DipcError | null = null;
  /** What a query gets from the source as an error. */
  failure: unknown = null;

  constructor(source: ExportSource) {
    this.schema = source.schema;
    this.#source = source;
    this.#stop.promise.catch(() => {});
  }

  /** Makes the call that is under way, and all later ones, fail. */
  stop(code: "cancelled" | "closed"): void {
    const what = code === "closed" ? "it was closed; register it again" : "the query that reads it was ended";
    this.#error ??= new DipcError(code, `cannot read the stream: ${what}`);
    this.failure ??= this.#error;
    this.#stop.reject(this.#error);
  }

  next(): Exportable | null | Promise<Exportable | null> {
    if (this.#error !== null) throw this.#error;
    let next;
    try {
      next = this.#source.next();
    } catch (error) {
      throw this.failure = error;
    }
    if (!(next instanceof Promise)) return next;
    // What comes after the end is nobody's.
    next.then((batch) => {
      if (this.#error !== null) batch?.release();
    }, () => {});
    return Promise.race([next, this.#stop.promise]).then((batch) => {
      if (this.#error !== null) throw this.#error;
      return batch;
    }, (error) => {
      throw error === this.#error ? error : this.failure = error;
    });
  }

  close(): void | Promise<void> {
    return this.#source.close();
  }
}

/** A stream that is registered, natively. Known to the connection, which ends it if nobody else does. */
export class NativeRegistration {
  readonly #connection: NativeConnection;
  readonly #function: ScanFunction;
  readonly #source: StoppableSource;
  readonly #columns: ScanColumns;
  readonly #arena: Arena;
  readonly #struct: bigint;
  readonly #slot: number;
  readonly id: bigint;
  #isEnded = false;
  #isFreed = false;

  private constructor(
    connection: NativeConnection,
    fn: ScanFunction,
    source: StoppableSource,
    columns: ScanColumns,
    arena: Arena,
    struct: bigint,
  ) {
    this.#connection = connection;
    this.#function = fn;
    this.#source = source;
    this.#columns = columns;
    this.#arena = arena;
    this.#struct = struct;
    ({ id: this.id, slot: this.#slot } = fn.add(connection.id, struct));
    connection.registrations.add(this);
  }

  /**
   * Makes a stream known to DuckDB. Within `run` of the connection.
   *
   * @throws {DipcError} `unsupported`, naming the column, for a type that DuckDB does not have; what the source throws
   */
  static async create(connection: NativeConnection, source: StreamSource): Promise<NativeRegistration> {
    const fn = await connection.database.scanFunction(connection.handle);
    const opened = new StoppableSource(await openSource(source));
    let columns;
    try {
      columns = new ScanColumns(connection.library, connection.handle, opened.schema.layout);
    } catch (error) {
      await opened.close();
      throw error;
    }
    const arena = new Arena();
    const struct = arena.zeros(SOURCE_BYTES);
    try {
      await exportOpened("ArrowArrayStream", opened, struct + BigInt(SOURCE.stream));
      const place = scratch(SOURCE_BYTES);
      libc().memcpy(place.address, struct, BigInt(SOURCE_BYTES));
      place.words[SOURCE.connection / 8] = connection.handle;
      place.words[SOURCE.columnCount / 8] = BigInt(columns.types.length);
      place.words[SOURCE.types / 8] = arena.words(columns.types);
      place.words[SOURCE.names / 8] = arena.words(
        columns.names.map((name) => arena.text("the name of a column", name)),
      );
      place.words[SOURCE.schemas / 8] = arena.words(columns.schemas);
      libc().memcpy(struct, place.address, BigInt(SOURCE_BYTES));
      return new NativeRegistration(connection, fn, opened, columns, arena, struct);
    } catch (error) {
      releaseStruct("ArrowArrayStream", struct + BigInt(SOURCE.stream));
      columns[Symbol.dispose]();
      arena[Symbol.dispose]();
      throw error;
    }
  }

  /** What a query got from the source as an error, `null` for nothing. */
  get failure(): unknown {
    return this.#source.failure;
  }

  /** SQL that reads it. */
  get sql(): string {
    return `from ${SCAN_FUNCTION}(${this.id})`;
  }

  /** Makes a query that is reading it fail, instead of waiting for the source. */
  stop(): void {
    if (!this.#isFreed && (wordAt(this.#struct + BigInt(SOURCE.lockAndTaken)) >> 32n) !== 0n) {
      this.#source.stop("cancelled");
    }
  }

  /**
   * Makes it unknown to DuckDB, and frees it unless a plan refers to it. Within a call of the connection.
   *
   * @returns Whether it was freed; if not, {@linkcode free} has to be called after the connection was closed
   */
  end(): boolean {
    if (!this.#isEnded) {
      this.#isEnded = true;
      this.#source.stop("closed");
      this.#function.remove(this.#slot);
    }
    if (wordAt(this.#struct + BigInt(SOURCE.users)) !== 0n) return false;
    this.free();
    return true;
  }

  /** Releases the stream and frees its memory. Idempotent. */
  free(): void {
    if (this.#isFreed) return;
    this.#isFreed = true;
    if (!this.#isEnded) this.#function.remove(this.#slot);
    this.#isEnded = true;
    this.#source.stop("closed");
    this.#connection.registrations.delete(this);
    releaseStruct("ArrowArrayStream", this.#struct + BigInt(SOURCE.stream));
    this.#columns[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
  }
}

/** A stream that is registered as a view, until it is closed or its connection is. */
export class DuckDbRegistration implements AsyncDisposable {
  /** Name of the view. */
  readonly name: string;
  readonly #connection: NativeConnection;
  readonly #native: NativeRegistration;
  #closing: Promise<void> | null = null;

  /** @ignore Use `registerStream` of a connection. */
  constructor(connection: NativeConnection, native: NativeRegistration, name: string) {
    this.name = name;
    this.#connection = connection;
    this.#native = native;
  }

  /**
   * Registers a stream as a view. Within `run` of the connection.
   *
   * @ignore
   */
  static async create(connection: NativeConnection, name: string, source: StreamSource): Promise<DuckDbRegistration> {
    const native = await NativeRegistration.create(connection, source);
    try {
      await connection.execute(
        "register the stream",
        `create or replace temp view ${identifier(name)} as ${native.sql}`,
      );
    } catch (error) {
      native.end();
      throw error;
    }
    return new DuckDbRegistration(connection, native, name);
  }

  /** Drops the view, and ends the stream. Idempotent; waits for a query that reads it. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** As {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    if (this.#connection.isClosed) return;
    await this.#connection.stream?.close();
    await this.#connection.runLate(async () => {
      if (this.#connection.isClosed) return;
      // Another view may have its name by now.
      const sql =
        `select 1 from duckdb_views() where view_name = ${literal(this.name)} and temporary and contains(sql, ` +
        `${literal(`${SCAN_FUNCTION}(${this.#native.id})`)})`;
      const found = await this.#connection.execute("close the stream", sql, "rows").catch(() => 0);
      if (found > 0) {
        await this.#connection.execute("close the stream", `drop view temp.${identifier(this.name)}`).catch(() => {});
      }
      this.#native.end();
    });
  }
}
