/**
 * Decompresses the buffers of a body, one at a time: LZ4 frames and ZSTD.
 *
 * A compressed buffer starts with the size of its content as a signed 64-bit integer; −1 means that the rest is not
 * compressed. The size is checked against a limit before anything is allocated, and the result against the size.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { textOf } from "../text.ts";
import { ContentSizeError } from "./content_size.ts";

/** Decompresses `input`, whose content must have exactly `size` bytes. */
type Decompress = (input: Uint8Array, size: number) => Uint8Array;

const loaded: { lz4: Decompress | null; zstd: Decompress | null } = { lz4: null, zstd: null };

/**
 * Loads the codec that {@linkcode decompressBuffer} needs; returns at once if it is loaded already.
 *
 * @param codec Codec of a body
 */
export async function loadCodec(codec: "lz4" | "zstd"): Promise<void> {
  if (loaded[codec] !== null) return;
  if (codec === "lz4") {
    loaded.lz4 = (await import("./lz4.ts")).decompressLz4Frame;
  } else {
    const { zstdDecompressSync } = await import("node:zlib");
    // One byte more than declared, so that longer content is detected.
    loaded.zstd = (input, size) => zstdDecompressSync(input, { maxOutputLength: size + 1 });
  }
}

/** Whether {@linkcode decompressBuffer} can be called for this codec. */
export function codecReady(codec: "none" | "lz4" | "zstd"): boolean {
  return codec === "none" || loaded[codec] !== null;
}

/** How many bytes may still be decompressed. */
export interface Allowance {
  /** Bytes left. */
  left: number;
  /** The limit as configured, for messages. */
  readonly limit: number;
}

/**
 * The content of one compressed buffer.
 *
 * @param codec Codec of the body
 * @param bytes The buffer as it is in the body, 8-aligned
 * @param allowance What may still be decompressed; reduced by the size of the content
 * @param nameOf What the buffer is, for messages; called only for an error
 * @throws {DipcError} `invalid_data`, `limit_exceeded`
 */
export function decompressBuffer(
  codec: "lz4" | "zstd",
  bytes: Uint8Array,
  allowance: Allowance,
  nameOf: () => string = () => `a ${codec} buffer`,
): Uint8Array {
  if (bytes.byteLength === 0) return bytes;
  if (bytes.byteLength < 8) {
    throw broken(
      nameOf,
      `its ${bytes.byteLength} bytes are too few for the length before the content, which takes 8`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const declared = view.getBigInt64(0, true);
  const size = Number(declared);
  const content = bytes.subarray(8);
  if (size === -1) return content;
  if (size < 0 || !Number.isSafeInteger(size)) throw wrongLength(nameOf, declared, "no buffer is so long");
  if (size > allowance.left) {
    throw new DipcError(
      "limit_exceeded",
      `cannot decompress ${nameOf()}, whose content is ${size} bytes: the limit maxDecompressedBytes of ${allowance.limit} bytes per batch would be exceeded; raise it or send smaller batches`,
    );
  }
  allowance.left -= size;
  if (size === 0) return new Uint8Array(0);
  const decompress = loaded[codec];
  if (decompress === null) {
    throw new DipcError(
      "internal",
      `cannot decompress a ${codec} buffer: the codec is not loaded; await prepare() first`,
    );
  }
  let result: Uint8Array;
  try {
    result = decompress(content, size);
  } catch (cause) {
    if (cause instanceof ContentSizeError) throw wrongLength(nameOf, size, cause.message, cause);
    if (isTooLarge(cause)) throw wrongLength(nameOf, size, `content is longer than ${size} bytes`, cause);
    throw broken(nameOf, `it is not ${codec === "lz4" ? "an LZ4 frame" : "Zstandard"}: ${textOf(cause)}`, cause);
  }
  if (result.byteLength !== size) {
    throw wrongLength(nameOf, size, `content is ${result.byteLength} bytes, expected ${size}`);
  }
  // Typed arrays over the result need it 8-aligned.
  return result.byteOffset % 8 === 0 ? result : result.slice();
}

/** Whether zlib has found more content than was declared. */
function isTooLarge(cause: unknown): boolean {
  return cause instanceof Error && (cause as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
}

function broken(nameOf: () => string, what: string, cause?: unknown): DipcError {
  return new DipcError("invalid_data", `cannot decompress ${nameOf()}: ${what}`, { cause });
}

/** Some writers have put the compressed length there, or another one. */
function wrongLength(nameOf: () => string, length: number | bigint, why: string, cause?: unknown): DipcError {
  const advice =
    "the program that wrote the data has stored a wrong length; write it again, uncompressed or by another one";
  return broken(nameOf, `the length before its content is ${length}, but ${why}; ${advice}`, cause);
}
