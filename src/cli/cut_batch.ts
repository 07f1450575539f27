/**
 * Cuts a record batch down to its first rows without decoding it. Works for every Arrow type: nodes and buffers are
 * shortened if their new length follows from the layout, and left as they are if only decoding would show it.
 *
 * @module
 */
import { DipcError, unexpected } from "../errors.ts";
import { patchBatch } from "../ipc/batch_patch.ts";
import { bufferName } from "../ipc/buffer_name.ts";
import {
  buffersIn,
  type BufferSpec,
  bytesOf,
  ElementCount,
  fixedBufferCount,
  hasValidity,
  NodeKind,
} from "../ipc/buffers.ts";
import { type Allowance, decompressBuffer, loadCodec } from "../ipc/compression.ts";
import { HeaderReader, NO_HEADER_LIMITS, verified, type VerifiedHeader } from "../ipc/header.ts";
import { LengthRule } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { defaultReaderLimits } from "../limits.ts";
import type { Body, Pool } from "../memory/block.ts";
import { permittedPool } from "../memory/plain_pool.ts";

/** Buffers of a body start at multiples of this many bytes. */
const ALIGNMENT = 64;

/** What a cut changes. */
interface Cut {
  /** Length and null count of each node. */
  readonly nodes: Float64Array;
  /** Number of bytes that are kept of each buffer, from its start. */
  readonly lengths: Float64Array;
}

/**
 * The first `rows` rows of a batch. Takes over the message, even if it throws.
 *
 * @param schema Header of the stream's schema
 * @param message A record batch of more than `rows` rows
 * @param rows Number of rows to keep, at least 1
 * @param pool Allocates the new body
 * @throws {DipcError} `invalid_data` if offsets or a compressed bitmap are damaged; `out_of_memory`
 */
export async function cutBatch(
  schema: MessageHeader,
  message: IpcMessage,
  rows: number,
  pool: Pool = permittedPool(),
): Promise<IpcMessage> {
  const { body } = message;
  try {
    if (rows < 1 || rows >= message.header.rows || body === null) {
      const found = body === null ? "it has no body" : `expected 1 to ${message.header.rows - 1} rows`;
      throw new DipcError("internal", `cannot cut a batch of ${message.header.rows} rows to ${rows}: ${found}`);
    }
    const headers = HeaderReader.continuing(schema, NO_HEADER_LIMITS);
    const header = verified(message.header, headers);
    if (header.compression !== "none") await loadCodec(header.compression);
    const bytes = body.bytes();
    const cut = new CutPlanner(header, bytes, rows).plan();
    const packed = pack(header, bytes, cut, pool);
    try {
      return { header: headers.read(patch(header, rows, cut, packed)), body: packed.body };
    } catch (error) {
      packed.body.release();
      throw error;
    }
  } finally {
    body?.release();
  }
}

/** Walks the nodes in order and decides how much is kept of each and of its buffers. */
class CutPlanner {
  readonly #header: VerifiedHeader;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rows: number;
  readonly #nodes: Float64Array;
  readonly #lengths: Float64Array;
  /** The last kept offset of each node; NaN until its offsets are read. */
  readonly #ends: Float64Array;
  readonly #allowance: Allowance;

  constructor(header: VerifiedHeader, bytes: Uint8Array, rows: number) {
    const { nodes, buffers, plan } = header;
    const limit = defaultReaderLimits.maxDecompressedBytes;
    this.#header = header;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rows = rows;
    this.#nodes = nodes.slice();
    this.#lengths = Float64Array.from({ length: buffers.length / 2 }, (_, i) => buffers[2 * i + 1]);
    this.#ends = new Float64Array(plan.nodeCount).fill(NaN);
    this.#allowance = { left: limit, limit };
  }

  /** @throws {DipcError} `invalid_data` if offsets or a compressed bitmap are damaged */
  plan(): Cut {
    const { plan, variadicCounts, version } = this.#header;
    let buffer = 0;
    let view = 0;
    for (let node = 0; node < plan.nodeCount; node++) {
      const length = this.#nodes[2 * node];
      const kept = Math.min(length, this.#needed(node));
      this.#nodes[2 * node] = kept;
      // A node that keeps all its values keeps its children unchanged, whatever its offsets are.
      if (kept < length) this.#cut(node, kept, buffer);
      const kind = plan.kinds[node];
      buffer += fixedBufferCount(kind, version);
      if (kind === NodeKind.view) buffer += variadicCounts[view++];
    }
    return { nodes: this.#nodes, lengths: this.#lengths };
  }

  /** How many values of a node are needed; Infinity if only decoding would show it. */
  #needed(node: number): number {
    const { plan, nodes } = this.#header;
    const rule = plan.rules[node];
    if (rule === LengthRule.rows) return this.#rows;
    const parent = plan.parents[node];
    if (rule === LengthRule.covers) {
      // The children of a parent that keeps all its values keep theirs, even if they are longer than it.
      const left = this.#nodes[2 * parent];
      return left === nodes[2 * parent] ? Infinity : left * plan.factors[node];
    }
    const length = this.#ends[parent];
    return Number.isNaN(length) ? Infinity : length;
  }

  /** Cuts a node, whose first buffer has index `first`, to fewer values than it has. */
  #cut(node: number, kept: number, first: number): void {
    const { plan, compression, version } = this.#header;
    const kind = plan.kinds[node];
    const nulls = this.#nodes[2 * node + 1];
    this.#nodes[2 * node + 1] = nulls > 0 && hasValidity(kind)
      ? kept - countOnes(this.#bitmap(first), kept)
      : Math.min(nulls, kept);
    // A compressed buffer cannot be cut.
    if (compression !== "none") return;
    buffersIn(version)[kind].forEach((spec, i) => {
      if (spec.count === ElementCount.valuesAndEnd) {
        this.#ends[node] = this.#offsetAfter(node, kept, first + i, spec);
      }
      const needed = this.#bytesKept(spec, node, kept);
      if (needed < this.#lengths[first + i]) this.#lengths[first + i] = needed;
    });
  }

  /** Bytes of a buffer that `kept` values of its node need. */
  #bytesKept(spec: BufferSpec, node: number, kept: number): number {
    switch (spec.count) {
      case ElementCount.values:
      case ElementCount.valuesAndEnd:
        return bytesOf(spec, kept, this.#header.plan.bits[node]);
      case ElementCount.lastOffset:
        return this.#ends[node];
      case ElementCount.any:
        return Infinity;
      default:
        return unexpected(spec.count);
    }
  }

  /** The validity bitmap in buffer `index`, decompressed. */
  #bitmap(index: number): Uint8Array {
    const { buffers, compression } = this.#header;
    const offset = buffers[2 * index];
    const raw = this.#bytes.subarray(offset, offset + buffers[2 * index + 1]);
    if (compression === "none") return raw;
    return decompressBuffer(compression, raw, this.#allowance, () => bufferName(this.#header, index));
  }

  /** The offset after the last kept value, in buffer `index`. */
  #offsetAfter(node: number, kept: number, index: number, { bits }: BufferSpec): number {
    if (kept === 0) return 0;
    const { buffers, plan, layout } = this.#header;
    const isLittle = layout.endianness === "little";
    const start = buffers[2 * index];
    const offset = bits === 32
      ? this.#view.getInt32(start + 4 * kept, isLittle)
      : Number(this.#view.getBigInt64(start + 8 * kept, isLittle));
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new DipcError(
        "invalid_data",
        `cannot cut column "${plan.fields[node].path}": its offsets are negative or too large`,
      );
    }
    return offset;
  }
}

interface Packed {
  readonly body: Body;
  /** Offset of each buffer in the body. */
  readonly offsets: Float64Array;
}

/** Copies what is kept of each buffer into a new body. */
function pack(header: VerifiedHeader, bytes: Uint8Array, cut: Cut, pool: Pool): Packed {
  const { buffers } = header;
  const offsets = new Float64Array(cut.lengths.length);
  let total = 0;
  cut.lengths.forEach((length, i) => {
    offsets[i] = total;
    total += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
  });
  const block = pool.acquire(total);
  const target = block.bytes();
  target.fill(0, 0, total);
  cut.lengths.forEach((length, i) => {
    target.set(bytes.subarray(buffers[2 * i], buffers[2 * i] + length), offsets[i]);
  });
  return { body: block.toBody(total), offsets };
}

/** The metadata with the new numbers. */
function patch(header: VerifiedHeader, rows: number, cut: Cut, packed: Packed): Uint8Array<ArrayBuffer> {
  const { nodes, lengths } = cut;
  const { offsets, body } = packed;
  return patchBatch(header.bytes, { rows, nodes, offsets, lengths, bodyLength: body.byteLength });
}

/** Number of bits that are set among the first `count`. */
function countOnes(bitmap: Uint8Array, count: number): number {
  let ones = 0;
  for (let i = 0; i < count; i++) ones += (bitmap[i >> 3] >> (i & 7)) & 1;
  return ones;
}
