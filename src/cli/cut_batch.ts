/**
 * Cuts a record batch down to its first rows without decoding it. Works for every Arrow type: nodes and buffers are
 * shortened where their layout says how long they must be, and left as they are where only decoding would tell.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { decompressBuffer, loadCodec } from "../ipc/compression.ts";
import { FlatReader } from "../ipc/flatbuffer.ts";
import { HeaderReader, verified, type VerifiedHeader } from "../ipc/header.ts";
import { LengthRule, NodeKind } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { defaultReaderLimits } from "../limits.ts";
import type { Body, Pool } from "../memory/block.ts";
import { hostPool } from "../memory/host_pool.ts";

/** Fields of `Message` and `RecordBatch` in Arrow's `Message.fbs` that are changed. */
const MESSAGE_HEADER = 2, MESSAGE_BODY_LENGTH = 3, BATCH_LENGTH = 0, BATCH_NODES = 1, BATCH_BUFFERS = 2;
/** Buffers of a body start at multiples of this. */
const ALIGNMENT = 64;

/** What a cut changes. */
interface Cut {
  /** Length and null count of each node. */
  readonly nodes: Float64Array;
  /** Bytes of each buffer that are kept, from its start. */
  readonly lengths: Float64Array;
}

/**
 * The first `rows` rows of a batch. Takes over the message, also where it throws.
 *
 * @param schema Header of the stream's schema
 * @param message A record batch of more than `rows` rows
 * @param rows Rows to keep, at least 1
 * @param pool Where the new body is made
 * @throws {DipcError} `invalid_data` where offsets or a compressed bitmap are damaged; `out_of_memory`
 */
export async function cutBatch(
  schema: MessageHeader,
  message: IpcMessage,
  rows: number,
  pool: Pool = hostPool(),
): Promise<IpcMessage> {
  const { body } = message;
  try {
    if (rows < 1 || rows >= message.header.rows || body === null) {
      throw new DipcError("internal", `cannot cut a batch of ${message.header.rows} rows to ${rows}`);
    }
    const headers = HeaderReader.continuing(schema);
    const header = verified(message.header, headers);
    if (header.compression !== "none") await loadCodec(header.compression);
    const bytes = body.bytes();
    const cut = planCut(header, bytes, rows);
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

/** Walks the nodes in order and says what is left of each and of its buffers. */
function planCut(header: VerifiedHeader, bytes: Uint8Array, rows: number): Cut {
  const { plan, buffers, variadicCounts, version, compression } = header;
  const nodes = header.nodes.slice();
  const lengths = Float64Array.from({ length: buffers.length / 2 }, (_, i) => buffers[2 * i + 1]);
  const limit = defaultReaderLimits.maxDecompressedBytes;
  const allowance = { left: limit, limit };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = header.layout.endianness === "little";
  /** Values that the children of a list are cut to; NaN where its offsets are not looked at. */
  const childLengths = new Float64Array(plan.nodeCount).fill(NaN);
  let buffer = 0;
  let variadic = 0;
  for (let node = 0; node < plan.nodeCount; node++) {
    const kind = plan.kinds[node];
    const first = buffer;
    buffer += plan.buffersOf(node);
    if (kind === NodeKind.view) buffer += variadicCounts[variadic++];
    if (version === 4 && plan.isUnion(node)) buffer++;

    const length = nodes[2 * node];
    const kept = Math.min(length, lengthOf(header, node, nodes, childLengths, rows));
    nodes[2 * node] = kept;
    if (kept === length) {
      // All of it: also its children, whatever their offsets say.
      continue;
    }
    const nulls = nodes[2 * node + 1];
    const hasBitmap = kind !== NodeKind.none && !plan.isUnion(node);
    if (nulls > 0 && hasBitmap) {
      const offset = buffers[2 * first];
      const raw = bytes.subarray(offset, offset + buffers[2 * first + 1]);
      const bitmap = compression === "none" ? raw : decompressBuffer(compression, raw, allowance);
      nodes[2 * node + 1] = kept - countOnes(bitmap, kept);
    } else {
      nodes[2 * node + 1] = Math.min(nulls, kept);
    }
    // A compressed buffer can only be kept whole.
    if (compression !== "none") continue;
    const shorten = (at: number, needed: number): void => {
      lengths[at] = Math.min(lengths[at], needed);
    };
    /** The 32- or 64-bit offset after the last kept value. */
    const lastOffset = (at: number, size: 4 | 8): number => {
      if (kept === 0) return 0;
      const position = buffers[2 * at] + size * kept;
      const offset = size === 4 ? view.getInt32(position, little) : Number(view.getBigInt64(position, little));
      if (!Number.isSafeInteger(offset) || offset < 0) {
        throw new DipcError("invalid_data", `offsets of column "${plan.fields[node].path}" are negative or too large`);
      }
      return offset;
    };
    if (hasBitmap) shorten(first, Math.ceil(kept / 8));
    const size = kind === NodeKind.binary64 || kind === NodeKind.list64 ? 8 : 4;
    switch (kind) {
      case NodeKind.fixed:
        shorten(first + 1, Math.ceil(kept * plan.bits[node] / 8));
        break;
      case NodeKind.binary32:
      case NodeKind.binary64:
        shorten(first + 2, lastOffset(first + 1, size));
        shorten(first + 1, size * (kept + 1));
        break;
      case NodeKind.list32:
      case NodeKind.list64:
        childLengths[node] = lastOffset(first + 1, size);
        shorten(first + 1, size * (kept + 1));
        break;
      case NodeKind.view:
        shorten(first + 1, 16 * kept);
        break;
      case NodeKind.listView32:
      case NodeKind.listView64: {
        const width = kind === NodeKind.listView32 ? 4 : 8;
        shorten(first + 1, width * kept);
        shorten(first + 2, width * kept);
        break;
      }
      case NodeKind.sparseUnion:
      case NodeKind.denseUnion: {
        const ids = version === 4 ? first + 1 : first;
        shorten(ids, kept);
        if (kind === NodeKind.denseUnion) shorten(ids + 1, 4 * kept);
        break;
      }
    }
  }
  return { nodes, lengths };
}

/** How many values of a node are needed, Infinity where only decoding would tell. */
function lengthOf(
  header: VerifiedHeader,
  node: number,
  nodes: Float64Array,
  childLengths: Float64Array,
  rows: number,
): number {
  const { plan } = header;
  const rule = plan.rules[node];
  if (rule === LengthRule.rows) return rows;
  const parent = plan.parents[node];
  if (rule === LengthRule.covers) {
    // The children of a parent that was kept whole are kept whole, also where they are longer than it.
    return nodes[2 * parent] === header.nodes[2 * parent] ? Infinity : nodes[2 * parent] * plan.factors[node];
  }
  return Number.isNaN(childLengths[parent]) ? Infinity : childLengths[parent];
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
  const bytes = header.bytes.slice();
  const view = new DataView(bytes.buffer);
  const reader = new FlatReader(bytes);
  const root = reader.root();
  const batch = reader.child(root, MESSAGE_HEADER, "record batch");
  const set = (at: number, value: number): void => view.setBigInt64(at, BigInt(value), true);
  set(reader.field(batch, BATCH_LENGTH, 8, "row count"), rows);
  const bodyLengthAt = reader.field(root, MESSAGE_BODY_LENGTH, 8, "body length");
  // Absent where it was 0, and then it still is.
  if (bodyLengthAt !== 0) set(bodyLengthAt, packed.body.byteLength);
  const nodesAt = reader.vector(batch, BATCH_NODES, 16, "field nodes") + 4;
  cut.nodes.forEach((value, i) => set(nodesAt + 8 * i, value));
  const buffersAt = reader.vector(batch, BATCH_BUFFERS, 16, "buffers") + 4;
  cut.lengths.forEach((length, i) => {
    set(buffersAt + 16 * i, packed.offsets[i]);
    set(buffersAt + 16 * i + 8, length);
  });
  return bytes;
}

/** Bits that are set among the first `count`. */
function countOnes(bitmap: Uint8Array, count: number): number {
  let ones = 0;
  for (let i = 0; i < count; i++) ones += (bitmap[i >> 3] >> (i & 7)) & 1;
  return ones;
}
