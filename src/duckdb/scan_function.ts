/**
 * The table function by which DuckDB reads streams and tables: its machine code, and the places of those that it can find.
 *
 * The layouts are those of `native/duckdb/scan.c`.
 *
 * @module
 */
import { DUCKDB_TYPE } from "../../ffi/duckdb.ts";
import { libc } from "../../ffi/libc.ts";
import { libcAddress } from "../../ffi/raw_memory.ts";
import { Arena } from "../c_data/arena.ts";
import { placed } from "../c_data/native_code.ts";
import { scratch } from "../c_data/raw.ts";
import { DipcError } from "../errors.ts";
import { destroyBy, duckDbError, type DuckDbLibrary } from "./library.ts";
import { SCAN_MACHINE_CODE } from "./scan_machine_code.ts";

/** Name of the table function. */
export const SCAN_FUNCTION = "dipc_stream";
/** Most streams and tables of one database that are registered. */
const MAX_STREAMS = 256;
/** Stands for every connection, as in the C code. */
export const ANY_CONNECTION = 2n ** 64n - 1n;
/** Bytes of `struct slot`, and of the count before the first one. */
const SLOT_BYTES = 24, FIRST_SLOT = 8;

const NOT_REGISTERED = "this stream is not registered on this connection, or was closed";
const READ_BEFORE =
  "this stream was read before, and can be read only once; to read it more often, write it into a table: " +
  "create temp table NAME as from STREAM";

type ScanCode = Readonly<Record<keyof (typeof SCAN_MACHINE_CODE)["x86_64"]["functions"], bigint>>;

const codes = new Map<DuckDbLibrary, ScanCode>();

/** The machine code with the addresses of a library, placed once for each. */
function scanCode(library: DuckDbLibrary): ScanCode {
  let code = codes.get(library);
  if (code === undefined) {
    // It stays until the process ends, as the code does.
    const memory = new Arena();
    const at = library.addresses;
    const table = memory.words([
      ...[at.duckdb_bind_get_parameter, at.duckdb_is_null_value, at.duckdb_get_int64, at.duckdb_destroy_value],
      at.duckdb_bind_get_extra_info,
      ...[at.duckdb_table_function_get_client_context, at.duckdb_client_context_get_connection_id],
      ...[at.duckdb_destroy_client_context, at.duckdb_bind_add_result_column, at.duckdb_bind_set_bind_data],
      ...[at.duckdb_bind_set_error, at.duckdb_init_get_bind_data, at.duckdb_init_get_column_count],
      ...[at.duckdb_init_get_column_index, at.duckdb_init_set_init_data, at.duckdb_init_set_max_threads],
      ...[at.duckdb_init_set_error, at.duckdb_function_get_bind_data, at.duckdb_function_get_init_data],
      ...[at.duckdb_function_get_local_init_data, at.duckdb_function_set_error, at.duckdb_data_chunk_get_vector],
      ...[at.duckdb_data_chunk_set_size, at.duckdb_destroy_data_chunk, at.duckdb_vector_reference_vector],
      ...[at.duckdb_data_chunk_from_arrow, at.duckdb_error_data_message, at.duckdb_destroy_error_data],
      ...[libcAddress("malloc"), libcAddress("free"), at.duckdb_bind_set_cardinality],
      ...[NOT_REGISTERED, READ_BEFORE, "out of memory"].map((text) => memory.text("the text", text)),
    ]);
    code = placed(SCAN_MACHINE_CODE[Deno.build.arch], { library_address: table });
    codes.set(library, code);
  }
  return code;
}

/** The table function of one database, and its slots: one for each stream or table that is registered. */
export class ScanFunction {
  readonly #memory = new Arena();
  readonly #slots: bigint;
  readonly #free = Array.from({ length: MAX_STREAMS }, (_, i) => MAX_STREAMS - 1 - i);
  #nextId = 1n;

  private constructor() {
    this.#slots = this.#memory.zeros(FIRST_SLOT + SLOT_BYTES * MAX_STREAMS);
    const count = scratch(8);
    count.words[0] = BigInt(MAX_STREAMS);
    libc().memcpy(this.#slots, count.address, 8n);
  }

  /**
   * Registers the function with a database.
   *
   * @param connection A `duckdb_connection` to it
   * @throws {DipcError} What DuckDB reports
   */
  static async register(library: DuckDbLibrary, connection: bigint): Promise<ScanFunction> {
    const { symbols } = library;
    const code = scanCode(library);
    const made = new ScanFunction();
    using arena = new Arena();
    const fn = symbols.duckdb_create_table_function();
    const type = symbols.duckdb_create_logical_type(DUCKDB_TYPE.bigint);
    try {
      symbols.duckdb_table_function_set_name(fn, arena.text("the name", SCAN_FUNCTION));
      symbols.duckdb_table_function_add_parameter(fn, type);
      symbols.duckdb_table_function_set_extra_info(fn, made.#slots, 0n);
      symbols.duckdb_table_function_set_bind(fn, code.scan_bind);
      symbols.duckdb_table_function_set_init(fn, code.scan_init);
      symbols.duckdb_table_function_set_local_init(fn, code.scan_local_init);
      symbols.duckdb_table_function_set_function(fn, code.scan_rows);
      symbols.duckdb_table_function_supports_projection_pushdown(fn, true);
      const status = await symbols.duckdb_register_table_function(connection, fn);
      if (status !== 0) throw duckDbError("register a stream", "DuckDB does not accept the table function");
      return made;
    } catch (error) {
      made.free();
      throw error;
    } finally {
      destroyBy(symbols.duckdb_destroy_logical_type, type);
      destroyBy(symbols.duckdb_destroy_table_function, fn);
    }
  }

  /**
   * Makes a stream or a table known.
   *
   * @param connectionId The connection that may read it, or {@linkcode ANY_CONNECTION}
   * @param source Address of its `struct source`
   * @returns The argument of the function, and the number of the slot
   * @throws {DipcError} `limit_exceeded`
   */
  add(connectionId: bigint, source: bigint): { readonly id: bigint; readonly slot: number } {
    const slot = this.#free.pop();
    if (slot === undefined) {
      throw new DipcError(
        "limit_exceeded",
        `cannot register a stream: ${MAX_STREAMS} are registered with this database; close one of them`,
      );
    }
    const id = this.#nextId++;
    this.#write(slot, [id, connectionId, source]);
    return { id, slot };
  }

  /** Makes a stream unknown. Within a call of the connection that has registered it. */
  remove(slot: number): void {
    this.#write(slot, [0n, 0n, 0n]);
    this.#free.push(slot);
  }

  /** Frees the slots, after the database was closed. */
  free(): void {
    this.#memory[Symbol.dispose]();
  }

  #write(slot: number, words: readonly bigint[]): void {
    const place = scratch(SLOT_BYTES);
    words.forEach((word, i) => place.words[i] = word);
    libc().memcpy(this.#slots + BigInt(FIRST_SLOT + SLOT_BYTES * slot), place.address, BigInt(SLOT_BYTES));
  }
}
