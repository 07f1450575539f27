/**
 * DuckDB's C interface: the functions that dipc calls, sizes of its structures, numbers of its types and errors; and how the
 * library is opened. No policy here.
 *
 * The specification is the header `duckdb.h` of DuckDB 1.5.
 *
 * @module
 */

import { keepLoaded } from "./raw_memory.ts";

/** A pointer or a `size_t`. */
const P = "usize";

/** `duckdb_result`, which some functions take by value. */
const RESULT = { struct: [P, P, P, P, P, P] } as const;

/** `duckdb_decimal`: width, scale, and a `duckdb_hugeint` of lower and upper half. */
const DECIMAL = { struct: ["u8", "u8", { struct: ["u64", "i64"] }] } as const;

/** `duckdb_interval`: months, days, microseconds. */
const INTERVAL = { struct: ["i32", "i32", "i64"] } as const;

/** `duckdb_query_progress_type`: percentage, rows processed, rows in all. */
const PROGRESS = { struct: ["f64", "u64", "u64"] } as const;

/** Size of a `duckdb_result` in bytes. */
export const DUCKDB_RESULT_BYTES = 48;

const SYMBOLS = {
  duckdb_library_version: { parameters: [], result: P }, // const char *
  duckdb_free: { parameters: [P], result: "void" },

  // Configuration.
  duckdb_create_config: { parameters: [P /* duckdb_config *out */], result: "i32" },
  duckdb_set_config: {
    parameters: [P, /* config */ P, /* const char *name */ P /* const char *option */],
    result: "i32",
  },
  duckdb_destroy_config: { parameters: [P /* duckdb_config * */], result: "void" },

  // Databases and connections. What may wait for a disk or for DuckDB's threads runs on another thread.
  duckdb_open_ext: {
    parameters: [
      P, // const char *path, NULL for one in memory
      P, // duckdb_database *out
      P, // duckdb_config
      P, // char **out_error, to be freed by duckdb_free
    ],
    result: "i32",
    nonblocking: true,
  },
  duckdb_close: { parameters: [P /* duckdb_database * */], result: "void", nonblocking: true },
  duckdb_connect: { parameters: [P, /* database */ P /* duckdb_connection *out */], result: "i32", nonblocking: true },
  duckdb_disconnect: { parameters: [P /* duckdb_connection * */], result: "void", nonblocking: true },
  // The only functions that may be called while another one of the connection runs.
  duckdb_interrupt: { parameters: [P /* connection */], result: "void" },
  duckdb_query_progress: { parameters: [P /* connection */], result: PROGRESS },
  duckdb_connection_get_arrow_options: {
    parameters: [P, /* connection */ P /* duckdb_arrow_options *out */],
    result: "void",
  },
  duckdb_destroy_arrow_options: { parameters: [P /* duckdb_arrow_options * */], result: "void" },

  // Statements.
  duckdb_query: {
    parameters: [P, /* connection */ P, /* const char *sql */ P /* duckdb_result *out */],
    result: "i32",
    nonblocking: true,
  },
  duckdb_extract_statements: {
    parameters: [P, /* connection */ P, /* const char *sql */ P /* duckdb_extracted_statements *out */],
    result: "u64",
    nonblocking: true,
  },
  duckdb_extract_statements_error: { parameters: [P /* extracted */], result: P },
  duckdb_destroy_extracted: { parameters: [P /* duckdb_extracted_statements * */], result: "void" },
  duckdb_prepare_extracted_statement: {
    parameters: [P, /* connection */ P, /* extracted */ "u64", /* index */ P /* duckdb_prepared_statement *out */],
    result: "i32",
    nonblocking: true,
  },
  duckdb_prepare_error: { parameters: [P /* statement */], result: P },
  duckdb_prepared_statement_type: { parameters: [P /* statement */], result: "i32" }, // duckdb_statement_type
  duckdb_nparams: { parameters: [P /* statement */], result: "u64" },
  // Parameters are counted from 1.
  duckdb_parameter_name: { parameters: [P, /* statement */ "u64" /* parameter */], result: P }, // char *
  duckdb_param_logical_type: { parameters: [P, /* statement */ "u64" /* parameter */], result: P },
  duckdb_bind_null: { parameters: [P, /* statement */ "u64" /* parameter */], result: "i32" },
  duckdb_bind_boolean: { parameters: [P, "u64", "bool"], result: "i32" },
  duckdb_bind_int64: { parameters: [P, "u64", "i64"], result: "i32" },
  duckdb_bind_uint64: { parameters: [P, "u64", "u64"], result: "i32" },
  duckdb_bind_float: { parameters: [P, "u64", "f32"], result: "i32" },
  duckdb_bind_double: { parameters: [P, "u64", "f64"], result: "i32" },
  duckdb_bind_decimal: { parameters: [P, "u64", DECIMAL], result: "i32" },
  duckdb_bind_date: { parameters: [P, "u64", "i32" /* days since 1970 */], result: "i32" },
  duckdb_bind_time: { parameters: [P, "u64", "i64" /* microseconds */], result: "i32" },
  duckdb_bind_timestamp: { parameters: [P, "u64", "i64" /* microseconds since 1970 */], result: "i32" },
  duckdb_bind_timestamp_tz: { parameters: [P, "u64", "i64" /* microseconds since 1970 */], result: "i32" },
  duckdb_bind_interval: { parameters: [P, "u64", INTERVAL], result: "i32" },
  duckdb_bind_varchar_length: { parameters: [P, "u64", "buffer", /* UTF-8 */ "u64" /* bytes */], result: "i32" },
  duckdb_bind_blob: { parameters: [P, "u64", "buffer", "u64" /* bytes */], result: "i32" },
  duckdb_bind_value: { parameters: [P, "u64", P /* duckdb_value */], result: "i32" },
  duckdb_create_timestamp_ns: { parameters: ["i64" /* nanoseconds since 1970 */], result: P },
  duckdb_destroy_value: { parameters: [P /* duckdb_value * */], result: "void" },
  duckdb_destroy_prepare: { parameters: [P /* duckdb_prepared_statement * */], result: "void" },
  duckdb_prepared_statement_column_count: { parameters: [P /* statement */], result: "u64" },
  duckdb_prepared_statement_column_name: { parameters: [P, /* statement */ "u64" /* column */], result: P }, // char *
  duckdb_prepared_statement_column_logical_type: { parameters: [P, /* statement */ "u64" /* column */], result: P },
  duckdb_execute_prepared: {
    parameters: [P, /* statement */ P /* duckdb_result *out */],
    result: "i32",
    nonblocking: true,
  },
  duckdb_execute_prepared_streaming: {
    parameters: [P, /* statement */ P /* duckdb_result *out */],
    result: "i32",
    nonblocking: true,
  },

  // Results.
  duckdb_result_error: { parameters: [P /* duckdb_result * */], result: P },
  duckdb_result_error_type: { parameters: [P /* duckdb_result * */], result: "i32" },
  duckdb_column_count: { parameters: [P /* duckdb_result * */], result: "u64" },
  duckdb_column_name: { parameters: [P, /* duckdb_result * */ "u64" /* column */], result: P },
  duckdb_column_logical_type: { parameters: [P, /* duckdb_result * */ "u64" /* column */], result: P },
  duckdb_row_count: { parameters: [P /* duckdb_result * */], result: "u64" }, // of one that is not streamed
  duckdb_rows_changed: { parameters: [P /* duckdb_result * */], result: "u64" },
  duckdb_destroy_result: { parameters: [P /* duckdb_result * */], result: "void", nonblocking: true },
  duckdb_fetch_chunk: { parameters: [RESULT], result: P, nonblocking: true },
  duckdb_data_chunk_get_size: { parameters: [P /* chunk */], result: "u64" },
  duckdb_destroy_data_chunk: { parameters: [P /* duckdb_data_chunk * */], result: "void" },

  // Table functions. Each callback is a pointer to a function.
  duckdb_create_table_function: { parameters: [], result: P },
  duckdb_table_function_set_name: { parameters: [P, /* function */ P /* const char * */], result: "void" },
  duckdb_table_function_add_parameter: { parameters: [P, /* function */ P /* type */], result: "void" },
  duckdb_table_function_set_extra_info: {
    parameters: [P, /* function */ P, /* void *extra */ P /* destructor, NULL for none */],
    result: "void",
  },
  duckdb_table_function_set_bind: { parameters: [P, /* function */ P /* callback */], result: "void" },
  duckdb_table_function_set_init: { parameters: [P, /* function */ P /* callback */], result: "void" },
  duckdb_table_function_set_local_init: { parameters: [P, /* function */ P /* callback */], result: "void" },
  duckdb_table_function_set_function: { parameters: [P, /* function */ P /* callback */], result: "void" },
  duckdb_table_function_supports_projection_pushdown: { parameters: [P, /* function */ "bool"], result: "void" },
  duckdb_register_table_function: {
    parameters: [P, /* connection */ P /* function */],
    result: "i32",
    nonblocking: true,
  },
  duckdb_destroy_table_function: { parameters: [P /* duckdb_table_function * */], result: "void" },
  duckdb_connection_get_client_context: {
    parameters: [P, /* connection */ P /* duckdb_client_context *out */],
    result: "void",
  },
  duckdb_client_context_get_connection_id: { parameters: [P /* context */], result: "u64" },
  duckdb_destroy_client_context: { parameters: [P /* duckdb_client_context * */], result: "void" },
  duckdb_data_chunk_get_vector: { parameters: [P, /* chunk */ "u64" /* column */], result: P },
  duckdb_vector_get_column_type: { parameters: [P /* vector */], result: P }, // a new duckdb_logical_type

  // Types.
  duckdb_create_logical_type: { parameters: ["i32" /* duckdb_type */], result: P },
  duckdb_get_type_id: { parameters: [P /* type */], result: "i32" },
  duckdb_destroy_logical_type: { parameters: [P /* duckdb_logical_type * */], result: "void" },
  duckdb_decimal_internal_type: { parameters: [P /* type */], result: "i32" }, // duckdb_type
  duckdb_list_type_child_type: { parameters: [P /* type */], result: P },
  duckdb_array_type_child_type: { parameters: [P /* type */], result: P },
  duckdb_map_type_key_type: { parameters: [P /* type */], result: P },
  duckdb_map_type_value_type: { parameters: [P /* type */], result: P },
  duckdb_struct_type_child_count: { parameters: [P /* type */], result: "u64" },
  duckdb_struct_type_child_type: { parameters: [P, /* type */ "u64" /* index */], result: P },
  duckdb_union_type_member_count: { parameters: [P /* type */], result: "u64" },
  duckdb_union_type_member_type: { parameters: [P, /* type */ "u64" /* index */], result: P },

  // Arrow. An error is a duckdb_error_data, NULL if there is none.
  duckdb_to_arrow_schema: {
    parameters: [
      P, // duckdb_arrow_options
      P, // duckdb_logical_type *types
      P, // const char **names
      "u64", // column count
      P, // struct ArrowSchema *out
    ],
    result: P,
  },
  duckdb_data_chunk_to_arrow: {
    parameters: [P, /* duckdb_arrow_options */ P, /* chunk */ P /* struct ArrowArray *out */],
    result: P,
  },
  duckdb_schema_from_arrow: {
    parameters: [P, /* connection */ P, /* struct ArrowSchema * */ P /* duckdb_arrow_converted_schema *out */],
    result: P,
  },
  duckdb_data_chunk_from_arrow: {
    parameters: [
      P, // connection
      P, // struct ArrowArray *
      P, // duckdb_arrow_converted_schema
      P, // duckdb_data_chunk *out
    ],
    result: P,
  },
  duckdb_destroy_arrow_converted_schema: {
    parameters: [P /* duckdb_arrow_converted_schema * */],
    result: "void",
  },
  duckdb_error_data_message: { parameters: [P /* error */], result: P },
  duckdb_error_data_error_type: { parameters: [P /* error */], result: "i32" },
  duckdb_destroy_error_data: { parameters: [P /* duckdb_error_data * */], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Functions that machine code calls by their addresses. */
const ADDRESSES = [
  ...["duckdb_fetch_chunk", "duckdb_data_chunk_get_size", "duckdb_data_chunk_get_vector"] as const,
  ...["duckdb_vector_get_data", "duckdb_vector_get_validity", "duckdb_destroy_data_chunk"] as const,
  ...["duckdb_is_null_value", "duckdb_bind_set_cardinality"] as const,
  ...["duckdb_bind_get_parameter", "duckdb_get_int64", "duckdb_destroy_value", "duckdb_bind_get_extra_info"] as const,
  ...["duckdb_table_function_get_client_context", "duckdb_client_context_get_connection_id"] as const,
  ...["duckdb_destroy_client_context", "duckdb_bind_add_result_column", "duckdb_bind_set_bind_data"] as const,
  ...["duckdb_bind_set_error", "duckdb_init_get_bind_data", "duckdb_init_get_column_count"] as const,
  ...["duckdb_init_get_column_index", "duckdb_init_set_init_data", "duckdb_init_set_max_threads"] as const,
  ...["duckdb_init_set_error", "duckdb_function_get_bind_data", "duckdb_function_get_init_data"] as const,
  ...["duckdb_function_get_local_init_data", "duckdb_function_set_error", "duckdb_data_chunk_set_size"] as const,
  ...["duckdb_vector_reference_vector", "duckdb_data_chunk_from_arrow", "duckdb_error_data_message"] as const,
  ...["duckdb_destroy_error_data"] as const,
];

/** Addresses of functions, by their names. */
export type DuckDbAddresses = Readonly<Record<(typeof ADDRESSES)[number], bigint>>;

/** The functions. */
export type DuckDbSymbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** `duckdb_type`: the types whose values or parts dipc has to know. */
export const DUCKDB_TYPE = {
  ...{ list: 24, struct: 25, map: 26, union: 28, array: 33 },
  ...{ boolean: 1, tinyint: 2, smallint: 3, integer: 4, bigint: 5, utinyint: 6, usmallint: 7, uinteger: 8, ubigint: 9 },
  ...{ float: 10, double: 11, timestamp: 12, date: 13, time: 14, hugeint: 16, varchar: 17, blob: 18, decimal: 19 },
  ...{ timestampS: 20, timestampMs: 21, timestampNs: 22, timestampTz: 31, timeNs: 39, uuid: 27 },
  ...{ uhugeint: 32, bit: 29, timeTz: 30, enum: 23, sqlNull: 36 },
  /** Types that depend on values. */
  ...{ invalid: 0, any: 34 },
} as const;

/** `duckdb_statement_type`: those that have a meaning of their own here. */
export const DUCKDB_STATEMENT = {
  ...{ select: 1, insert: 2, update: 3, explain: 4, delete: 5, create: 7, alter: 9, transaction: 10, analyze: 12 },
  ...{ createFunction: 14, drop: 15, vacuum: 18, relation: 22, mergeInto: 30 },
} as const;

/** `duckdb_error_type`, by number. */
export const DUCKDB_ERROR_TYPES = [
  ...["INVALID", "OUT_OF_RANGE", "CONVERSION", "UNKNOWN_TYPE", "DECIMAL", "MISMATCH_TYPE", "DIVIDE_BY_ZERO"],
  ...["OBJECT_SIZE", "INVALID_TYPE", "SERIALIZATION", "TRANSACTION", "NOT_IMPLEMENTED", "EXPRESSION", "CATALOG"],
  ...["PARSER", "PLANNER", "SCHEDULER", "EXECUTOR", "CONSTRAINT", "INDEX", "STAT", "CONNECTION", "SYNTAX", "SETTINGS"],
  ...["BINDER", "NETWORK", "OPTIMIZER", "NULL_POINTER", "IO", "INTERRUPT", "FATAL", "INTERNAL", "INVALID_INPUT"],
  ...["OUT_OF_MEMORY", "PERMISSION", "PARAMETER_NOT_RESOLVED", "PARAMETER_NOT_ALLOWED", "DEPENDENCY", "HTTP"],
  ...["MISSING_EXTENSION", "AUTOLOAD", "SEQUENCE", "INVALID_CONFIGURATION"],
] as const;

/**
 * Opens the library. It is never closed, not even at the end of a web worker: its threads, and memory that it has handed out, may
 * outlive every use of it.
 *
 * @param path Its path
 * @throws What `Deno.dlopen` throws
 */
export function openDuckDbLibrary(
  path: string,
): { readonly symbols: DuckDbSymbols; readonly addresses: DuckDbAddresses } {
  const { symbols } = Deno.dlopen(path, SYMBOLS);
  keepLoaded(path);
  const found = Deno.dlopen(path, Object.fromEntries(ADDRESSES.map((name) => [name, { type: "pointer" }]))).symbols;
  const addresses = Object.entries(found).map(([name, pointer]) => [name, BigInt(Deno.UnsafePointer.value(pointer))]);
  return { symbols, addresses: Object.fromEntries(addresses) as DuckDbAddresses };
}
