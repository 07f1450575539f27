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
 * @throws {DipcError} `invalid_data`, `limit_exceeded`
 */
export function decompressBuffer(codec: "lz4" | "zstd", bytes: Uint8Array, allowance: Allowance): Uint8Array {
  if (bytes.byteLength === 0) return bytes;
  if (bytes.byteLength < 8) {
    throw broken(codec, `${bytes.byteLength} bytes are too few for the length of its content, which takes 8`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const size = Number(view.getBigInt64(0, true));
  const content = bytes.subarray(8);
  if (size === -1) return content;
  if (size < 0 || !Number.isSafeInteger(size)) throw broken(codec, `the declared length is ${size}`);
  if (size > allowance.left) {
    throw new DipcError(
      "limit_exceeded",
      `cannot decompress a ${codec} buffer of ${size} bytes: the limit maxDecompressedBytes of ${allowance.limit} bytes per batch would be exceeded; raise it or send smaller batches`,
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
    throw broken(codec, textOf(cause), cause);
  }
  if (result.byteLength !== size) throw broken(codec, `${result.byteLength} bytes came out, expected ${size}`);
  // Typed arrays over the result need it 8-aligned.
  return result.byteOffset % 8 === 0 ? result : result.slice();
}

function broken(codec: string, what: string, cause?: unknown): DipcError {
  return new DipcError("invalid_data", `cannot decompress a ${codec} buffer: ${what}`, { cause });
}
