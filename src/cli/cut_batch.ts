/**
 * Cuts a record batch down to its first rows without decoding it: its metadata says fewer rows, its body stays as it is.
 * Works for every Arrow type, because buffers may be longer than their rows need.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { decompressBuffer, loadCodec } from "../ipc/compression.ts";
import { FlatReader } from "../ipc/flatbuffer.ts";
import { HeaderReader, verified } from "../ipc/header.ts";
import { LengthRule, NodeKind } from "../ipc/layout.ts";
import type { IpcMessage, MessageHeader } from "../ipc/message.ts";
import { defaultReaderLimits } from "../limits.ts";

/** Header fields of `Message.fbs` and `RecordBatch` that are changed. */
const MESSAGE_HEADER = 2, BATCH_LENGTH = 0, BATCH_NODES = 1;

/**
 * The first `rows` rows of a batch. Takes over `message`: the result has its body.
 *
 * @param schema Header of the stream's schema
 * @param message A record batch of more than `rows` rows
 * @param rows Rows to keep, at least 1
 * @throws {DipcError} `invalid_data` where a compressed validity bitmap is damaged
 */
export async function cutBatch(schema: MessageHeader, message: IpcMessage, rows: number): Promise<IpcMessage> {
  const { body } = message;
  if (rows < 1 || rows >= message.header.rows || body === null) {
    throw new DipcError("internal", `cannot cut a batch of ${message.header.rows} rows to ${rows}`);
  }
  const headers = HeaderReader.continuing(schema);
  const header = verified(message.header, headers);
  const { plan, nodes, buffers, variadicCounts, version, compression } = header;
  if (compression !== "none") await loadCodec(compression);
  const allowance = { left: defaultReaderLimits.maxDecompressedBytes, limit: defaultReaderLimits.maxDecompressedBytes };
  const bytes = header.bytes.slice();
  const view = new DataView(bytes.buffer);
  const reader = new FlatReader(bytes);
  const batch = reader.child(reader.root(), MESSAGE_HEADER, "record batch");
  const lengthAt = reader.field(batch, BATCH_LENGTH, 8, "row count");
  const nodesAt = reader.vector(batch, BATCH_NODES, 16, "field nodes") + 4;
  view.setBigInt64(lengthAt, BigInt(rows), true);

  let buffer = 0;
  let variadic = 0;
  for (let node = 0; node < plan.nodeCount; node++) {
    const kind = plan.kinds[node];
    const validity = buffer;
    buffer += plan.buffersOf(node);
    if (kind === NodeKind.view) buffer += variadicCounts[variadic++];
    if (version === 4 && plan.isUnion(node)) buffer++;
    if (plan.rules[node] !== LengthRule.rows) continue;
    const nulls = nodes[2 * node + 1];
    let kept = Math.min(nulls, rows);
    if (nulls > 0 && kind !== NodeKind.none && !plan.isUnion(node)) {
      const offset = buffers[2 * validity];
      const raw = body.bytes().subarray(offset, offset + buffers[2 * validity + 1]);
      kept = rows - countOnes(compression === "none" ? raw : decompressBuffer(compression, raw, allowance), rows);
    }
    view.setBigInt64(nodesAt + 16 * node, BigInt(rows), true);
    view.setBigInt64(nodesAt + 16 * node + 8, BigInt(kept), true);
  }
  return { header: headers.read(bytes), body };
}

/** Bits that are set among the first `count`. */
function countOnes(bitmap: Uint8Array, count: number): number {
  let ones = 0;
  for (let i = 0; i < count; i++) ones += (bitmap[i >> 3] >> (i & 7)) & 1;
  return ones;
}
