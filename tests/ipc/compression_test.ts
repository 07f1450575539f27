/** Compressed bodies: limits before anything is allocated, and codecs that survive malformed input. */
import { assert, assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { Dictionary, Field, Int32, Int8, List, Table, Utf8, Utf8View, vectorFromArray } from "apache-arrow";
import { zstdCompressSync } from "node:zlib";
import { DipcError } from "../../src/errors.ts";
import { codecReady, decompressBuffer, loadCodec } from "../../src/ipc/compression.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { bufferName } from "../../src/ipc/buffer_name.ts";
import { BatchEncoder } from "../../src/ipc/encode.ts";
import { HeaderReader, type VerifiedHeader } from "../../src/ipc/header.ts";
import { hostPool } from "../../src/memory/host_pool.ts";
import { decompressLz4Frame } from "../../src/ipc/lz4.ts";
import { wrapBytes } from "../../src/memory/wrap.ts";
import { assertDipcError } from "../support/assert.ts";
import { batchMessage, int32, schemaMessage, writeFlat } from "../support/ipc_flatbuffer.ts";
import { seed, seededRandom } from "../support/random.ts";

/** A compressed buffer as it is in a body: the declared length, then the content. */
function buffer(declared: bigint, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + content.byteLength);
  new DataView(bytes.buffer).setBigInt64(0, declared, true);
  bytes.set(content, 8);
  return bytes;
}

/** An LZ4 frame of one block, without content size and checksums. */
function lz4Frame(block: number[], stored = false): Uint8Array {
  const size = (block.length | (stored ? 0x80000000 : 0)) >>> 0;
  const words = [0x184d2204, size].flatMap((n) => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24]);
  return Uint8Array.from([...words.slice(0, 4), 0x60, 0x40, 0x82, ...words.slice(4), ...block, 0, 0, 0, 0]);
}

const allowance = (left: number): { left: number; limit: number } => ({ left, limit: left });
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytesOf = (string: string): number[] => [...new TextEncoder().encode(string)];

Deno.test("LZ4 blocks: literals, overlapping matches, long lengths, stored blocks, several blocks", () => {
  // Examples made by hand from the description of the block format: token, literals, offset, more length.
  assertEquals(text(decompressLz4Frame(lz4Frame([0x30, ...bytesOf("abc")]), 3)), "abc");
  assertEquals(text(decompressLz4Frame(lz4Frame([0x11, 97, 1, 0, 0x50, ...bytesOf("bcdef")]), 11)), "aaaaaabcdef");
  assertEquals(text(decompressLz4Frame(lz4Frame([0x22, 97, 98, 2, 0, 0x10, 33]), 9)), "abababab!");
  const long = [0xf0, 255, 30, ...Array(300).fill(120)];
  assertEquals(text(decompressLz4Frame(lz4Frame(long), 300)), "x".repeat(300));
  const match = [0x1f, 121, 1, 0, 255, 255, 14, 0x10, 122];
  assertEquals(text(decompressLz4Frame(lz4Frame(match), 545)), "y".repeat(544) + "z");
  assertEquals(text(decompressLz4Frame(lz4Frame(bytesOf("stored"), true), 6)), "stored");
  const first = lz4Frame([0x30, ...bytesOf("abc")]);
  const second = lz4Frame([0x02, 3, 0, 0x10, 33]).subarray(7);
  const both = Uint8Array.from([...first.subarray(0, -4), ...second]);
  assertEquals(text(decompressLz4Frame(both, 10)), "abcabcabc!");
});

Deno.test("malformed LZ4 frames are errors", () => {
  const frame = lz4Frame([0x22, 97, 98, 2, 0, 0x10, 33]);
  const change = (at: number, value: number): Uint8Array => frame.with(at, value);
  for (
    const [bytes, size, error] of [
      [frame.subarray(0, 6), 9, "not an LZ4 frame"],
      [change(0, 0), 9, "not an LZ4 frame"],
      [change(4, 0xa0), 9, "version 2"],
      [change(4, 0x61), 9, "needs a dictionary"],
      [change(4, 0x68), 9, "declares"],
      [frame.subarray(0, -4), 9, "before its end mark"],
      [frame.subarray(0, 13), 9, "cut off"],
      [frame, 8, "longer than 8"],
      [frame, 7, "longer than 7"],
      [frame, 10, "content is 9 bytes, expected 10"],
      [lz4Frame([0x22, 97, 98, 3, 0, 0x10, 33]), 9, "offset 3 points before"],
      [lz4Frame([0x22, 97, 98, 0, 0, 0x10, 33]), 9, "offset 0 points before"],
      [lz4Frame([0x22, 97, 98, 2, 0]), 9, "middle of a sequence"],
      [lz4Frame([0x22, 97, 98, 2]), 9, "offset is cut off"],
      [lz4Frame([0xf0, 255]), 9, "literal length is cut off"],
      [lz4Frame([0x1f, 97, 1, 0, 255]), 900, "match length is cut off"],
      [lz4Frame([0x50, 97, 98]), 9, "literals are cut off"],
      [lz4Frame(bytesOf("too long"), true), 7, "longer than 7"],
      [frame, 1e12, "cannot hold 1000000000000"],
    ] as const
  ) {
    const error_ = assertThrows(() => decompressLz4Frame(bytes, size)) as Error;
    assertInstanceOf(error_, RangeError);
    assertStringIncludes(error_.message, error);
  }
});

Deno.test("declared lengths are checked before anything is allocated, and against the result", async () => {
  await loadCodec("zstd");
  await loadCodec("lz4");
  const content = zstdCompressSync(new Uint8Array(1000).fill(7));
  const good = decompressBuffer("zstd", buffer(1000n, content), allowance(1000));
  assertEquals([...good], Array(1000).fill(7));
  assertEquals(good.byteOffset % 8, 0);
  assertEquals([...decompressBuffer("zstd", buffer(-1n, new Uint8Array([1, 2])), allowance(0))], [1, 2]);
  assertEquals(decompressBuffer("zstd", new Uint8Array(0), allowance(0)).byteLength, 0);
  assertEquals(decompressBuffer("lz4", buffer(0n, new Uint8Array(0)), allowance(0)).byteLength, 0);
  assertDipcError(
    "limit_exceeded",
    "maxDecompressedBytes",
    () => decompressBuffer("zstd", buffer(1000n, content), allowance(999)),
  );
  assertDipcError(
    "limit_exceeded",
    "maxDecompressedBytes",
    () => decompressBuffer("lz4", buffer(1n << 40n, content), allowance(1 << 30)),
  );
  assertDipcError(
    "invalid_data",
    "length before its content is -2",
    () => decompressBuffer("zstd", buffer(-2n, content), allowance(9999)),
  );
  assertDipcError(
    "invalid_data",
    "length before its content is",
    () => decompressBuffer("zstd", buffer(1n << 60n, content), allowance(9999)),
  );
  assertDipcError("invalid_data", "zstd", () => decompressBuffer("zstd", buffer(999n, content), allowance(9999)));
  assertDipcError(
    "invalid_data",
    "expected 1001",
    () => decompressBuffer("zstd", buffer(1001n, content), allowance(9999)),
  );
  assertDipcError(
    "invalid_data",
    "zstd",
    () => decompressBuffer("zstd", buffer(9n, new Uint8Array(9)), allowance(9999)),
  );
  assertDipcError("invalid_data", "too few", () => decompressBuffer("zstd", new Uint8Array(5), allowance(9999)));
  // 100 MB of zeros in 9 KB: nothing near that is allocated if 1,000 bytes are declared.
  const bomb = zstdCompressSync(new Uint8Array(100_000_000));
  assertDipcError("invalid_data", "zstd", () => decompressBuffer("zstd", buffer(1000n, bomb), allowance(9999)));
  const spent = allowance(1500);
  decompressBuffer("zstd", buffer(1000n, content), spent);
  assertDipcError(
    "limit_exceeded",
    "maxDecompressedBytes of 1500",
    () => decompressBuffer("zstd", buffer(1000n, content), spent),
  );
});

Deno.test("a compressed batch decodes after prepare(), and its buffers are checked once they are decompressed", async () => {
  const reader = new HeaderReader();
  const decoder = new BatchDecoder(reader.read(writeFlat(schemaMessage([int32()])).bytes), {
    maxDecompressedBytes: 64,
  });
  const batch = (content: Uint8Array, declared: bigint) => {
    const bytes = buffer(declared, content);
    const metadata = batchMessage(
      { compression: [1, 0], buffers: [0n, 0n, 0n, BigInt(bytes.byteLength)] },
      { bodyLength: BigInt(bytes.byteLength) },
    );
    return { header: reader.read(writeFlat(metadata).bytes), body: wrapBytes(bytes.slice()) };
  };
  const values = Int32Array.from([1, 2, 3, 4]);
  const good = batch(zstdCompressSync(new Uint8Array(values.buffer)), 16n);
  await decoder.prepare(good.header);
  assert(decoder.ready(good.header) && codecReady("zstd"), "zstd is not ready");
  assertEquals([...decoder.decode(good)!.getChildAt(0)!], [1, 2, 3, 4]);
  for (const declared of [15n, 17n, -5n, 1n << 62n]) {
    const wrong = batch(zstdCompressSync(new Uint8Array(values.buffer)), declared);
    const text = `cannot decompress the value buffer of column "x": the length before its content is ${declared}, but`;
    assertDipcError("invalid_data", text, () => decoder.decode(wrong)!.getChildAt(0));
  }
  const short = batch(zstdCompressSync(new Uint8Array(12)), 12n);
  assertDipcError("invalid_data", "has 12 bytes, expected 16", () => decoder.decode(short)!.getChildAt(0));
  const long = batch(zstdCompressSync(new Uint8Array(80)), 80n);
  assertDipcError("limit_exceeded", "maxDecompressedBytes", () => decoder.decode(long)!.getChildAt(0));
});

Deno.test("each buffer of a batch and of a dictionary has a name", () => {
  const word = vectorFromArray(["a", "b"], new Dictionary(new Utf8(), new Int8(), 0));
  const view = vectorFromArray(["a long text", "another, longer text"], new Utf8View());
  const table = new Table({
    word,
    view,
    list: vectorFromArray([[1], [2, 3]], new List(new Field("item", new Int32()))),
  });
  const messages = new BatchEncoder(table.schema, hostPool()).encode(table.batches[0]);
  const names = messages.map(({ header, body }) => {
    body!.release();
    const { buffers } = header;
    return Array.from({ length: buffers.length / 2 }, (_, i) => bufferName(header as VerifiedHeader, i));
  });
  const of = (column: string, ...kinds: string[]): string[] => kinds.map((kind) => `the ${kind} buffer of ${column}`);
  assertEquals(names, [
    of('the dictionary of column "word"', "validity", "offset", "value"),
    [
      ...of('column "word"', "validity", "value"),
      ...of('column "view"', "validity", "view", "data"),
      ...of('column "list"', "validity", "offset"),
      ...of('column "list.item"', "validity", "value"),
    ],
  ]);
});

Deno.test("damaged LZ4 frames and ZSTD data end in an error or in the declared number of bytes", async () => {
  await loadCodec("lz4");
  await loadCodec("zstd");
  const random = seededRandom();
  const sample = Uint8Array.from({ length: 400 }, (_, i) => (i * i) >> 5);
  const sources = {
    lz4: lz4Frame([0xf2, 130, ...sample.subarray(0, 145), 20, 0, 0x10, 1]),
    zstd: new Uint8Array(zstdCompressSync(sample)),
  };
  const counts = { whole: 0, refused: 0 };
  for (let round = 0; round < 4000; round++) {
    const codec = round % 2 === 0 ? "lz4" : "zstd";
    const damaged = sources[codec].slice();
    for (let n = 1 + random.below(4); n > 0; n--) damaged[random.below(damaged.length)] = random.below(256);
    const cut = random.below(4) === 0 ? damaged.subarray(0, random.below(damaged.length)) : damaged;
    const size = random.below(2) === 0 ? 1 + random.below(1000) : codec === "lz4" ? 152 : 400;
    try {
      assertEquals(decompressBuffer(codec, buffer(BigInt(size), cut), allowance(1000)).byteLength, size);
      counts.whole++;
    } catch (error) {
      assert(error instanceof DipcError && error.code === "invalid_data", `seed ${seed}, round ${round}: ${error}`);
      counts.refused++;
    }
  }
  assert(counts.refused > 2000 && counts.whole > 100, `seed ${seed}: ${JSON.stringify(counts)}`);
});
