/**
 * Replaces the dictionary indices of a record batch, without decoding its other columns.
 *
 * @module
 */
import { LocalError } from "../errors.ts";
import { bufferName } from "../ipc/buffer_name.ts";
import { patchBatch } from "../ipc/batch_patch.ts";
import { fixedBufferCount, NodeKind } from "../ipc/buffers.ts";
import { type Allowance, decompressBuffer } from "../ipc/compression.ts";
import { padTo8 } from "../ipc/frame.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import { quoted } from "../ipc/quote.ts";
import { defaultReaderLimits } from "../limits.ts";
import type { Body } from "../memory/block.ts";
import { isNullAt } from "./dictionary_reader.ts";
import type { Piece } from "./sink.ts";

/** What becomes of the indices into one dictionary. */
export interface IndexChange {
  /** The new index of each value; `null` if they are the old ones. */
  readonly mapping: Int32Array | null;
  /** Least bits of an index in the output; narrower ones are widened. */
  readonly minBits: 0 | 32;
}

/** A record batch with other indices. */
export interface RemappedBatch {
  readonly metadata: Uint8Array<ArrayBuffer>;
  readonly pieces: readonly Piece[];
  /** Size of all pieces together in bytes, a multiple of 8. */
  readonly bodyLength: number;
}

/** Marks a buffer of a compressed body that is not compressed itself: its length is written as -1. */
const NOT_COMPRESSED = -1n;

/**
 * The batch with other indices. The codec of its body must be loaded already.
 *
 * @param header Header of the batch
 * @param body Its body, which the pieces refer to; `null` for none
 * @param changes By the id of the dictionary
 * @returns `null` if none of its columns changes
 * @throws {DipcError} `invalid_data` for an index that its dictionary does not have; `unsupported` for one that the column's
 * type of indices cannot hold any more
 */
export function remappedBatch(
  header: VerifiedHeader,
  body: Body | null,
  changes: ReadonlyMap<bigint, IndexChange>,
): RemappedBatch | null {
  const { plan, version, variadicCounts, nodes, buffers, rows } = header;
  if (body === null || body.byteLength === 0) return null;
  const bytes = body.bytes();
  const replaced = new Map<number, Uint8Array<ArrayBuffer>>();
  const reader = new IndexReader(header, bytes);
  for (let node = 0, buffer = 0, view = 0; node < plan.nodeCount; node++) {
    const { dictionary } = plan.fields[node];
    const change = dictionary === null ? undefined : changes.get(dictionary.id);
    if (change !== undefined && nodes[2 * node] > 0) {
      const { bitWidth, signed } = dictionary!.index;
      const isWidened = bitWidth < change.minBits;
      if (isWidened || change.mapping !== null) {
        const bits = isWidened ? change.minBits as 32 : bitWidth;
        replaced.set(buffer + 1, reader.replaced(node, buffer, change.mapping, { bits, signed }));
      }
    }
    buffer += fixedBufferCount(plan.kinds[node], version);
    if (plan.kinds[node] === NodeKind.view) buffer += variadicCounts[view++];
  }
  if (replaced.size === 0) return null;
  const count = buffers.length / 2;
  const offsets = new Float64Array(count), lengths = new Float64Array(count);
  const pieces: Piece[] = [];
  let end = 0;
  for (let i = 0; i < count; i++) {
    const piece = replaced.get(i) ?? bytes.subarray(buffers[2 * i], buffers[2 * i] + buffers[2 * i + 1]);
    offsets[i] = end;
    lengths[i] = piece.byteLength;
    end += padTo8(piece.byteLength);
    pieces.push(piece, new Uint8Array(padTo8(piece.byteLength) - piece.byteLength));
  }
  const metadata = patchBatch(header.bytes, { rows, nodes, offsets, lengths, bodyLength: end });
  return { metadata, pieces, bodyLength: end };
}

/** The type of the indices that are written. */
interface IndexType {
  readonly bits: 8 | 16 | 32 | 64;
  readonly signed: boolean;
}

/** Reads the index columns of one batch and makes new ones. */
class IndexReader {
  readonly #header: VerifiedHeader;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #allowance: Allowance;

  constructor(header: VerifiedHeader, bytes: Uint8Array<ArrayBuffer>) {
    this.#header = header;
    this.#bytes = bytes;
    const limit = defaultReaderLimits.maxDecompressedBytes;
    this.#allowance = { left: limit, limit };
  }

  /** The new buffer of indices of a node whose validity bitmap is buffer `first`. */
  replaced(node: number, first: number, mapping: Int32Array | null, to: IndexType): Uint8Array<ArrayBuffer> {
    const { nodes, plan, compression } = this.#header;
    const length = nodes[2 * node];
    const bitmap = nodes[2 * node + 1] === 0 ? NO_BITMAP : this.#buffer(first);
    const from = plan.fields[node].dictionary!.index;
    const data = this.#buffer(first + 1);
    if (data.byteLength < length * from.bitWidth / 8 || (bitmap !== NO_BITMAP && bitmap.byteLength < length / 8)) {
      throw new LocalError("invalid_data", `cannot read a batch: ${bufferName(this.#header, first + 1)} is too short`);
    }
    const read = readIndex(data, { bits: from.bitWidth, signed: from.signed });
    const most = Math.min(2 ** (to.bits - (to.signed ? 1 : 0)) - 1, Number.MAX_SAFE_INTEGER);
    const known = mapping?.length ?? Infinity;
    const prefix = compression === "none" ? 0 : 8;
    const out = new Uint8Array(prefix + length * to.bits / 8);
    const view = new DataView(out.buffer);
    if (prefix > 0) view.setBigInt64(0, NOT_COMPRESSED, true);
    const write = writeIndex(view, prefix, to.bits);
    for (let i = 0; i < length; i++) {
      // The index under a null may be anything.
      if (isNullAt(bitmap, i)) continue;
      const index = read(i);
      if (!(index >= 0 && index < known)) throw this.#noValue(node, i, index, known);
      const changed = mapping === null ? index : mapping[index];
      if (changed > most) throw this.#tooMany(node, to);
      write(i, changed);
    }
    return out;
  }

  #buffer(index: number): Uint8Array<ArrayBuffer> {
    const { buffers, compression } = this.#header;
    const piece = this.#bytes.subarray(buffers[2 * index], buffers[2 * index] + buffers[2 * index + 1]);
    if (compression === "none") return piece;
    const name = (): string => bufferName(this.#header, index);
    return decompressBuffer(compression, piece, this.#allowance, name) as Uint8Array<ArrayBuffer>;
  }

  #noValue(node: number, row: number, index: number, known: number): LocalError {
    const column = quoted(this.#header.plan.fields[node].path);
    return new LocalError(
      "invalid_data",
      `cannot read a batch: row ${row} of column ${column} has index ${index} into a dictionary of ${known} values`,
    );
  }

  #tooMany(node: number, { bits, signed }: IndexType): LocalError {
    const column = quoted(this.#header.plan.fields[node].path);
    return new LocalError(
      "unsupported",
      `cannot write an Arrow file: the dictionary of column ${column} is replaced in the middle of the data, all its values ` +
        `together are more than its indices of type ${
          signed ? "" : "u"
        }int${bits} can count, and the first batches are ` +
        "written already; write an Arrow stream instead (--format arrows, or a file name that ends with .arrows)",
    );
  }
}

const NO_BITMAP = new Uint8Array(0);

function readIndex(data: Uint8Array, { bits, signed }: IndexType): (i: number) => number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (bits) {
    case 8:
      return signed ? (i) => view.getInt8(i) : (i) => view.getUint8(i);
    case 16:
      return signed ? (i) => view.getInt16(2 * i, true) : (i) => view.getUint16(2 * i, true);
    case 32:
      return signed ? (i) => view.getInt32(4 * i, true) : (i) => view.getUint32(4 * i, true);
    case 64:
      return signed ? (i) => Number(view.getBigInt64(8 * i, true)) : (i) => Number(view.getBigUint64(8 * i, true));
  }
}

function writeIndex(view: DataView, at: number, bits: 8 | 16 | 32 | 64): (i: number, value: number) => void {
  switch (bits) {
    case 8:
      return (i, value) => view.setUint8(at + i, value);
    case 16:
      return (i, value) => view.setUint16(at + 2 * i, value, true);
    case 32:
      return (i, value) => view.setUint32(at + 4 * i, value, true);
    case 64:
      return (i, value) => view.setBigUint64(at + 8 * i, BigInt(value), true);
  }
}
