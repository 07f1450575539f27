/**
 * Encodes apache-arrow's record batches as messages.
 *
 * @module
 */
import {
  type Data,
  type DataType,
  type Dictionary,
  type RecordBatch,
  type Schema,
  Type,
  type Vector,
} from "apache-arrow";
import { Message } from "apache-arrow/ipc/metadata/message";
import { DipcError } from "../errors.ts";
import type { Body, Pool } from "../memory/block.ts";
import { columnData } from "./column_data.ts";
import { BodyLayout } from "./encode_columns.ts";
import { HeaderReader, NO_HEADER_LIMITS } from "./header.ts";
import type { IpcMessage, MessageHeader } from "./message.ts";
import { encodeBatchMetadata } from "./metadata_writer.ts";
import { quoted } from "./quote.ts";

/** Buffers start at multiples of this many bytes of the body, which suits vector instructions and GPUs. */
const BUFFER_ALIGNMENT = 64;

/**
 * Encodes a schema.
 *
 * @param schema apache-arrow's schema
 * @returns the header of the schema message
 */
export function encodeSchema(schema: Schema): MessageHeader {
  return new HeaderReader(NO_HEADER_LIMITS).read(Message.encode(Message.from(schema)));
}

/** The values of one dictionary that the peer has. */
interface SentDictionary {
  chunks: readonly Data[];
  length: number;
}

/**
 * Encodes the batches of one stream in order.
 *
 * @example Usage
 * ```ts ignore
 * const encoder = new BatchEncoder(table.schema, pool);
 * for (const batch of table.batches) {
 *   for (const message of encoder.encode(batch)) await send(message);
 * }
 * ```
 */
export class BatchEncoder {
  /** Header of the schema message that comes first. */
  readonly schemaHeader: MessageHeader;
  readonly #schema: Schema;
  readonly #hasDictionaries: boolean;
  readonly #pool: Pool;
  readonly #reader: HeaderReader;
  /** The last header without custom metadata. */
  #last: MessageHeader | null = null;
  readonly #sent = new Map<number, SentDictionary>();

  /**
   * @param schema Schema of all batches
   * @param pool Allocates the bodies
   */
  constructor(schema: Schema, pool: Pool) {
    this.#schema = schema;
    this.#hasDictionaries = schema.fields.some(({ type }) =>
      type.typeId === Type.Dictionary || innerIds(type).length > 0
    );
    this.#pool = pool;
    this.schemaHeader = encodeSchema(schema);
    this.#reader = HeaderReader.continuing(this.schemaHeader, NO_HEADER_LIMITS);
  }

  /**
   * Encodes one batch: its values are copied, so that the batch may be disposed afterwards.
   *
   * @param batch A batch with the encoder's schema
   * @returns dictionaries that are new or have changed, inner ones first, then the batch; the caller owns their bodies
   * @throws {DipcError} `invalid_argument` if the batch does not fit the schema; `unsupported`, `out_of_memory`
   */
  encode(batch: RecordBatch): IpcMessage[] {
    const { fields } = this.#schema;
    if (batch.schema.fields.length !== fields.length) {
      throw new DipcError(
        "invalid_argument",
        `cannot encode a batch of ${batch.schema.fields.length} columns: the schema has ${fields.length}`,
      );
    }
    const rows = batch.numRows;
    const messages: IpcMessage[] = [];
    try {
      const columns = columnData(batch);
      if (this.#hasDictionaries) {
        const used = new Map<number, Vector>();
        fields.forEach((field, i) => collectDictionaries(columns[i], field.type, used));
        const changed = new Set<number>();
        for (const [id, vector] of used) this.#encodeDictionary(id, vector, changed, messages);
      }
      const layout = new BodyLayout();
      fields.forEach((field, i) => {
        const column = columns[i];
        if (column.length !== rows) {
          throw new DipcError(
            "invalid_argument",
            `cannot encode column ${quoted(field.name)}: it has ${column.length} values in a batch of ${rows} rows`,
          );
        }
        layout.add(column, field.type, field.name);
      });
      messages.push(this.#message(layout, rows, undefined, batch.metadata));
      return messages;
    } catch (error) {
      for (const message of messages) message.body?.release();
      // The dictionaries made for this batch never reach the peer.
      this.#sent.clear();
      throw error;
    }
  }

  #encodeDictionary(id: number, vector: Vector, changed: Set<number>, messages: IpcMessage[]): void {
    const type = vector.type as DataType;
    const sent = this.#sent.get(id);
    const inner = innerIds(type);
    const hasChangedInner = inner.some((other) => changed.has(other));
    let chunks: readonly Data[] = vector.data;
    let isDelta = false;
    if (sent !== undefined && !hasChangedInner) {
      const isSame = sent.chunks === vector.data || startsWith(vector, sent);
      if (isSame && vector.length === sent.length) {
        sent.chunks = vector.data;
        return;
      }
      // Arrow's C++ readers cannot append to values that refer to other dictionaries.
      if (isSame && inner.length === 0) {
        chunks = vector.slice(sent.length).data;
        isDelta = true;
      }
    }
    // A delta keeps what refers to this dictionary valid; a replacement does not.
    if (!isDelta) changed.add(id);
    for (const chunk of chunks) {
      const layout = new BodyLayout();
      layout.add(chunk, type, `dictionary ${id}`);
      messages.push(this.#message(layout, chunk.length, { id: BigInt(id), isDelta }));
      isDelta = true;
    }
    this.#sent.set(id, { chunks: vector.data, length: vector.length });
  }

  #message(
    layout: BodyLayout,
    rows: number,
    dictionary?: { id: bigint; isDelta: boolean },
    custom?: ReadonlyMap<string, string>,
  ): IpcMessage {
    const buffers: number[] = [];
    let end = 0;
    for (const piece of layout.pieces) {
      buffers.push(end, piece.byteLength);
      end += Math.ceil(piece.byteLength / BUFFER_ALIGNMENT) * BUFFER_ALIGNMENT;
    }
    const header = this.#header(layout, buffers, rows, end, dictionary, custom);
    return { header, body: this.#body(layout, buffers, end) };
  }

  /** The header; that of the previous batch is reused if nothing in it differs. */
  #header(
    layout: BodyLayout,
    buffers: readonly number[],
    rows: number,
    end: number,
    dictionary?: { id: bigint; isDelta: boolean },
    custom?: ReadonlyMap<string, string>,
  ): MessageHeader {
    const last = this.#last;
    const isPlain = dictionary === undefined && (custom === undefined || custom.size === 0);
    if (
      isPlain && last !== null && last.rows === rows && last.bodyLength === end &&
      sameNumbers(last.nodes, layout.nodes) &&
      sameNumbers(last.buffers, buffers) && sameNumbers(last.variadicCounts, layout.variadicCounts)
    ) return last;
    const metadata = encodeBatchMetadata({
      rows,
      bodyLength: end,
      nodes: layout.nodes,
      buffers,
      variadicCounts: layout.variadicCounts,
      custom,
      dictionary,
    });
    const header = this.#reader.read(metadata);
    if (isPlain) this.#last = header;
    return header;
  }

  #body(layout: BodyLayout, buffers: readonly number[], byteLength: number): Body {
    const block = this.#pool.acquire(byteLength);
    try {
      const bytes = block.bytes();
      for (let i = 0; i < layout.pieces.length; i++) {
        const piece = layout.pieces[i];
        const begin = buffers[2 * i];
        const end = begin + piece.byteLength;
        if (end > begin) piece.write(bytes.subarray(begin, end));
        // Blocks are recycled: old content of the gaps must not be sent.
        const next = 2 * i + 2 < buffers.length ? buffers[2 * i + 2] : byteLength;
        if (next > end) bytes.fill(0, end, next);
      }
      return block.toBody(byteLength);
    } catch (error) {
      block.release();
      throw error;
    }
  }
}

/** All dictionaries of a column, inner ones before those whose values refer to them. */
function collectDictionaries(data: Data, type: DataType, into: Map<number, Vector>): void {
  if (type.typeId === Type.Dictionary) {
    const { id, dictionary: valueType } = type as Dictionary;
    const vector = data.dictionary;
    if (vector === undefined) return;
    for (const chunk of vector.data) collectChildren(chunk, valueType, into);
    const known = into.get(id);
    if (known === undefined) {
      into.set(id, vector);
    } else if (known !== vector) {
      // Columns that share a dictionary: one must be the beginning of the other.
      const [short, long] = known.length <= vector.length ? [known, vector] : [vector, known];
      if (!startsWith(long, { chunks: short.data, length: short.length })) {
        throw new DipcError(
          "invalid_argument",
          `cannot encode a batch: two of its columns share dictionary ${id} but hold different values; give them different ids`,
        );
      }
      into.set(id, long);
    }
    return;
  }
  collectChildren(data, type, into);
}

function collectChildren(data: Data, type: DataType, into: Map<number, Vector>): void {
  (type.children ?? []).forEach((field, i) => {
    if (data.children[i] !== undefined) collectDictionaries(data.children[i], field.type, into);
  });
}

function sameNumbers(a: ArrayLike<number>, b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Ids of dictionaries inside a type. */
function innerIds(type: DataType): number[] {
  return (type.children ?? []).flatMap(({ type: child }) =>
    child.typeId === Type.Dictionary
      ? [(child as Dictionary).id, ...innerIds((child as Dictionary).dictionary)]
      : innerIds(child)
  );
}

/** Whether a dictionary begins with the values sent before. */
function startsWith(vector: Vector, sent: SentDictionary): boolean {
  if (vector.length < sent.length) return false;
  const { chunks } = sent;
  if (chunks.every((chunk, i) => chunk === vector.data[i])) return true;
  let at = 0;
  for (const chunk of chunks) {
    // Compares ranges that lie within one chunk on both sides.
    for (let from = 0; from < chunk.length;) {
      const [piece] = vector.slice(at + from, at + chunk.length).data;
      if (piece === undefined || !sameContent(chunk.slice(from, piece.length), piece)) return false;
      from += piece.length;
    }
    at += chunk.length;
  }
  return true;
}

/** Whether two columns of the same type and length hold the same values, by comparing what would be sent. */
function sameContent(a: Data, b: Data): boolean {
  const [left, right] = [a, b].map((data) => {
    const layout = new BodyLayout();
    layout.add(data, data.type, "dictionary");
    return layout;
  });
  if (left.nodes.join() !== right.nodes.join()) return false;
  return left.pieces.length === right.pieces.length && left.pieces.every((piece, i) => {
    const other = right.pieces[i];
    if (piece.byteLength !== other.byteLength) return false;
    const [x, y] = [piece, other].map((one) => {
      const bytes = new Uint8Array(one.byteLength);
      one.write(bytes);
      return bytes;
    });
    return x.every((value, at) => value === y[at]);
  });
}
