/**
 * Decompresses a body in host memory, for readers of columns in place: a compressed body has none.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { bufferName } from "./buffer_name.ts";
import { type Allowance, decompressBuffer, loadCodec } from "./compression.ts";
import { HeaderReader, messageMetadata, type VerifiedHeader } from "./header.ts";
import { encodeBatchMetadata } from "./metadata_writer.ts";
import type { Block, Body, Pool } from "../memory/block.ts";

/** Buffers start at multiples of this many bytes of the body, as in bodies that dipc encodes. */
const ALIGNMENT = 64;

/** A message without compression. */
export interface PlainMessage {
  readonly header: VerifiedHeader;
  readonly body: Body;
}

/**
 * Decompresses all buffers of a message into a new body, and writes metadata with their new positions.
 *
 * @param schema Header of the stream's schema
 * @param header Metadata of the message
 * @param body Body of the message in host memory; remains the caller's
 * @param pool Allocates the new body
 * @param maxBytes Largest total size of the decompressed buffers in bytes
 * @throws {DipcError} `invalid_data`, `limit_exceeded`, `out_of_memory`; `unsupported` for unions of metadata V4
 */
export async function decompressMessage(
  schema: VerifiedHeader,
  header: VerifiedHeader,
  body: Body,
  pool: Pool,
  maxBytes: number,
): Promise<PlainMessage> {
  const { compression, plan, buffers } = header;
  if (compression === "none") throw new DipcError("internal", "cannot decompress a body: it is not compressed");
  // The new metadata is of V5, which has no unused buffers.
  if (header.version === 4 && plan.bufferCounts[4] !== plan.bufferCounts[5]) {
    throw new DipcError(
      "unsupported",
      "cannot decompress a batch as a whole: it has a compressed union of metadata version V4; write it again with Arrow 1.0 or newer",
    );
  }
  await loadCodec(compression);
  const bytes = body.byteLength === 0 ? new Uint8Array(0) : body.bytes();
  const allowance: Allowance = { left: maxBytes, limit: maxBytes };
  const count = buffers.length / 2;
  const pieces: Uint8Array[] = [];
  const places: number[] = [];
  let end = 0;
  for (let i = 0; i < count; i++) {
    const at = bytes.byteOffset + buffers[2 * i];
    const compressed = new Uint8Array(bytes.buffer, at, buffers[2 * i + 1]);
    const piece = decompressBuffer(compression, compressed, allowance, () => bufferName(header, i));
    pieces.push(piece);
    places.push(end, piece.byteLength);
    end += Math.ceil(piece.byteLength / ALIGNMENT) * ALIGNMENT;
  }
  const custom = messageMetadata(header);
  const metadata = encodeBatchMetadata({
    rows: header.rows,
    bodyLength: end,
    nodes: [...header.nodes],
    buffers: places,
    variadicCounts: [...header.variadicCounts],
    custom: custom.size === 0 ? undefined : custom,
    dictionary: header.kind === "dictionary" ? { id: header.dictionaryId, isDelta: header.isDelta } : undefined,
  });
  // Checks that each buffer is large enough for its column, which shows only after decompression.
  const limits = { maxMetadataBytes: Infinity, maxBodyBytes: Infinity, maxRows: Infinity };
  const plain = HeaderReader.continuing(schema, limits).read(metadata);
  const block = pool.acquire(end);
  try {
    write(block, pieces, places, end);
    return { header: plain, body: block.toBody(end) };
  } catch (error) {
    block.release();
    throw error;
  }
}

/** Writes the buffers; gaps are zeroed, because blocks are recycled. */
function write(block: Block, pieces: readonly Uint8Array[], places: readonly number[], end: number): void {
  if (end === 0) return;
  const target = block.bytes();
  pieces.forEach((piece, i) => {
    const start = places[2 * i];
    target.set(piece, start);
    target.fill(0, start + piece.byteLength, i + 1 < pieces.length ? places[2 * i + 2] : end);
  });
}
