/**
 * DuckDB's own conversion of chunks to Arrow, and batches of several converted chunks.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { ConcatenatedBatch } from "../c_data/concatenate.ts";
import { placedNumbers } from "../c_data/export.ts";
import type { ForeignBody } from "../c_data/foreign_body.ts";
import { importRecordBatch } from "../c_data/import.ts";
import type { LocatedTree } from "../c_data/located_tree.ts";
import { scratch } from "../c_data/raw.ts";
import { C_LAYOUT } from "../c_data/structs.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { hostPool } from "../memory/host_pool.ts";
import { batchHeader, BodyPlaces } from "./gatherer.ts";
import { checkErrorData } from "./library.ts";
import type { NativeResult } from "./result.ts";
import { convertWith } from "./schema.ts";

/** Some rows of a chunk. */
export interface RowRange {
  readonly from: number;
  readonly count: number;
}

/**
 * Has DuckDB convert a chunk.
 *
 * @param result The result that it is of
 * @param schema The schema message of the rows, whose layout is that of DuckDB
 * @param chunk A `duckdb_data_chunk`, which stays the caller's
 * @param range Rows of it; default: all
 * @returns The dictionaries and the batch, in place; the caller releases their bodies
 * @throws {DipcError} What DuckDB reports; `invalid_data` if the rows are not as the schema says
 */
export function convertChunk(
  result: NativeResult,
  schema: VerifiedHeader,
  chunk: bigint,
  range?: RowRange,
): IpcMessage[] {
  const { options, connection: { library } } = result;
  const fill = (options: bigint, out: bigint): void => {
    const error = library.symbols.duckdb_data_chunk_to_arrow(options, chunk, out);
    checkErrorData(library, error, "convert the rows to Arrow");
  };
  return convertWith("ArrowArray", options, fill, (array) => {
    if (range !== undefined) setRange(array, range);
    return importRecordBatch(array, schema).toMessages();
  });
}

/** Cuts an `ArrowArray` of a struct, whose children stay as they are. */
function setRange(array: bigint, { from, count }: RowRange): void {
  const { words, address } = scratch(16);
  words[0] = BigInt(count);
  words[1] = BigInt(from);
  const { memcpy } = libc();
  memcpy(array + BigInt(C_LAYOUT.ArrowArray.length), address, 8n);
  memcpy(array + BigInt(C_LAYOUT.ArrowArray.offset), address + 8n, 8n);
}

/**
 * Puts converted chunks together.
 *
 * @param schema Their schema message
 * @param chunks The batches, which stay the caller's
 */
export function joinChunks({ layout }: VerifiedHeader, chunks: readonly IpcMessage[]): IpcMessage {
  const trees = chunks.map(({ body }): LocatedTree => {
    const numbers = placedNumbers(body as ForeignBody);
    const get = (index: number) => (body as ForeignBody).bufferInPlace(index);
    return { numbers, buffers: { length: numbers.at.length, get } };
  });
  const { rows, nodes, buffers, variadicCounts } = new ConcatenatedBatch(layout, trees);
  const places = new BodyPlaces();
  for (const { byteLength } of buffers) places.add(byteLength);
  const block = hostPool().acquire(places.byteLength);
  if (places.byteLength > 0) {
    const bytes = block.bytes();
    buffers.forEach((buffer, i) => bytes.set(buffer, places.buffers[2 * i]));
    places.pad(bytes);
  }
  return {
    header: batchHeader(layout, rows, nodes, places, variadicCounts),
    body: block.toBody(places.byteLength),
  };
}
