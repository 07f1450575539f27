/**
 * The Arrow schema of a result: DuckDB's own, and which columns need its lossless types.
 *
 * @module
 */
import { DUCKDB_TYPE } from "../../ffi/duckdb.ts";
import { libc } from "../../ffi/libc.ts";
import { Arena } from "../c_data/arena.ts";
import { scratch } from "../c_data/raw.ts";
import { C_LAYOUT, CStruct } from "../c_data/structs.ts";
import { readSchema } from "../c_data/schema_in.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import { checkErrorData, destroyBy, type DuckDbLibrary, wordAt } from "./library.ts";

/** The columns of a statement or of a result. */
export interface DuckDbColumns {
  readonly count: number;
  /** A new `duckdb_logical_type`, which the caller destroys. */
  typeOf(column: number): bigint;
  /** The name, which stays valid while the columns are used. */
  nameOf(column: number): bigint;
  /** Frees a name, if it has to be freed. */
  freeName(name: bigint): void;
}

/** Columns of a prepared statement. @param statement A `duckdb_prepared_statement` */
export function statementColumns({ symbols }: DuckDbLibrary, statement: bigint): DuckDbColumns {
  return {
    count: Number(symbols.duckdb_prepared_statement_column_count(statement)),
    typeOf: (column) => symbols.duckdb_prepared_statement_column_logical_type(statement, BigInt(column)),
    nameOf: (column) => symbols.duckdb_prepared_statement_column_name(statement, BigInt(column)),
    freeName: (name) => symbols.duckdb_free(name),
  };
}

/** Columns of a result. @param result Address of a `duckdb_result` */
export function resultColumns({ symbols }: DuckDbLibrary, result: bigint): DuckDbColumns {
  return {
    count: Number(symbols.duckdb_column_count(result)),
    typeOf: (column) => symbols.duckdb_column_logical_type(result, BigInt(column)),
    nameOf: (column) => symbols.duckdb_column_name(result, BigInt(column)),
    freeName: () => {},
  };
}

/** Types whose values DuckDB changes when it converts them to Arrow, unless it is set to be lossless. */
const CHANGED: ReadonlySet<number> = new Set([DUCKDB_TYPE.uhugeint, DUCKDB_TYPE.timeTz, DUCKDB_TYPE.bit]);

/** The columns with a type, at any depth, whose values would be changed. */
export function changedColumns(library: DuckDbLibrary, columns: DuckDbColumns): number[] {
  const found: number[] = [];
  for (let column = 0; column < columns.count; column++) {
    if (isChanged(library, columns.typeOf(column))) found.push(column);
  }
  return found;
}

/** Whether a type is, or contains, one whose values would be changed. Destroys it. */
function isChanged(library: DuckDbLibrary, type: bigint): boolean {
  const { symbols } = library;
  const count = (count: bigint, child: (type: bigint, index: bigint) => bigint): boolean =>
    Array.from({ length: Number(count) }, (_, i) => BigInt(i)).some((i) => isChanged(library, child(type, i)));
  try {
    const id = symbols.duckdb_get_type_id(type);
    if (CHANGED.has(id)) return true;
    switch (id) {
      case DUCKDB_TYPE.list:
        return isChanged(library, symbols.duckdb_list_type_child_type(type));
      case DUCKDB_TYPE.array:
        return isChanged(library, symbols.duckdb_array_type_child_type(type));
      case DUCKDB_TYPE.map:
        return isChanged(library, symbols.duckdb_map_type_key_type(type)) ||
          isChanged(library, symbols.duckdb_map_type_value_type(type));
      case DUCKDB_TYPE.struct:
        return count(symbols.duckdb_struct_type_child_count(type), symbols.duckdb_struct_type_child_type);
      case DUCKDB_TYPE.union:
        return count(symbols.duckdb_union_type_member_count(type), symbols.duckdb_union_type_member_type);
      default:
        return false;
    }
  } finally {
    destroyBy(symbols.duckdb_destroy_logical_type, type);
  }
}

/** How values are converted: DuckDB's settings for Arrow. */
export interface ArrowOptions {
  /** A `duckdb_arrow_options`. */
  readonly usual: bigint;
  /** The same for the columns whose values would be changed otherwise; 0 without such columns. */
  readonly lossless: bigint;
  readonly losslessColumns: readonly number[];
}

/** Destroys the options. */
export function destroyOptions({ symbols }: DuckDbLibrary, { usual, lossless }: ArrowOptions): void {
  destroyBy(symbols.duckdb_destroy_arrow_options, usual);
  destroyBy(symbols.duckdb_destroy_arrow_options, lossless);
}

/**
 * The schema message of columns.
 *
 * @throws {DipcError} `unsupported` for a type that DuckDB does not convert to Arrow
 */
export function arrowSchemaOf(library: DuckDbLibrary, columns: DuckDbColumns, options: ArrowOptions): VerifiedHeader {
  using arena = new Arena();
  const types: bigint[] = [], names: bigint[] = [];
  try {
    for (let column = 0; column < columns.count; column++) {
      types.push(columns.typeOf(column));
      names.push(columns.nameOf(column));
    }
    const typeList = arena.words(types), nameList = arena.words(names);
    const fill = (options: bigint, out: bigint): void => {
      const { duckdb_to_arrow_schema } = library.symbols;
      const error = duckdb_to_arrow_schema(options, typeList, nameList, BigInt(types.length), out);
      checkErrorData(library, error, "read the schema of the result");
    };
    return convertWith("ArrowSchema", options, fill, readSchema);
  } finally {
    for (const type of types) destroyBy(library.symbols.duckdb_destroy_logical_type, type);
    for (const name of names) columns.freeName(name);
  }
}

/**
 * Has DuckDB fill a structure: once, or twice if some columns need the lossless options, which then take their place in the first.
 *
 * @param name Which structure
 * @param options How values are converted
 * @param fill Fills the one at an address as options say
 * @param use Reads or takes the structure at an address
 */
export function convertWith<T>(
  name: "ArrowSchema" | "ArrowArray",
  { usual, lossless, losslessColumns }: ArrowOptions,
  fill: (options: bigint, out: bigint) => void,
  use: (address: bigint) => T,
): T {
  using all = new CStruct(name);
  fill(usual, all.address);
  using changed = new CStruct(name);
  if (losslessColumns.length > 0) {
    fill(lossless, changed.address);
    swapChildren(name, all.address, changed.address, losslessColumns);
  }
  return use(all.address);
}

/**
 * Exchanges some children of two structures. A child is moved with its release callback; the place where it is belongs to its
 * parent, so that both parents have to stay while they are used.
 */
function swapChildren(
  name: "ArrowSchema" | "ArrowArray",
  one: bigint,
  other: bigint,
  indices: readonly number[],
): void {
  const { children, size } = C_LAYOUT[name];
  const [ofOne, ofOther] = [wordAt(one + BigInt(children)), wordAt(other + BigInt(children))];
  const { memcpy } = libc();
  const kept = scratch(size);
  for (const index of indices) {
    const place = BigInt(8 * index);
    const [a, b] = [wordAt(ofOne + place), wordAt(ofOther + place)];
    memcpy(kept.address, a, BigInt(size));
    memcpy(a, b, BigInt(size));
    memcpy(b, kept.address, BigInt(size));
  }
}
