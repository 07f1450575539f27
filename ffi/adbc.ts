/**
 * The ABI of ADBC 1.1.0: layouts of its structures on 64-bit systems, functions of a driver, names of statuses; and how the shared
 * object of a driver is opened. No policy here.
 *
 * The specification is the header `arrow-adbc/adbc.h`; `native/adbc/layout.c` checks every offset against it.
 *
 * @module
 */

import { keepLoaded } from "./raw_memory.ts";

/** A pointer or a `size_t`. */
const P = "usize";

/**
 * Parameters of the functions of a driver, in the order in which `struct AdbcDriver` has them. All return an `AdbcStatusCode`, and
 * have a last parameter `struct AdbcError *`, which is left out here.
 */
const FUNCTIONS_1_0 = {
  DatabaseInit: [P /* database */],
  DatabaseNew: [P /* database */],
  DatabaseSetOption: [P, /* database */ P, /* const char *key */ P /* const char *value */],
  DatabaseRelease: [P /* database */],
  ConnectionCommit: [P /* connection */],
  ConnectionGetInfo: [P, /* connection */ P, /* const uint32_t *codes */ P, /* size_t */ P /* ArrowArrayStream *out */],
  ConnectionGetObjects: [
    P, // connection
    "i32", // int depth
    P, // const char *catalog
    P, // const char *db_schema
    P, // const char *table_name
    P, // const char **table_type
    P, // const char *column_name
    P, // ArrowArrayStream *out
  ],
  ConnectionGetTableSchema: [
    P, // connection
    P, // const char *catalog
    P, // const char *db_schema
    P, // const char *table_name
    P, // ArrowSchema *out
  ],
  ConnectionGetTableTypes: [P, /* connection */ P /* ArrowArrayStream *out */],
  ConnectionInit: [P, /* connection */ P /* database */],
  ConnectionNew: [P /* connection */],
  ConnectionSetOption: [P, /* connection */ P, /* const char *key */ P /* const char *value */],
  ConnectionReadPartition: [P, /* connection */ P, /* const uint8_t * */ P, /* size_t */ P /* ArrowArrayStream *out */],
  ConnectionRelease: [P /* connection */],
  ConnectionRollback: [P /* connection */],
  StatementBind: [P, /* statement */ P, /* ArrowArray *values */ P /* ArrowSchema *schema */],
  StatementBindStream: [P, /* statement */ P /* ArrowArrayStream *values */],
  StatementExecuteQuery: [P, /* statement */ P, /* ArrowArrayStream *out */ P /* int64_t *rows_affected */],
  StatementExecutePartitions: [
    P, // statement
    P, // ArrowSchema *schema
    P, // AdbcPartitions *partitions
    P, // int64_t *rows_affected
  ],
  StatementGetParameterSchema: [P, /* statement */ P /* ArrowSchema *out */],
  StatementNew: [P, /* connection */ P /* statement */],
  StatementPrepare: [P /* statement */],
  StatementRelease: [P /* statement */],
  StatementSetOption: [P, /* statement */ P, /* const char *key */ P /* const char *value */],
  StatementSetSqlQuery: [P, /* statement */ P /* const char *query */],
  StatementSetSubstraitPlan: [P, /* statement */ P, /* const uint8_t *plan */ P /* size_t */],
} as const satisfies Record<string, readonly Deno.NativeType[]>;

/** Further ones of ADBC 1.1.0, after three that return no status. */
const FUNCTIONS_1_1 = {
  DatabaseGetOption: [P, /* database */ P, /* const char *key */ P, /* char *value */ P /* size_t *length */],
  DatabaseGetOptionBytes: [P, /* database */ P, /* const char *key */ P, /* uint8_t *value */ P /* size_t *length */],
  DatabaseGetOptionDouble: [P, /* database */ P, /* const char *key */ P /* double *value */],
  DatabaseGetOptionInt: [P, /* database */ P, /* const char *key */ P /* int64_t *value */],
  DatabaseSetOptionBytes: [P, /* database */ P, /* const char *key */ P, /* const uint8_t *value */ P /* size_t */],
  DatabaseSetOptionDouble: [P, /* database */ P, /* const char *key */ "f64" /* double value */],
  DatabaseSetOptionInt: [P, /* database */ P, /* const char *key */ "i64" /* int64_t value */],
  ConnectionCancel: [P /* connection */],
  ConnectionGetOption: [P, /* connection */ P, /* const char *key */ P, /* char *value */ P /* size_t *length */],
  ConnectionGetOptionBytes: [P, /* connection */ P, /* const char *key */ P, /* uint8_t *value */ P /* size_t * */],
  ConnectionGetOptionDouble: [P, /* connection */ P, /* const char *key */ P /* double *value */],
  ConnectionGetOptionInt: [P, /* connection */ P, /* const char *key */ P /* int64_t *value */],
  ConnectionGetStatistics: [
    P, // connection
    P, // const char *catalog
    P, // const char *db_schema
    P, // const char *table_name
    "i8", // char approximate
    P, // ArrowArrayStream *out
  ],
  ConnectionGetStatisticNames: [P, /* connection */ P /* ArrowArrayStream *out */],
  ConnectionSetOptionBytes: [P, /* connection */ P, /* const char *key */ P, /* const uint8_t *value */ P /* size_t */],
  ConnectionSetOptionDouble: [P, /* connection */ P, /* const char *key */ "f64" /* double value */],
  ConnectionSetOptionInt: [P, /* connection */ P, /* const char *key */ "i64" /* int64_t value */],
  StatementCancel: [P /* statement */],
  StatementExecuteSchema: [P, /* statement */ P /* ArrowSchema *out */],
  StatementGetOption: [P, /* statement */ P, /* const char *key */ P, /* char *value */ P /* size_t *length */],
  StatementGetOptionBytes: [P, /* statement */ P, /* const char *key */ P, /* uint8_t *value */ P /* size_t *length */],
  StatementGetOptionDouble: [P, /* statement */ P, /* const char *key */ P /* double *value */],
  StatementGetOptionInt: [P, /* statement */ P, /* const char *key */ P /* int64_t *value */],
  StatementSetOptionBytes: [P, /* statement */ P, /* const char *key */ P, /* const uint8_t *value */ P /* size_t */],
  StatementSetOptionDouble: [P, /* statement */ P, /* const char *key */ "f64" /* double value */],
  StatementSetOptionInt: [P, /* statement */ P, /* const char *key */ "i64" /* int64_t value */],
} as const satisfies Record<string, readonly Deno.NativeType[]>;

/** Every function of a driver that returns a status, with its parameters before the last one. */
export const ADBC_FUNCTIONS = { ...FUNCTIONS_1_0, ...FUNCTIONS_1_1 } as const;

/** Name of a function of a driver that returns a status. */
export type AdbcFunctionName = keyof typeof ADBC_FUNCTIONS;

/** The functions that return no status. */
export const ADBC_ERROR_FUNCTIONS = {
  // const struct AdbcError *error
  ErrorGetDetailCount: { parameters: [P], result: "i32" },
  // const struct AdbcError *error, int index; returns struct AdbcErrorDetail { key, value, value_length }
  ErrorGetDetail: { parameters: [P, "i32"], result: { struct: [P, P, P] } },
  // struct ArrowArrayStream *stream, AdbcStatusCode *status; returns const struct AdbcError *
  ErrorFromArrayStream: { parameters: [P, P], result: P },
} as const satisfies Record<string, Deno.ForeignFunction>;

/** `int (*)(int version, void *driver, struct AdbcError *error)`: the entry point of a driver. */
const INIT = { parameters: ["i32", P, P], result: "u8", nonblocking: true } as const;

/** Offsets of the function pointers: after `private_data`, `private_manager` and `release`, each 8 bytes. */
function driverOffsets(): Readonly<Record<string, number>> {
  const names = ["private_data", "private_manager", "release"];
  names.push(...Object.keys(FUNCTIONS_1_0), ...Object.keys(ADBC_ERROR_FUNCTIONS), ...Object.keys(FUNCTIONS_1_1));
  return { ...Object.fromEntries(names.map((name, i) => [name, 8 * i])), size: 8 * names.length };
}

/** Sizes and byte offsets, by the C names of the structures and fields. */
export const ADBC_LAYOUT = {
  AdbcError: {
    ...{ size: 48, message: 0, vendor_code: 8, sqlstate: 12, release: 24, private_data: 32, private_driver: 40 },
  },
  AdbcErrorDetail: { size: 24, key: 0, value: 8, value_length: 16 },
  AdbcDatabase: { size: 16, private_data: 0, private_driver: 8 },
  AdbcConnection: { size: 16, private_data: 0, private_driver: 8 },
  AdbcStatement: { size: 16, private_data: 0, private_driver: 8 },
  AdbcPartitions: { size: 40, num_partitions: 0, partitions: 8, partition_lengths: 16, private_data: 24, release: 32 },
  AdbcDriver: driverOffsets() as Readonly<
    Record<AdbcFunctionName | keyof typeof ADBC_ERROR_FUNCTIONS | "private_manager" | "release" | "size", number>
  >,
} as const;

/** Values for `version` of the entry point: the revisions of ADBC. */
export const ADBC_VERSIONS = { "1.1.0": 1_001_000, "1.0.0": 1_000_000 } as const;

/** `ADBC_ERROR_VENDOR_CODE_PRIVATE_DATA`: the error has the fields of ADBC 1.1.0. */
export const ADBC_VENDOR_CODE_PRIVATE_DATA: number = -(2 ** 31);

/** Names of statuses, by number. */
export const ADBC_STATUS = [
  "OK",
  "UNKNOWN",
  "NOT_IMPLEMENTED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "INVALID_ARGUMENT",
  "INVALID_STATE",
  "INVALID_DATA",
  "INTEGRITY",
  "INTERNAL",
  "IO",
  "CANCELLED",
  "TIMEOUT",
  "UNAUTHENTICATED",
  "UNAUTHORIZED",
] as const;

/** The entry point of a driver. Runs on another thread. */
export type AdbcInit = (version: number, driver: bigint, error: bigint) => Promise<number>;

/**
 * Opens the shared object of a driver. It is never closed, not even at the end of a web worker: calls that are under way, what its
 * runtime has started, and memory that it has handed out may outlive every use of it.
 *
 * @param path Its path, or a name for the system's loader
 * @param symbols Names of entry points, the first of which that it has is taken
 * @returns The entry point, or `null` if it has none of them
 * @throws What `Deno.dlopen` throws
 */
export function openAdbcLibrary(path: string, symbols: readonly string[]): AdbcInit | null {
  // A missing function would not be null if it is nonblocking.
  const address = { type: "pointer", optional: true } as const;
  const { symbols: found } = Deno.dlopen(path, Object.fromEntries(symbols.map((name) => [name, address])));
  keepLoaded(path);
  for (const name of symbols) {
    const pointer = found[name];
    if (pointer === null) continue;
    const init = new Deno.UnsafeFnPointer(pointer as Deno.PointerObject<typeof INIT>, INIT);
    return (version, driver, error) => init.call(version, driver, error);
  }
  return null;
}
