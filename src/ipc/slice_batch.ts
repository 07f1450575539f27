/**
 * Cuts a record batch into slices of its rows, without decoding it, so that each fits into a message of a given size.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { Pool } from "../memory/block.ts";
import { patchBatch } from "./batch_patch.ts";
import {
  buffersIn,
  type BufferSpec,
  bytesOf,
  ElementCount,
  fixedBufferCount,
  hasValidity,
  NodeKind,
} from "./buffers.ts";
import { HeaderReader, NO_HEADER_LIMITS, verified, type VerifiedHeader } from "./header.ts";
import { LengthRule } from "./layout.ts";
import type { IpcMessage, MessageHeader } from "./message.ts";

/** Buffers of a body start at multiples of this many bytes, as Arrow recommends. */
const ALIGNMENT = 64;
/** The same if that would take too much of a slice: the least that Arrow allows. */
const LEAST_ALIGNMENT = 8;
/** Part of a slice that may be padding. */
const MAX_PADDING = 1 / 8;
/** Slices start at multiples of this many rows if there are enough, so that bitmaps can be copied by the byte. */
const ROW_STEP = 8;

/** What a slice takes of one buffer. */
interface BufferSlice {
  readonly length: number;
  write(target: Uint8Array): void;
}

/** One slice, planned. */
interface Slice {
  readonly rows: number;
  readonly nodes: Float64Array;
  readonly buffers: readonly BufferSlice[];
  /** Size of its body in bytes. */
  readonly bytes: number;
  /** Buffers start at multiples of this many bytes. */
  readonly alignment: number;
}

/**
 * The slices of a batch, in order. Takes over the message, even if the caller stops early or an error is thrown. A batch that
 * cannot be cut into messages that are small enough comes as it is: one whose body is compressed, has run-end encoded columns, or
 * consists of what every slice would need (values of views, of list views and of dense unions).
 *
 * @param schema Header of the stream's schema
 * @param message A record batch
 * @param maxBytes Maximum size of metadata and body together, in bytes
 * @param pool Allocates the bodies
 * @throws {DipcError} `invalid_data` if offsets are damaged; `out_of_memory`
 */
export function* slicesOf(
  schema: MessageHeader,
  message: IpcMessage,
  maxBytes: number,
  pool: Pool,
): Generator<IpcMessage, undefined> {
  const { header, body, appMetadata } = message;
  const bodyBytes = maxBytes - header.bytes.byteLength;
  const isSmall = body === null || header.bytes.byteLength + body.byteLength <= maxBytes;
  if (isSmall) return yield message;
  let isOurs = true;
  try {
    const headers = HeaderReader.continuing(schema, NO_HEADER_LIMITS);
    const batch = verified(header, headers);
    const slicer = slicerOf(batch, body.bytes(), bodyBytes);
    if (slicer === null) {
      isOurs = false;
      return yield message;
    }
    let isFirst = true;
    for (const slice of slicer.slices(bodyBytes)) {
      const sliced = packed(batch, slice, headers, pool);
      yield isFirst && appMetadata !== undefined ? { ...sliced, appMetadata } : sliced;
      isFirst = false;
    }
  } finally {
    if (isOurs) body.release();
  }
}

/** What cuts a batch; `null` if it cannot be cut. */
function slicerOf(header: VerifiedHeader, bytes: Uint8Array, bodyBytes: number): Slicer | null {
  const { plan, compression, rows, buffers } = header;
  if (header.kind !== "batch" || compression !== "none" || rows < 2 || bodyBytes < 1) return null;
  if (plan.rules.some((rule) => rule === LengthRule.runEnds || rule === LengthRule.runValues)) return null;
  const isPaddingSmall = buffers.length / 2 * ALIGNMENT <= bodyBytes * MAX_PADDING;
  const slicer = new Slicer(header, bytes, isPaddingSmall ? ALIGNMENT : LEAST_ALIGNMENT);
  return slicer.slice(0, 1).bytes <= bodyBytes / 2 ? slicer : null;
}

function packed(header: VerifiedHeader, slice: Slice, headers: HeaderReader, pool: Pool): IpcMessage {
  const lengths = Float64Array.from(slice.buffers, ({ length }) => length);
  const offsets = new Float64Array(lengths.length);
  const block = pool.acquire(slice.bytes);
  try {
    const target = block.bytes();
    target.fill(0, 0, slice.bytes);
    let at = 0;
    slice.buffers.forEach((buffer, i) => {
      offsets[i] = at;
      buffer.write(target.subarray(at, at + buffer.length));
      at += aligned(buffer.length, slice.alignment);
    });
    const { rows, nodes, bytes: bodyLength } = slice;
    const metadata = patchBatch(header.bytes, { rows, nodes, offsets, lengths, bodyLength });
    return { header: headers.read(metadata), body: block.toBody(slice.bytes) };
  } catch (error) {
    block.release();
    throw error;
  }
}

/** Plans the slices of one batch. */
class Slicer {
  readonly #header: VerifiedHeader;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #alignment: number;

  constructor(header: VerifiedHeader, bytes: Uint8Array, alignment: number) {
    this.#alignment = alignment;
    this.#header = header;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** All slices, each of at most so many bytes unless it has a single row. */
  *slices(maxBytes: number): Generator<Slice, undefined> {
    const { rows, bodyLength } = this.#header;
    // With other padding than in the batch, and more of it in each slice.
    const padding = this.#header.buffers.length / 2 * this.#alignment;
    const bytes = Math.max(bodyLength, this.slice(0, rows).bytes);
    const even = Math.floor(rows * Math.max(maxBytes / 2, maxBytes - padding) / bytes);
    let count = Math.max(1, even > ROW_STEP ? even - even % ROW_STEP : even);
    for (let from = 0; from < rows;) {
      const slice = this.slice(from, Math.min(rows, from + count));
      if (slice.bytes > maxBytes && slice.rows > 1) {
        // Its values are longer than those of others.
        const half = Math.floor(slice.rows / 2);
        count = half > ROW_STEP ? half - half % ROW_STEP : half;
        continue;
      }
      yield slice;
      from += slice.rows;
    }
  }

  /** The rows `from` to `to`. */
  slice(from: number, to: number): Slice {
    const { plan, nodes, variadicCounts, version } = this.#header;
    const found = new Float64Array(nodes.length);
    // Of each node: the first value that is taken, and the first and the end of those that its offsets name.
    const starts = new Float64Array(plan.nodeCount);
    const ranges = new Float64Array(2 * plan.nodeCount).fill(NaN);
    const buffers: BufferSlice[] = [];
    let view = 0;
    for (let node = 0; node < plan.nodeCount; node++) {
      const [start, length] = this.#rangeOf(node, from, to, starts, ranges, found);
      starts[node] = start;
      found[2 * node] = length;
      const kind = plan.kinds[node];
      const first = buffers.length;
      const hasNulls = nodes[2 * node + 1] > 0;
      const isBitmapOfNulls = hasNulls && hasValidity(kind) && this.#lengthOf(first) > 0;
      found[2 * node + 1] = isBitmapOfNulls
        ? length - this.#ones(first, start, length)
        : Math.min(nodes[2 * node + 1], length);
      for (const spec of buffersIn(version)[kind]) {
        if (spec.role === "variadic") continue;
        buffers.push(this.#bufferOf(spec, node, buffers.length, start, length, ranges));
      }
      if (buffers.length - first !== fixedBufferCount(kind, version)) {
        throw new DipcError("internal", "cannot cut a batch: the number of its buffers is wrong");
      }
      if (kind === NodeKind.view) {
        for (let left = variadicCounts[view++]; left > 0; left--) buffers.push(this.#whole(buffers.length));
      }
    }
    const alignment = this.#alignment;
    const bytes = buffers.reduce((sum, { length }) => sum + aligned(length, alignment), 0);
    return { rows: to - from, nodes: found, buffers, bytes, alignment };
  }

  /** The first value of a node that is taken, and how many. */
  #rangeOf(
    node: number,
    from: number,
    to: number,
    starts: Float64Array,
    ranges: Float64Array,
    found: Float64Array,
  ): [start: number, length: number] {
    const { plan, nodes } = this.#header;
    if (plan.rules[node] === LengthRule.rows) return [from, to - from];
    const parent = plan.parents[node];
    if (plan.rules[node] === LengthRule.covers) {
      return [starts[parent] * plan.factors[node], found[2 * parent] * plan.factors[node]];
    }
    const [first, end] = ranges.subarray(2 * parent, 2 * parent + 2);
    return Number.isNaN(first) ? [0, nodes[2 * node]] : [first, end - first];
  }

  #bufferOf(
    spec: BufferSpec,
    node: number,
    index: number,
    start: number,
    length: number,
    ranges: Float64Array,
  ): BufferSlice {
    if (this.#lengthOf(index) === 0) return NOTHING;
    switch (spec.count) {
      case ElementCount.valuesAndEnd:
        return this.#offsets(spec, node, index, start, length, ranges);
      case ElementCount.lastOffset: {
        const [first, end] = ranges.subarray(2 * node, 2 * node + 2);
        return this.#bytesFrom(index, first, end - first);
      }
      case ElementCount.any:
        return this.#whole(index);
    }
    const bits = spec.bits ?? this.#header.plan.bits[node];
    if (bits % 8 === 0) return this.#bytesFrom(index, start * bits / 8, length * bits / 8);
    return start * bits % 8 === 0
      ? this.#bytesFrom(index, start * bits / 8, bytesOf(spec, length, bits))
      : this.#bits(index, start * bits, length * bits);
  }

  /** Offsets that begin with 0 again. */
  #offsets(
    { bits }: BufferSpec,
    node: number,
    index: number,
    start: number,
    length: number,
    ranges: Float64Array,
  ): BufferSlice {
    const isLittle = this.#header.layout.endianness === "little";
    const size = bits! / 8;
    this.#check(index, (start + length + 1) * size);
    const at = this.#header.buffers[2 * index] + start * size;
    const read = (i: number): number =>
      size === 4 ? this.#view.getInt32(at + 4 * i, isLittle) : Number(this.#view.getBigInt64(at + 8 * i, isLittle));
    const [first, end] = [read(0), read(length)];
    if (!(first >= 0 && end >= first && Number.isSafeInteger(end))) {
      const { path } = this.#header.plan.fields[node];
      throw new DipcError("invalid_data", `cannot cut column "${path}": its offsets are negative or fall`);
    }
    ranges[2 * node] = first;
    ranges[2 * node + 1] = end;
    return {
      length: (length + 1) * size,
      write(target) {
        const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
        for (let i = 0; i <= length; i++) {
          if (size === 4) view.setInt32(4 * i, read(i) - first, isLittle);
          else view.setBigInt64(8 * i, BigInt(read(i) - first), isLittle);
        }
      },
    };
  }

  #bytesFrom(index: number, start: number, length: number): BufferSlice {
    this.#check(index, start + length);
    const at = this.#header.buffers[2 * index] + start;
    return { length, write: (target) => target.set(this.#bytes.subarray(at, at + length)) };
  }

  /** @throws {DipcError} `invalid_data` if a buffer does not have so many bytes: offsets of a parent lead out of it */
  #check(index: number, bytes: number): void {
    if (bytes <= this.#lengthOf(index)) return;
    throw new DipcError("invalid_data", "cannot cut a batch: its offsets lead out of a buffer");
  }

  /** Bits that do not begin at a byte. */
  #bits(index: number, start: number, count: number): BufferSlice {
    this.#check(index, Math.ceil((start + count) / 8));
    const at = this.#header.buffers[2 * index] + Math.floor(start / 8);
    const shift = start % 8;
    const end = this.#header.buffers[2 * index] + this.#lengthOf(index);
    const length = Math.ceil(count / 8);
    return {
      length,
      write: (target) => {
        for (let i = 0; i < length; i++) {
          const next = at + i + 1 < end ? this.#bytes[at + i + 1] : 0;
          target[i] = this.#bytes[at + i] >> shift | next << (8 - shift);
        }
      },
    };
  }

  #whole(index: number): BufferSlice {
    return this.#bytesFrom(index, 0, this.#lengthOf(index));
  }

  #lengthOf(index: number): number {
    return this.#header.buffers[2 * index + 1];
  }

  /** Number of bits that are set in a bitmap, from `start`. */
  #ones(index: number, start: number, count: number): number {
    // Before the loop, whose length is a number of the file's.
    this.#check(index, Math.ceil((start + count) / 8));
    const at = this.#header.buffers[2 * index];
    let ones = 0;
    for (let i = start; i < start + count; i++) ones += (this.#bytes[at + Math.floor(i / 8)] >> (i % 8)) & 1;
    return ones;
  }
}

const NOTHING: BufferSlice = { length: 0, write: () => {} };

function aligned(length: number, alignment: number): number {
  return Math.ceil(length / alignment) * alignment;
}
