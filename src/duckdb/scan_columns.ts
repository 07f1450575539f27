/**
 * What DuckDB makes of an Arrow schema: the type of each column, and how it converts the column's values.
 *
 * @module
 */
import { Arena, copyOf } from "../c_data/arena.ts";
import { exportShape } from "../c_data/export_shape.ts";
import type { ArrayNumbers } from "../c_data/numbers.ts";
import { type Scratch, scratch } from "../c_data/raw.ts";
import { exportLayout } from "../c_data/schema_out.ts";
import { C_LAYOUT, CStruct } from "../c_data/structs.ts";
import { libc } from "../../ffi/libc.ts";
import { DipcError } from "../errors.ts";
import type { FieldLayout, NodePlan, SchemaLayout } from "../ipc/layout.ts";
import { quoted } from "../ipc/quote.ts";
import { uniqueNames } from "./column_names.ts";
import { checkErrorData, destroyBy, type DuckDbLibrary, wordAt } from "./library.ts";

/** The columns of a schema, as DuckDB sees them. */
export class ScanColumns implements Disposable {
  /** A `duckdb_logical_type` of each. */
  readonly types: bigint[] = [];
  /** A `duckdb_arrow_converted_schema` of each. */
  readonly schemas: bigint[] = [];
  /** Names, each once: DuckDB does not distinguish upper and lower case. */
  readonly names: readonly string[];
  readonly #library: DuckDbLibrary;

  /**
   * @param library DuckDB
   * @param connection A `duckdb_connection`
   * @param layout The schema
   * @throws {DipcError} `unsupported`, naming the column, for a type that DuckDB does not have
   */
  constructor(library: DuckDbLibrary, connection: bigint, layout: SchemaLayout) {
    this.#library = library;
    if (layout.fields.length === 0) {
      throw new DipcError(
        "unsupported",
        "cannot register the stream: it has no columns, and a table of DuckDB needs one",
      );
    }
    this.names = uniqueNames(layout.fields.map(({ path }) => path));
    try {
      using schema = new CStruct("ArrowSchema");
      exportLayout(layout, schema.address);
      using empty = new CStruct("ArrowArray");
      exportShape(layout).export(
        {
          batch: noRows(layout.plan),
          dictionary: (id) => noRows(layout.dictionaries.get(id)!.plan),
        },
        empty.address,
        () => {},
      );
      const count = layout.fields.length;
      const schemas = new SingleChild("ArrowSchema", schema.address, count);
      const rows = new SingleChild("ArrowArray", empty.address, count);
      using arena = new Arena();
      const out = arena.zeros(8), chunk = arena.zeros(8);
      const add = (column: number): void => {
        const action = "have DuckDB read its type";
        const { symbols } = library;
        checkErrorData(library, symbols.duckdb_schema_from_arrow(connection, schemas.of(column), out), action);
        const converted = wordAt(out);
        this.schemas.push(converted);
        const error = symbols.duckdb_data_chunk_from_arrow(connection, rows.of(column), converted, chunk);
        checkErrorData(library, error, action);
        const vector = symbols.duckdb_data_chunk_get_vector(wordAt(chunk), 0n);
        this.types.push(symbols.duckdb_vector_get_column_type(vector));
        symbols.duckdb_destroy_data_chunk(chunk);
      };
      layout.fields.forEach((field, i) => {
        checkInside(field.path, field);
        try {
          add(i);
        } catch (error) {
          if (!(error instanceof DipcError)) throw error;
          const reason = error.foreign?.text ?? error.message;
          throw new DipcError(
            "unsupported",
            `cannot register the stream: DuckDB does not read column ${
              quoted(field.path)
            }: ${reason}; leave the column out`,
            { cause: error },
          );
        }
      });
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Destroys what DuckDB has made. Idempotent. */
  [Symbol.dispose](): void {
    const { symbols } = this.#library;
    for (const type of this.types.splice(0)) destroyBy(symbols.duckdb_destroy_logical_type, type);
    for (const schema of this.schemas.splice(0)) destroyBy(symbols.duckdb_destroy_arrow_converted_schema, schema);
  }
}

/** Structures with one child of another one, which keeps it: the same memory for each. */
class SingleChild {
  readonly #memory: Scratch;
  readonly #struct: BigUint64Array;
  readonly #children: BigUint64Array;

  constructor(name: "ArrowSchema" | "ArrowArray", address: bigint, count: number) {
    const at = C_LAYOUT[name];
    this.#memory = scratch(at.size + 8);
    libc().memcpy(this.#memory.address, address, BigInt(at.size));
    this.#struct = this.#memory.words.slice(0, at.size / 8);
    this.#struct[at.n_children / 8] = 1n;
    this.#struct[at.children / 8] = this.#memory.address + BigInt(at.size);
    // What takes it over finds nothing to release.
    if (name === "ArrowArray") this.#struct[C_LAYOUT.ArrowArray.release / 8] = 0n;
    this.#children = new BigUint64Array(copyOf(wordAt(address + BigInt(at.children)), 8 * count).buffer);
  }

  /** Address of the structure with the child at an index, until the next call. */
  of(child: number): bigint {
    const { words, address } = this.#memory;
    words.set(this.#struct);
    words[this.#struct.length] = this.#children[child];
    return address;
  }
}

/** Refuses what DuckDB would read wrongly: it takes the type ids of a union for positions, and inner dictionaries for numbers. */
function checkInside(column: string, { type, children }: FieldLayout): void {
  const refuse = (what: string): DipcError =>
    new DipcError(
      "unsupported",
      `cannot register the stream: DuckDB does not read column ${quoted(column)}: ${what}; leave the column out`,
    );
  if (type.id === "union" && type.typeIds.some((id, i) => id !== i)) {
    throw refuse("the type ids of a union are not 0, 1, 2, …");
  }
  for (const child of children) {
    if (child.dictionary !== null) throw refuse("it has a dictionary inside");
    checkInside(column, child);
  }
}

function noRows(plan: NodePlan): ArrayNumbers {
  const buffers = plan.bufferCounts[5];
  return {
    rows: 0,
    nodes: new Float64Array(2 * plan.nodeCount),
    buffers: new Float64Array(2 * buffers),
    at: new Float64Array(buffers),
    variadicCounts: new Float64Array(plan.viewCount),
    bodyLength: 0,
    changes: null,
    leads: null,
  };
}
