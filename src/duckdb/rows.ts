/**
 * Reads the rows of a result straight from DuckDB's vectors into the buffers of Arrow batches, by machine code on other threads: for
 * columns of flat types, and many times faster than by DuckDB's own conversion of each 2,048 rows.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { CallMemory, callPointerLater, libcAddress } from "../../ffi/raw_memory.ts";
import { Arena } from "../c_data/arena.ts";
import { placed } from "../c_data/native_code.ts";
import { scratch } from "../c_data/raw.ts";
import { DipcError } from "../errors.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { hostPool } from "../memory/host_pool.ts";
import { batchHeader, type BatchSize, BodyPlaces, MAX_BATCH_BYTES, MAX_TEXT_BYTES } from "./gatherer.ts";
import type { NativeResult } from "./result.ts";
import { ROWS_MACHINE_CODE } from "./rows_machine_code.ts";

/** What becomes of the values of a column: `enum kind` of `native/duckdb/rows.c`. */
export const RowKind = {
  fixed: 0,
  bits: 1,
  text32: 2,
  text64: 3,
  bytes: 4,
  decimal: 5,
  thousandth32: 6,
  thousandth64: 7,
  uuid: 8,
} as const;

/** How a column is read. */
export interface RowColumn {
  readonly kind: (typeof RowKind)[keyof typeof RowKind];
  /** Bytes of a value in DuckDB's vector; of `bytes` those of each value. */
  readonly width: number;
  /** Bytes of a value in the batch; 0 for bits and text. */
  readonly outWidth: number;
}

/** Words of `struct rows` before the columns, of a `struct column`, and where in them each field is. */
const AT = {
  result: 7,
  chunks: 13,
  chunkCount: 14,
  waiting: 16,
  wanted: 17,
  hasEnded: 18,
  misfit: 19,
  maxRows: 20,
  maxBytes: 21,
  maxChunks: 22,
  columnCount: 23,
};
const HEAD_WORDS = 24;
const COLUMN = { words: 9, kind: 0, width: 1, validity: 2, offsets: 3, data: 4, textBytes: 5, nulls: 6 };
/** Bytes after a text that are written to. */
const TEXT_SLACK = 12;

type RowFunction = keyof (typeof ROWS_MACHINE_CODE)["x86_64"]["functions"];
let code: Readonly<Record<RowFunction, bigint>> | null = null;

const TEXT_KINDS: readonly number[] = [RowKind.text32, RowKind.text64];
/** Kinds whose values are added to zeros. */
const SPARSE_KINDS: readonly number[] = [RowKind.bits, RowKind.bytes, RowKind.uuid];

/** The rows of one result. Its calls come one after another, within calls of the connection. */
export class RowReader {
  readonly #result: NativeResult;
  readonly #schema: VerifiedHeader;
  readonly #columns: readonly RowColumn[];
  /** A `struct rows`, which calls on other threads use. */
  readonly #rows: CallMemory;
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #arena = new Arena();
  readonly #code: Readonly<Record<RowFunction, bigint>>;

  /**
   * @param result The result, of which nothing was fetched but its first chunk
   * @param schema The schema message of the batches
   * @param columns How each column is read, one or more
   * @param maxChunks Most chunks that are held
   * @throws {DipcError} `permission_denied` if the system allows no executable memory; `out_of_memory`
   */
  constructor(result: NativeResult, schema: VerifiedHeader, columns: readonly RowColumn[], maxChunks: number) {
    this.#code = code ??= placed(ROWS_MACHINE_CODE[Deno.build.arch]);
    this.#result = result;
    this.#schema = schema;
    this.#columns = columns;
    this.#rows = new CallMemory(8 * (HEAD_WORDS + COLUMN.words * columns.length));
    const words = this.#words = new BigUint64Array(this.#rows.bytes.buffer);
    const { addresses } = result.connection.library;
    words.set([
      ...[addresses.duckdb_fetch_chunk, addresses.duckdb_data_chunk_get_size, addresses.duckdb_data_chunk_get_vector],
      ...[addresses.duckdb_vector_get_data, addresses.duckdb_vector_get_validity, addresses.duckdb_destroy_data_chunk],
      libcAddress("memcpy"),
    ]);
    this.#rows.bytes.set(result.bytes, 8 * AT.result);
    words[AT.chunks] = this.#arena.zeros(8 * maxChunks);
    words[AT.maxChunks] = BigInt(maxChunks);
    words[AT.columnCount] = BigInt(columns.length);
    columns.forEach(({ kind, width }, i) => {
      const at = HEAD_WORDS + COLUMN.words * i;
      words[at + COLUMN.kind] = BigInt(kind);
      words[at + COLUMN.width] = BigInt(width);
    });
    this.#takeFirst();
  }

  #takeFirst(): void {
    const words = this.#words;
    const { connection: { library: { symbols } }, hasEnded } = this.#result;
    words[AT.hasEnded] = hasEnded ? 1n : 0n;
    const chunk = this.#result.takeFirst();
    if (chunk === 0n) return;
    const place = scratch(8);
    place.words[0] = chunk;
    libc().memcpy(words[AT.chunks], place.address, 8n);
    words[AT.chunkCount] = 1n;
    words[AT.waiting] = symbols.duckdb_data_chunk_get_size(chunk);
  }

  /**
   * The next rows.
   *
   * @param rows Their number, 1 or more, and less than the chunks that may be held
   * @returns The batch; `null` if there are fewer
   * @throws {DipcError} What DuckDB reports; `invalid_data` if a value does not fit the type of its column; `limit_exceeded` if there
   *   is more text than offsets can count
   */
  async next(rows: number): Promise<IpcMessage | null> {
    const words = this.#words;
    words[AT.wanted] = BigInt(rows);
    await this.#call("fetch_rows");
    if (words[AT.waiting] >= BigInt(rows)) return await this.#copy(rows, "read fewer rows at once");
    this.#result.checkEnd();
    return null;
  }

  /**
   * The rows of the next chunks, as many as a batch may have: it also ends before text that its offsets could not count.
   *
   * @returns The batch; `null` at the end
   * @throws {DipcError} As {@linkcode next}
   */
  async nextChunks(size: BatchSize): Promise<IpcMessage | null> {
    const words = this.#words;
    words[AT.maxRows] = BigInt(size.rows);
    words[AT.maxBytes] = BigInt(Math.min(size.bytes, MAX_BATCH_BYTES));
    await this.#call("fetch_chunks");
    if (words[AT.hasEnded] !== 0n) this.#result.checkEnd();
    const rows = Number(words[AT.wanted]);
    return rows === 0 ? null : await this.#copy(rows, 'execute "set arrow_large_buffer_size = true" first');
  }

  /** Releases what was fetched. Called once, before the result is destroyed. */
  async destroy(): Promise<void> {
    await this.#call("drop_rows");
    this.#arena[Symbol.dispose]();
    this.#rows[Symbol.dispose]();
  }

  async #call(name: RowFunction): Promise<void> {
    await callPointerLater(this.#code[name], this.#rows.address, this.#rows.address);
  }

  #field(column: number, field: number): number {
    return HEAD_WORDS + COLUMN.words * column + field;
  }

  /** Copies the rows that were measured. @param advice What helps if a column has too much text */
  async #copy(rows: number, advice: string): Promise<IpcMessage> {
    const words = this.#words;
    this.#checkText(advice);
    const places = this.#plan(rows);
    const block = hostPool().acquire(places.byteLength);
    try {
      this.#prepare(places, block.bytes(), block.address);
      await this.#call("copy_rows");
      const misfit = Number(words[AT.misfit]);
      if (misfit > 0) {
        const { name } = this.#schema.layout.fields[misfit - 1];
        throw new DipcError("invalid_data", `cannot read the rows: a value of column "${name}" does not fit its type`);
      }
      const nodes = this.#columns.flatMap((_, i) => [rows, this.#measured(i, COLUMN.nulls)]);
      return { header: batchHeader(this.#schema.layout, rows, nodes, places), body: block.toBody(places.byteLength) };
    } catch (error) {
      block.release();
      throw error;
    }
  }

  #measured(column: number, field: number): number {
    return Number(this.#words[this.#field(column, field)]);
  }

  #checkText(advice: string): void {
    this.#columns.forEach(({ kind }, i) => {
      const bytes = this.#measured(i, COLUMN.textBytes);
      if (kind !== RowKind.text32 || bytes <= MAX_TEXT_BYTES) return;
      const name = JSON.stringify(this.#schema.layout.fields[i].name);
      throw new DipcError(
        "limit_exceeded",
        `cannot read the rows: column ${name} has ${bytes} bytes in one batch, and its offsets reach to ${MAX_TEXT_BYTES}; ${advice}`,
      );
    });
  }

  /** The buffers of the batch that was measured. */
  #plan(rows: number): BodyPlaces {
    const places = new BodyPlaces();
    const bits = Math.ceil(rows / 8);
    this.#columns.forEach(({ kind, outWidth }, i) => {
      places.add(this.#measured(i, COLUMN.nulls) === 0 ? 0 : bits);
      if (TEXT_KINDS.includes(kind)) {
        places.add((kind === RowKind.text32 ? 4 : 8) * (rows + 1));
        places.add(this.#measured(i, COLUMN.textBytes), TEXT_SLACK);
      } else {
        places.add(kind === RowKind.bits ? bits : outWidth * rows);
      }
    });
    return places;
  }

  /** Gives the code the addresses of the buffers, and clears what it adds to or does not write. */
  #prepare(places: BodyPlaces, bytes: Uint8Array, address: bigint): void {
    const words = this.#words;
    let next = 0;
    const take = (column: number, field: number, isSparse: boolean): void => {
      const [at, byteLength] = places.buffers.slice(next, next += 2);
      words[this.#field(column, field)] = field === COLUMN.validity && byteLength === 0 ? 0n : address + BigInt(at);
      if (isSparse) bytes.fill(0, at, at + byteLength);
    };
    this.#columns.forEach(({ kind }, i) => {
      take(i, COLUMN.validity, true);
      if (TEXT_KINDS.includes(kind)) take(i, COLUMN.offsets, false);
      take(i, COLUMN.data, SPARSE_KINDS.includes(kind));
    });
    places.pad(bytes);
  }
}
