/**
 * Makes Arrow's intervals of Parquet's, which are 12 bytes: months, days and milliseconds as 32-bit numbers.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import { patchBatch } from "../../ipc/batch_patch.ts";
import { fixedBufferCount } from "../../ipc/buffers.ts";
import { HeaderReader } from "../../ipc/header.ts";
import type { ArrowType, FieldLayout, SchemaLayout } from "../../ipc/layout.ts";
import { quoted } from "../../ipc/quote.ts";
import type { RawMessage } from "./split.ts";

/** Bytes of an interval in Parquet. */
const SOURCE_BYTES = 12;
/** Buffers start at multiples of this many bytes. */
const ALIGNMENT = 64;

type IntervalUnit = Extract<ArrowType, { id: "interval" }>["unit"];

/** A column of intervals: the buffer of its values, and what is written there. */
interface IntervalColumn {
  readonly field: FieldLayout;
  readonly unit: IntervalUnit;
}

/** Converts the intervals of batches. */
export class IntervalConverter {
  readonly #path: string;
  readonly #reader: HeaderReader;
  /** Columns by the index of the buffer of their values. */
  readonly #columns: ReadonlyMap<number, IntervalColumn>;

  /**
   * A converter, if there is a column that needs it.
   *
   * @param path Path of the file, for messages
   * @param decoded Metadata of the schema message of the decoder's batches
   * @param served Schema of the batches that are served
   */
  static of(path: string, decoded: Uint8Array<ArrayBuffer>, served: SchemaLayout): IntervalConverter | null {
    const columns = intervalColumns(served);
    return columns.size === 0 ? null : new IntervalConverter(path, decoded, columns);
  }

  private constructor(path: string, decoded: Uint8Array<ArrayBuffer>, columns: ReadonlyMap<number, IntervalColumn>) {
    this.#path = path;
    this.#reader = new HeaderReader({ maxMetadataBytes: Infinity, maxBodyBytes: Infinity });
    this.#reader.read(decoded);
    this.#columns = columns;
  }

  /** The message with intervals as they are served; dictionaries have none. @throws {DipcError} `invalid_data` */
  convert({ metadata, body }: RawMessage): RawMessage {
    const header = this.#reader.read(metadata);
    if (header.kind !== "batch") return { metadata, body };
    const { buffers } = header;
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < buffers.length / 2; i++) {
      const bytes = body.subarray(buffers[2 * i], buffers[2 * i] + buffers[2 * i + 1]);
      const column = this.#columns.get(i);
      pieces.push(column === undefined ? bytes : this.#values(column, bytes, pieces[i - 1]));
    }
    return pack(metadata, header.rows, header.nodes, pieces);
  }

  #values({ field, unit }: IntervalColumn, source: Uint8Array, validity: Uint8Array): Uint8Array {
    const count = Math.floor(source.byteLength / SOURCE_BYTES);
    const from = new DataView(source.buffer, source.byteOffset, source.byteLength);
    const target = new DataView(new ArrayBuffer(count * TARGET_BYTES[unit]));
    for (let i = 0; i < count; i++) {
      const at = SOURCE_BYTES * i;
      const months = from.getInt32(at, true), days = from.getInt32(at + 4, true);
      const isNull = validity.byteLength > 0 && (validity[i >> 3] & 1 << (i & 7)) === 0;
      if (unit === "month_day_nano") {
        target.setInt32(16 * i, months, true);
        target.setInt32(16 * i + 4, days, true);
        target.setBigInt64(16 * i + 8, BigInt(from.getUint32(at + 8, true)) * 1_000_000n, true);
      } else if (unit === "day_time") {
        if (months !== 0 && !isNull) throw this.#loss(field, "months", unit);
        target.setInt32(8 * i, days, true);
        target.setInt32(8 * i + 4, from.getInt32(at + 8, true), true);
      } else {
        const hasMore = days !== 0 || from.getInt32(at + 8, true) !== 0;
        if (hasMore && !isNull) throw this.#loss(field, "days or milliseconds", unit);
        target.setInt32(4 * i, months, true);
      }
    }
    return new Uint8Array(target.buffer);
  }

  #loss(field: FieldLayout, what: string, unit: IntervalUnit): LocalError {
    return new LocalError(
      "invalid_data",
      `cannot read "${this.#path}": column ${
        quoted(field.path)
      } has an interval with ${what}, but its Arrow schema says ` +
        `interval[${unit}], which has none`,
    );
  }
}

const TARGET_BYTES: Readonly<Record<IntervalUnit, number>> = { year_month: 4, day_time: 8, month_day_nano: 16 };

function intervalColumns({ plan }: SchemaLayout): Map<number, IntervalColumn> {
  const columns = new Map<number, IntervalColumn>();
  let buffer = 0;
  plan.fields.forEach((field, node) => {
    // The values follow the bitmap.
    if (field.type.id === "interval") columns.set(buffer + 1, { field, unit: field.type.unit });
    buffer += fixedBufferCount(plan.kinds[node], 5);
  });
  return columns;
}

/** A batch with other buffers. */
function pack(metadata: Uint8Array, rows: number, nodes: Float64Array, pieces: readonly Uint8Array[]): RawMessage {
  const offsets = new Float64Array(pieces.length), lengths = new Float64Array(pieces.length);
  let end = 0;
  pieces.forEach((piece, i) => {
    offsets[i] = end;
    lengths[i] = piece.byteLength;
    end += Math.ceil(piece.byteLength / ALIGNMENT) * ALIGNMENT;
  });
  const body = new Uint8Array(end);
  pieces.forEach((piece, i) => body.set(piece, offsets[i]));
  return { metadata: patchBatch(metadata, { rows, nodes, offsets, lengths, bodyLength: end }), body };
}
