/**
 * Reads the rows of a result straight from DuckDB's vectors into the buffers of Arrow batches, by machine code on other threads: for
 * columns of flat types, and many times faster than by DuckDB's own conversion of each 2,048 rows.
 *
 * @module
 */
import { callPointerLater, libcAddress } from "../../ffi/raw_memory.ts";
import { Arena } from "../c_data/arena.ts";
import { placed } from "../c_data/native_code.ts";
import { type Scratch, scratch } from "../c_data/raw.ts";
import { DipcError } from "../errors.ts";
import { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { encodeBatchMetadata } from "../ipc/metadata_writer.ts";
import { hostPool } from "../memory/host_pool.ts";
import { MAX_TEXT_BYTES } from "./gatherer.ts";
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
  columnCount: 20,
};
const HEAD_WORDS = 21;
const COLUMN = { words: 7, kind: 0, width: 1, validity: 2, offsets: 3, data: 4, textBytes: 5, nulls: 6 };
/** Buffers of a message start at multiples of this many bytes. */
const ALIGNMENT = 64;
/** Bytes after a text that are written to. */
const TEXT_SLACK = 12;

type RowFunction = keyof (typeof ROWS_MACHINE_CODE)["x86_64"]["functions"];
let code: Readonly<Record<RowFunction, bigint>> | null = null;

/** One buffer of a batch. */
interface Place {
  readonly at: number;
  readonly byteLength: number;
  /** Offset of the next one. */
  readonly end: number;
}

/** The rows of one result. Its calls come one after another, within calls of the connection. */
export class RowReader {
  readonly #result: NativeResult;
  readonly #schema: VerifiedHeader;
  readonly #columns: readonly RowColumn[];
  readonly #rows: Scratch;
  readonly #arena = new Arena();
  readonly #code: Readonly<Record<RowFunction, bigint>>;

  /**
   * @param result The result, of which nothing was fetched
   * @param schema The schema message of the batches
   * @param columns How each column is read, one or more
   * @param maxRows Most rows of a batch
   * @throws {DipcError} `permission_denied` if the system allows no executable memory; `out_of_memory`
   */
  constructor(result: NativeResult, schema: VerifiedHeader, columns: readonly RowColumn[], maxRows: number) {
    this.#code = code ??= placed(ROWS_MACHINE_CODE[Deno.build.arch]);
    this.#result = result;
    this.#schema = schema;
    this.#columns = columns;
    this.#rows = scratch(8 * (HEAD_WORDS + COLUMN.words * columns.length));
    const { words } = this.#rows;
    const { addresses } = result.connection.library;
    words.set([
      ...[addresses.duckdb_fetch_chunk, addresses.duckdb_data_chunk_get_size, addresses.duckdb_data_chunk_get_vector],
      ...[addresses.duckdb_vector_get_data, addresses.duckdb_vector_get_validity, addresses.duckdb_destroy_data_chunk],
      libcAddress("memcpy"),
    ]);
    this.#rows.bytes.set(result.bytes, 8 * AT.result);
    // Each chunk has a row or more.
    words[AT.chunks] = this.#arena.zeros(8 * (maxRows + 1));
    words[AT.columnCount] = BigInt(columns.length);
    columns.forEach(({ kind, width }, i) => {
      const at = HEAD_WORDS + COLUMN.words * i;
      words[at + COLUMN.kind] = BigInt(kind);
      words[at + COLUMN.width] = BigInt(width);
    });
  }

  /**
   * The next rows.
   *
   * @param rows Their number, 1 or more
   * @returns The batch; `null` if there are fewer
   * @throws {DipcError} What DuckDB reports; `invalid_data` if a value does not fit the type of its column
   */
  async next(rows: number): Promise<IpcMessage | null> {
    const { words } = this.#rows;
    words[AT.wanted] = BigInt(rows);
    await this.#call("fetch_rows");
    if (words[AT.waiting] < BigInt(rows)) {
      this.#result.checkEnd();
      return null;
    }
    const places = this.#plan(rows);
    const bodyLength = places[places.length - 1].end;
    const block = hostPool().acquire(bodyLength);
    try {
      this.#prepare(places, block.bytes(), block.address);
      await this.#call("copy_rows");
      const misfit = Number(words[AT.misfit]);
      if (misfit > 0) {
        const { name } = this.#schema.layout!.fields[misfit - 1];
        throw new DipcError("invalid_data", `cannot read the rows: a value of column "${name}" does not fit its type`);
      }
      return { header: this.#header(rows, places, bodyLength), body: block.toBody(bodyLength) };
    } catch (error) {
      block.release();
      throw error;
    }
  }

  /** Releases what was fetched. Called once, before the result is destroyed. */
  async destroy(): Promise<void> {
    await this.#call("drop_rows");
    this.#arena[Symbol.dispose]();
  }

  async #call(name: RowFunction): Promise<void> {
    await callPointerLater(this.#code[name], this.#rows.address, this.#rows.address);
  }

  #field(column: number, field: number): number {
    return HEAD_WORDS + COLUMN.words * column + field;
  }

  /** The buffers of the batch whose text was measured. */
  #plan(rows: number): Place[] {
    const places: Place[] = [];
    let end = 0;
    const add = (byteLength: number, slack = 0): void => {
      const at = end;
      end += Math.ceil((byteLength + slack) / ALIGNMENT) * ALIGNMENT;
      places.push({ at, byteLength, end });
    };
    this.#columns.forEach(({ kind, outWidth }, i) => {
      const bits = Math.ceil(rows / 8);
      add(bits);
      if (kind === RowKind.text32 || kind === RowKind.text64) {
        const textBytes = Number(this.#rows.words[this.#field(i, COLUMN.textBytes)]);
        if (kind === RowKind.text32 && textBytes > MAX_TEXT_BYTES) throw this.#tooMuchText(i, textBytes);
        add((kind === RowKind.text32 ? 4 : 8) * (rows + 1));
        add(textBytes, TEXT_SLACK);
      } else {
        add(kind === RowKind.bits ? bits : outWidth * rows);
      }
    });
    return places;
  }

  #tooMuchText(column: number, textBytes: number): DipcError {
    const { name } = this.#schema.layout!.fields[column];
    return new DipcError(
      "limit_exceeded",
      `cannot read the rows: column "${name}" has ${textBytes} bytes in one batch, more than its offsets can count; read ` +
        "fewer rows at once",
    );
  }

  /** Gives the code the addresses of the buffers, and clears what it does not write. */
  #prepare(places: readonly Place[], bytes: Uint8Array, address: bigint): void {
    const { words } = this.#rows;
    const next = places.values();
    this.#columns.forEach(({ kind }, i) => {
      const isText = kind === RowKind.text32 || kind === RowKind.text64;
      const take = (field: number, isClear: boolean): void => {
        const { at, byteLength, end } = next.next().value!;
        words[this.#field(i, field)] = address + BigInt(at);
        bytes.fill(0, isClear ? at : at + byteLength, end);
      };
      take(COLUMN.validity, true);
      if (isText) take(COLUMN.offsets, false);
      take(COLUMN.data, !isText && kind !== RowKind.fixed);
    });
  }

  #header(rows: number, places: readonly Place[], bodyLength: number): VerifiedHeader {
    const nodes = this.#columns.flatMap((_, i) => [rows, Number(this.#rows.words[this.#field(i, COLUMN.nulls)])]);
    const buffers = places.flatMap(({ at, byteLength }) => [at, byteLength]);
    const { layout } = this.#schema;
    return new VerifiedHeader({
      kind: "batch",
      bytes: () => encodeBatchMetadata({ rows, bodyLength, nodes, buffers, variadicCounts: [] }),
      bodyLength,
      rows,
      dictionaryId: -1n,
      isDelta: false,
      nodes: Float64Array.from(nodes),
      buffers: Float64Array.from(buffers),
      variadicCounts: new Float64Array(0),
      compression: "none",
      layout: layout!,
      plan: layout!.plan,
      version: 5,
    });
  }
}
