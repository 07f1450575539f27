/**
 * Gathers chunks whose columns are numbers, times, booleans, decimals and texts: machine code fetches them, and copies their
 * values straight to where they go, on a thread of Deno's pool.
 *
 * The layout of the structures is that of `native/duckdb/gather.c`.
 *
 * @module
 */
import { DUCKDB_TYPE } from "../../ffi/duckdb.ts";
import { libcAddress } from "../../ffi/raw_memory.ts";
import { placed } from "../c_data/native_code.ts";
import { type Scratch, scratch } from "../c_data/raw.ts";
import { DipcError } from "../errors.ts";
import { NodeKind } from "../ipc/buffers.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { hostPool } from "../memory/host_pool.ts";
import { GATHER_MACHINE_CODE } from "./gather_machine_code.ts";
import { batchHeader, type BatchSize, BodyPlaces, type Gatherer, MAX_BATCH_BYTES, MAX_TEXT_BYTES } from "./gatherer.ts";
import { destroyBy, type DuckDbLibrary } from "./library.ts";
import type { NativeResult } from "./result.ts";
import type { DuckDbColumns } from "./schema.ts";

/** How the values of a column are copied. */
const COPY = { fixed: 0, boolean: 1, text: 2, decimal: 3 } as const;

/** A column that machine code can copy. */
interface FlatColumn {
  readonly copy: (typeof COPY)[keyof typeof COPY];
  /** Bytes of a value in DuckDB. */
  readonly width: number;
}

/** Bytes of the types whose values are the same in Arrow. */
const WIDTHS: ReadonlyMap<number, number> = new Map([
  ...[DUCKDB_TYPE.tinyint, DUCKDB_TYPE.utinyint].map((id) => [id, 1] as const),
  ...[DUCKDB_TYPE.smallint, DUCKDB_TYPE.usmallint].map((id) => [id, 2] as const),
  ...[DUCKDB_TYPE.integer, DUCKDB_TYPE.uinteger, DUCKDB_TYPE.float, DUCKDB_TYPE.date].map((id) => [id, 4] as const),
  ...[DUCKDB_TYPE.bigint, DUCKDB_TYPE.ubigint, DUCKDB_TYPE.double, DUCKDB_TYPE.time].map((id) => [id, 8] as const),
  ...[DUCKDB_TYPE.timestamp, DUCKDB_TYPE.timestampS, DUCKDB_TYPE.timestampMs, DUCKDB_TYPE.timestampNs].map((id) =>
    [id, 8] as const
  ),
  ...[DUCKDB_TYPE.timestampTz, DUCKDB_TYPE.timeNs].map((id) => [id, 8] as const),
  [DUCKDB_TYPE.hugeint, 16],
]);

function flatColumn({ symbols }: DuckDbLibrary, type: bigint): FlatColumn | null {
  const id = symbols.duckdb_get_type_id(type);
  const width = WIDTHS.get(id);
  if (width !== undefined) return { copy: COPY.fixed, width };
  if (id === DUCKDB_TYPE.boolean) return { copy: COPY.boolean, width: 1 };
  if (id === DUCKDB_TYPE.varchar || id === DUCKDB_TYPE.blob) return { copy: COPY.text, width: 16 };
  if (id !== DUCKDB_TYPE.decimal) return null;
  const stored = WIDTHS.get(symbols.duckdb_decimal_internal_type(type))!;
  return stored === 16 ? { copy: COPY.fixed, width: 16 } : { copy: COPY.decimal, width: stored };
}

/** Whether the values of a column are laid out in Arrow as machine code writes them. */
function fits({ copy, width }: FlatColumn, kind: NodeKind, bits: number): boolean {
  if (copy === COPY.text) return kind === NodeKind.binary32;
  const expected = copy === COPY.boolean ? 1 : copy === COPY.decimal ? 128 : 8 * width;
  return kind === NodeKind.fixed && bits === expected;
}

/** Extension types whose values are those of their storage. */
const PLAIN_EXTENSIONS: readonly (string | undefined)[] = [undefined, "arrow.json"];

/**
 * What the columns of a result are to machine code.
 *
 * @returns `null` if one of them has to be converted by DuckDB
 */
export function flatColumns(library: DuckDbLibrary, columns: DuckDbColumns, result: NativeResult): FlatColumn[] | null {
  const { layout } = result.schema;
  const found: FlatColumn[] = [];
  // A node for each column: none has children.
  if (layout.plan.nodeCount !== columns.count || result.options.losslessColumns.length > 0) return null;
  for (let i = 0; i < columns.count; i++) {
    const { dictionary, metadata } = layout.fields[i];
    const type = columns.typeOf(i);
    const column = flatColumn(library, type);
    destroyBy(library.symbols.duckdb_destroy_logical_type, type);
    if (column === null || dictionary !== null || !fits(column, layout.plan.kinds[i], layout.plan.bits[i])) return null;
    if (!PLAIN_EXTENSIONS.includes(metadata.get("ARROW:extension:name"))) return null;
    found.push(column);
  }
  return found;
}

// Words of `struct gather`, after the result.
const RESULT = 0, FUNCTIONS = 6, COLUMNS = 13, COLUMN_COUNT = 14, CHUNKS = 15, CHUNK_CAPACITY = 16, MAX_ROWS = 17;
const MAX_BYTES = 18, MAX_TEXT = 19, ROWS = 21, HAS_ENDED = 23, GATHER_WORDS = 25;
// Words of `struct column`.
const KIND = 0, WIDTH = 1, NULLS = 2, TEXT_BYTES = 3, VALIDITY = 4, VALUES = 5, TEXT = 6, COLUMN_WORDS = 8;
/** Most chunks of a batch. */
const MAX_CHUNKS = 8192;

const CALL = { parameters: ["usize"], result: "void" } as const;
const CALL_LATER = { ...CALL, nonblocking: true } as const;

interface Code {
  readonly collect: (gather: bigint) => Promise<void>;
  readonly fill: (gather: bigint) => Promise<void>;
  readonly discard: (gather: bigint) => void;
}

let code: Code | null = null;

function machineCode(): Code {
  if (code !== null) return code;
  const at = placed(GATHER_MACHINE_CODE[Deno.build.arch]);
  const pointer = <T>(address: bigint) => Deno.UnsafePointer.create<T>(address)!;
  const collect = new Deno.UnsafeFnPointer(pointer<typeof CALL_LATER>(at.collect), CALL_LATER);
  const fill = new Deno.UnsafeFnPointer(pointer<typeof CALL_LATER>(at.fill), CALL_LATER);
  const discard = new Deno.UnsafeFnPointer(pointer<typeof CALL>(at.discard), CALL);
  return code = {
    collect: (gather) => collect.call(gather),
    fill: (gather) => fill.call(gather),
    discard: (gather) => discard.call(gather),
  };
}

/** Gathers by machine code. */
export class FlatGatherer implements Gatherer {
  readonly #result: NativeResult;
  readonly #columns: readonly FlatColumn[];
  readonly #code = machineCode();
  readonly #gather: Scratch = scratch(8 * GATHER_WORDS);
  readonly #structs: Scratch;
  readonly #chunks: Scratch;

  constructor(library: DuckDbLibrary, result: NativeResult, columns: readonly FlatColumn[], size: BatchSize) {
    this.#result = result;
    this.#columns = columns;
    this.#structs = scratch(8 * COLUMN_WORDS * columns.length);
    const capacity = Math.min(MAX_CHUNKS, size.rows);
    this.#chunks = scratch(8 * capacity);
    const { words, bytes } = this.#gather;
    bytes.set(result.bytes, 8 * RESULT);
    const at = library.addresses;
    [
      ...[at.duckdb_fetch_chunk, at.duckdb_data_chunk_get_size, at.duckdb_data_chunk_get_vector],
      ...[at.duckdb_vector_get_data, at.duckdb_vector_get_validity, at.duckdb_destroy_data_chunk],
      libcAddress("memcpy"),
    ].forEach((address, i) => words[FUNCTIONS + i] = address);
    words[COLUMNS] = this.#structs.address;
    words[COLUMN_COUNT] = BigInt(columns.length);
    words[CHUNKS] = this.#chunks.address;
    words[CHUNK_CAPACITY] = BigInt(capacity);
    words[MAX_ROWS] = BigInt(size.rows);
    words[MAX_BYTES] = BigInt(Math.min(size.bytes, MAX_BATCH_BYTES));
    words[MAX_TEXT] = BigInt(MAX_TEXT_BYTES);
    columns.forEach(({ copy, width }, i) => {
      this.#structs.words[COLUMN_WORDS * i + KIND] = BigInt(copy);
      this.#structs.words[COLUMN_WORDS * i + WIDTH] = BigInt(width);
    });
  }

  async read(): Promise<IpcMessage[] | null> {
    const { words, address } = this.#gather;
    await this.#code.collect(address);
    if (words[HAS_ENDED] !== 0n) this.#result.checkEnd();
    const rows = Number(words[ROWS]);
    if (rows === 0) return null;
    const places = new BodyPlaces();
    const nodes: number[] = [];
    const parts = this.#columns.map((column, i) => this.#place(column, i, rows, places, nodes));
    const block = hostPool().acquire(places.byteLength);
    try {
      const bytes = block.bytes();
      // Bits are added to what is there.
      for (let i = 0; i < parts.length; i++) {
        const { validity, values } = parts[i];
        if (validity !== null) bytes.fill(0, validity, validity + Math.ceil(rows / 8));
        if (this.#columns[i].copy === COPY.boolean) bytes.fill(0, values, values + Math.ceil(rows / 8));
        this.#point(i, parts[i], block.address);
      }
      places.pad(bytes);
      await this.#code.fill(address);
    } catch (error) {
      block.release();
      throw error;
    }
    const header = batchHeader(this.#result.schema.layout, rows, nodes, places);
    return [{ header, body: block.toBody(places.byteLength) }];
  }

  close(): void {
    this.#code.discard(this.#gather.address);
  }

  /** Makes room for a column. */
  #place({ copy, width }: FlatColumn, index: number, rows: number, places: BodyPlaces, nodes: number[]): ColumnPlaces {
    const at = COLUMN_WORDS * index;
    const nulls = Number(this.#structs.words[at + NULLS]);
    nodes.push(rows, nulls);
    const validity = places.add(nulls === 0 ? 0 : Math.ceil(rows / 8));
    const valueBytes = copy === COPY.boolean
      ? Math.ceil(rows / 8)
      : copy === COPY.text
      ? 4 * (rows + 1)
      : copy === COPY.decimal
      ? 16 * rows
      : width * rows;
    const values = places.add(valueBytes);
    const textBytes = Number(this.#structs.words[at + TEXT_BYTES]);
    if (textBytes > MAX_TEXT_BYTES) throw tooMuchText(this.#result.schema.layout.fields[index].path, textBytes);
    return {
      validity: nulls === 0 ? null : validity,
      values,
      text: copy === COPY.text ? places.add(textBytes) : null,
    };
  }

  #point(index: number, { validity, values, text }: ColumnPlaces, base: bigint): void {
    const at = COLUMN_WORDS * index;
    const { words } = this.#structs;
    words[at + VALIDITY] = validity === null ? 0n : base + BigInt(validity);
    words[at + VALUES] = base + BigInt(values);
    words[at + TEXT] = text === null ? 0n : base + BigInt(text);
  }
}

/** Offsets of the buffers of a column. */
interface ColumnPlaces {
  readonly validity: number | null;
  readonly values: number;
  readonly text: number | null;
}

function tooMuchText(path: string, bytes: number): DipcError {
  return new DipcError(
    "limit_exceeded",
    `cannot convert the rows to Arrow: column ${
      JSON.stringify(path)
    } has ${bytes} bytes in 2048 rows, and its offsets reach to ` +
      `${MAX_TEXT_BYTES}; execute "set arrow_large_buffer_size = true" first`,
  );
}
