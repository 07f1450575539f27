/**
 * Reads the values of dictionary messages as bytes, without decoding them into columns.
 *
 * @module
 */
import { DipcError, LocalError } from "../errors.ts";
import { bufferName } from "../ipc/buffer_name.ts";
import { NodeKind } from "../ipc/buffers.ts";
import { type Allowance, decompressBuffer } from "../ipc/compression.ts";
import type { VerifiedHeader } from "../ipc/header.ts";
import type { NodePlan } from "../ipc/layout.ts";
import { defaultReaderLimits } from "../limits.ts";

/** Longest value that is kept inside its view, in bytes. */
const INLINE_BYTES = 12;
/** Size of a view in bytes. */
const VIEW_BYTES = 16;

/** One value as its bytes, or `null`; a view that is valid until the memory of the message is given back. */
export type ValueBytes = Uint8Array<ArrayBuffer> | null;

/** Whether {@linkcode dictionaryValues} can read dictionaries of a plan: values of one node, and not nested. */
export function isReadable({ nodeCount, kinds, fields }: NodePlan): boolean {
  const kind = kinds[0];
  return nodeCount === 1 && fields[0].children.length === 0 &&
    (kind === NodeKind.fixed || kind === NodeKind.binary32 || kind === NodeKind.binary64 || kind === NodeKind.view);
}

/**
 * The buffers of a message, decompressed by a codec that is loaded already.
 *
 * @param header Header of the message
 * @param bytes Its body
 * @throws {DipcError} `invalid_data`, `limit_exceeded`
 */
function plainBuffers(header: VerifiedHeader, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const { buffers, compression } = header;
  const limit = defaultReaderLimits.maxDecompressedBytes;
  const allowance: Allowance = { left: limit, limit };
  return Array.from({ length: buffers.length / 2 }, (_, i) => {
    const piece = bytes.subarray(buffers[2 * i], buffers[2 * i] + buffers[2 * i + 1]);
    if (compression === "none") return piece;
    return decompressBuffer(compression, piece, allowance, () => bufferName(header, i)) as Uint8Array<ArrayBuffer>;
  });
}

/** Whether the value at `index` is null, according to a validity bitmap; an empty one has no nulls. */
export function isNullAt(bitmap: Uint8Array, index: number): boolean {
  return bitmap.byteLength > 0 && (bitmap[index >> 3] & (1 << (index & 7))) === 0;
}

/**
 * The values of a dictionary message in order. The codec of its body must be loaded already.
 *
 * @param header Header of the message, whose plan {@linkcode isReadable}
 * @param bytes Its body
 * @throws {DipcError} `invalid_data` if offsets or views lead out of a buffer; `limit_exceeded`
 */
export function* dictionaryValues(
  header: VerifiedHeader,
  bytes: Uint8Array<ArrayBuffer>,
): Generator<ValueBytes, undefined> {
  const { plan, nodes } = header;
  const buffers = plainBuffers(header, bytes);
  const bitmap = nodes[1] === 0 ? new Uint8Array(0) : buffers[0];
  if (bitmap.byteLength < (nodes[1] === 0 ? 0 : Math.ceil(nodes[0] / 8))) throw damaged(header, "is too short");
  const read = readerOf(header, plan.kinds[0], buffers);
  for (let i = 0; i < nodes[0]; i++) yield isNullAt(bitmap, i) ? null : read(i);
}

type ReadValue = (index: number) => Uint8Array<ArrayBuffer>;

function readerOf(header: VerifiedHeader, kind: NodeKind, buffers: readonly Uint8Array<ArrayBuffer>[]): ReadValue {
  const data = buffers[1];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const slice = (from: Uint8Array<ArrayBuffer>, start: number, end: number): Uint8Array<ArrayBuffer> => {
    if (!(start >= 0 && end >= start && end <= from.byteLength)) throw damaged(header, "leads out of its data");
    return from.subarray(start, end);
  };
  switch (kind) {
    case NodeKind.fixed: {
      const bits = header.plan.bits[0];
      if (bits === 1) return (i) => Uint8Array.of((slice(data, i >> 3, (i >> 3) + 1)[0] >> (i & 7)) & 1);
      return (i) => slice(data, i * bits / 8, (i + 1) * bits / 8);
    }
    case NodeKind.binary32:
      slice(data, 0, header.rows === 0 ? 0 : 4 * (header.rows + 1));
      return (i) => slice(buffers[2], view.getInt32(4 * i, true), view.getInt32(4 * i + 4, true));
    case NodeKind.binary64:
      slice(data, 0, header.rows === 0 ? 0 : 8 * (header.rows + 1));
      return (i) => slice(buffers[2], Number(view.getBigInt64(8 * i, true)), Number(view.getBigInt64(8 * i + 8, true)));
    case NodeKind.view:
      slice(data, 0, VIEW_BYTES * header.rows);
      return (i) => {
        const size = view.getInt32(VIEW_BYTES * i, true);
        if (size <= INLINE_BYTES) return slice(data, VIEW_BYTES * i + 4, VIEW_BYTES * i + 4 + size);
        const [buffer, at] = [8, 12].map((offset) => view.getInt32(VIEW_BYTES * i + offset, true));
        if (buffer < 0 || buffer + 2 >= buffers.length) throw damaged(header, "leads out of its data");
        return slice(buffers[buffer + 2], at, at + size);
      };
    default:
      throw new DipcError("internal", `cannot read dictionary ${header.dictionaryId}: its values are nested`);
  }
}

function damaged(header: VerifiedHeader, what: string): DipcError {
  return new LocalError("invalid_data", `cannot read a dictionary: ${bufferName(header, 1)} ${what}`);
}
