/**
 * Fuzz targets for Arrow metadata and bodies. An input is a stream: for each message the lengths of its metadata and of its
 * body (u32 each), then both.
 *
 * - `ipc/metadata` reads the metadata and looks at what the verifier let through;
 * - `ipc/decode` also decodes the bodies, reads values as a user would, and encodes the batches again.
 *
 * @module
 */
import { zstdCompressSync } from "node:zlib";
import { Field, makeData, RecordBatch, Schema, Struct, Vector } from "apache-arrow";
import { DipcError } from "../../../src/errors.ts";
import { loadCodec } from "../../../src/ipc/compression.ts";
import { BatchDecoder } from "../../../src/ipc/decode.ts";
import { describe } from "../../../src/ipc/describe.ts";
import { BatchEncoder } from "../../../src/ipc/encode.ts";
import { HeaderReader, type VerifiedHeader } from "../../../src/ipc/header.ts";
import { wrapBytes } from "../../../src/memory/wrap.ts";
import { Random } from "../../support/random.ts";
import { allTypes, randomColumn } from "../../support/ipc_columns.ts";
import { batchMessage, int32, schemaMessage, writeFlat } from "../../support/ipc_flatbuffer.ts";
import { SOUND_METADATA } from "../../support/ipc_hostile_metadata.ts";
import { rawMessages, rubbishPool } from "../../support/ipc_messages.ts";
import { type Budget, plainValue } from "../../support/ipc_values.ts";
import type { FuzzTarget } from "../target.ts";

/** What reading an input may cost: the input itself is 64 KiB at most. */
const LIMITS = { maxMetadataBytes: 1 << 16, maxBodyBytes: 1 << 20, maxRows: 10_000 };
const MAX_DECOMPRESSED = 1 << 20;
/** Values read of one input. */
const MAX_VALUES = 20_000;

await loadCodec("lz4");
await loadCodec("zstd");

interface Part {
  metadata: Uint8Array;
  body: Uint8Array;
}

function pack(parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, { metadata, body }) => sum + 8 + metadata.length + body.length, 0));
  const view = new DataView(result.buffer);
  let at = 0;
  for (const { metadata, body } of parts) {
    view.setUint32(at, metadata.length, true);
    view.setUint32(at + 4, body.length, true);
    result.set(metadata, at + 8);
    result.set(body, at + 8 + metadata.length);
    at += 8 + metadata.length + body.length;
  }
  return result;
}

/** The messages of an input; what is cut off ends it. */
function unpack(input: Uint8Array): Part[] {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const parts: Part[] = [];
  for (let at = 0; at + 8 <= input.length;) {
    const metadataAt = at + 8;
    const bodyAt = metadataAt + view.getUint32(at, true);
    at = bodyAt + view.getUint32(metadataAt - 4, true);
    if (at > input.length) break;
    parts.push({ metadata: input.subarray(metadataAt, bodyAt), body: input.slice(bodyAt, at) });
  }
  return parts;
}

function check(what: string, right: boolean): void {
  if (!right) throw new Error(what);
}

/** What must hold for every header that the verifier lets through. */
function checkHeader(header: VerifiedHeader): void {
  const { buffers, nodes, bodyLength, rows } = header;
  check("a row count is whole and within its limit", Number.isSafeInteger(rows) && rows >= 0 && rows <= LIMITS.maxRows);
  check("a body is within its limit", Number.isSafeInteger(bodyLength) && bodyLength <= LIMITS.maxBodyBytes);
  for (let i = 0; i < buffers.length; i += 2) {
    const [offset, length] = [buffers[i], buffers[i + 1]];
    check("a buffer is aligned", offset >= 0 && offset % 8 === 0);
    check("a buffer lies in its body", length >= 0 && Number.isSafeInteger(length) && offset + length <= bodyLength);
  }
  for (let i = 0; i < nodes.length; i += 2) {
    check("a node is within the limit", nodes[i] >= 0 && nodes[i] <= LIMITS.maxRows);
    check("there are no more nulls than values", nodes[i + 1] >= 0 && nodes[i + 1] <= nodes[i]);
  }
}

/** A change at one place of the metadata of one message: a flatbuffer has few bytes that mean nothing. */
function mutate(input: Uint8Array, random: Random): Uint8Array {
  const parts = unpack(input).map(({ metadata, body }) => ({ metadata: metadata.slice(), body }));
  if (parts.length === 0) return input.slice();
  for (let rounds = random.pick([1, 1, 2, 4]); rounds > 0; rounds--) {
    const { metadata, body } = random.pick(parts);
    const bytes = body.length >= 8 && random.chance(0.3) ? body : metadata;
    if (bytes.length < 8) continue;
    const width = random.pick([1, 2, 4, 4, 8]);
    const at = random.below(Math.floor((bytes.length - width) / width) + 1) * width;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, width);
    const step = random.pick([-64, -8, -4, -2, -1, 1, 2, 4, 8, 16, 64, 65536]);
    if (width === 1) view.setUint8(0, view.getUint8(0) + step);
    else if (width === 2) view.setUint16(0, view.getUint16(0, true) + step, true);
    else if (width === 4) view.setInt32(0, random.chance(0.2) ? -(2 ** 31) : view.getInt32(0, true) + step, true);
    else {view.setBigInt64(
        0,
        random.chance(0.2) ? 1n << BigInt(random.below(64)) : view.getBigInt64(0, true) + BigInt(step),
        true,
      );}
  }
  if (random.chance(0.05)) parts.push(random.pick(parts));
  if (random.chance(0.05) && parts.length > 2) parts.splice(random.below(parts.length), 1);
  return pack(parts);
}

let seeds: Uint8Array[] | null = null;

/** Streams with every type, made here, and Arrow's gold files if they are at hand. */
function makeSeeds(): Uint8Array[] {
  const made: Uint8Array[] = [];
  const random = new Random(1);
  for (const type of allTypes()) {
    const fields = [new Field("x", type, true), new Field("y", type, true)];
    const batches = [5, 0, 17].map((rows) => {
      const children = fields.map(() => randomColumn(type, rows, random));
      if (children[0].dictionary !== undefined) children[1].dictionary = children[0].dictionary;
      return new RecordBatch(
        new Schema(fields),
        makeData({ type: new Struct(fields), length: rows, children }),
        new Map([["k", "v"]]),
      );
    });
    const encoder = new BatchEncoder(new Schema(fields), rubbishPool());
    const messages = batches.flatMap((batch) => encoder.encode(batch));
    made.push(pack([
      { metadata: encoder.schemaHeader.bytes, body: new Uint8Array(0) },
      ...messages.map(({ header, body }) => ({ metadata: header.bytes, body: body!.bytes() })),
    ]));
  }
  for (const { frames } of SOUND_METADATA) {
    made.push(pack(frames.map((metadata, i) => ({ metadata, body: new Uint8Array(i === 0 ? 0 : 64) }))));
  }
  const content = zstdCompressSync(new Uint8Array(16).fill(1));
  const body = new Uint8Array(64);
  new DataView(body.buffer).setBigInt64(0, 16n, true);
  body.set(content, 8);
  const compressed = batchMessage({ compression: [1, 0], buffers: [0n, 0n, 0n, BigInt(8 + content.length)] });
  made.push(pack([
    { metadata: writeFlat(schemaMessage([int32()])).bytes, body: new Uint8Array(0) },
    { metadata: writeFlat(compressed).bytes, body },
  ]));
  return [...made, ...goldSeeds()];
}

function goldSeeds(): Uint8Array[] {
  const root = Deno.env.get("DIPC_GOLD") ?? new URL("../../../../shared/data/arrow-gold", import.meta.url).pathname;
  const found: Uint8Array[] = [];
  try {
    for (const folder of Deno.readDirSync(root)) {
      if (!folder.isDirectory) continue;
      for (const { name } of Deno.readDirSync(`${root}/${folder.name}`)) {
        if (!name.endsWith(".stream")) continue;
        const bytes = Deno.readFileSync(`${root}/${folder.name}/${name}`);
        const messages = rawMessages(bytes);
        const parts = messages.map(({ metadata, bodyAt }, i) => {
          const next = messages[i + 1];
          return {
            metadata,
            body: bytes.slice(bodyAt, next === undefined ? bytes.length : next.bodyAt - next.metadata.length - 8),
          };
        });
        const packed = pack(parts);
        if (packed.length <= 1 << 16) found.push(packed);
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found;
}

const metadata: FuzzTarget = {
  name: "ipc/metadata",
  seeds: () => seeds ??= makeSeeds(),
  mutate,
  run(input) {
    const parts = unpack(input);
    if (parts.length === 0) return false;
    const reader = new HeaderReader(LIMITS);
    for (const { metadata } of parts) {
      const header = reader.read(metadata);
      checkHeader(header);
      if (header.kind === "schema") JSON.stringify(describe(header));
    }
    return true;
  },
};

/** Reads a value the way apache-arrow gives it; what it gives for nested types is walked through. */
function walk(value: unknown, budget: Budget): void {
  if (--budget.left < 0) return;
  if (value instanceof Vector) {
    for (let i = 0; i < value.length && budget.left > 0; i++) walk(value.get(i), budget);
  } else if (value !== null && typeof value === "object" && !ArrayBuffer.isView(value) && Symbol.iterator in value) {
    for (const entry of value as Iterable<unknown>) {
      if (budget.left <= 0) return;
      walk(entry, budget);
    }
  }
}

const decode: FuzzTarget = {
  name: "ipc/decode",
  seeds: () => seeds ??= makeSeeds(),
  mutate,
  run(input) {
    const parts = unpack(input);
    if (parts.length === 0) return false;
    const reader = new HeaderReader(LIMITS);
    let decoder: BatchDecoder | null = null;
    let encoder: BatchEncoder | null = null;
    for (const { metadata, body } of parts) {
      const header = reader.read(metadata);
      if (decoder === null) {
        decoder = new BatchDecoder(header, {
          ...LIMITS,
          maxDecompressedBytes: MAX_DECOMPRESSED,
          maxDictionaryBytes: 1 << 22,
        });
        continue;
      }
      const batch = decoder.decode({ header, body: wrapBytes(body as Uint8Array<ArrayBuffer>) });
      if (batch === null) continue;
      for (let column = 0; column < batch.numCols; column++) {
        const vector = batch.getChildAt(column)!;
        check("a column has the rows of its batch", vector.length === batch.numRows);
        const budget = { left: MAX_VALUES };
        for (let row = 0; row < vector.length && budget.left > 0; row++) plainValue(vector.data[0], row, budget);
        const again = { left: MAX_VALUES };
        try {
          for (let row = 0; row < vector.length && again.left > 0; row++) walk(vector.get(row), again);
        } catch (error) {
          // apache-arrow returns times as numbers, and throws if one does not fit.
          if (!(error instanceof TypeError && error.message.includes("not safe to convert"))) throw error;
        }
      }
      encoder ??= new BatchEncoder(decoder.schema, rubbishPool());
      try {
        for (const message of encoder.encode(batch)) message.body?.release();
      } catch (error) {
        // Two columns may hold one dictionary under two types.
        if (!(error instanceof DipcError && error.code === "invalid_argument")) throw error;
      }
    }
    return true;
  },
};

const targets: FuzzTarget[] = [metadata, decode];
export default targets;
