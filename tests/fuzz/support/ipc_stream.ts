/**
 * Arrow streams as inputs of fuzz targets: for each message the lengths of its metadata and of its body (u32 each), then
 * both.
 *
 * @module
 */
import { zstdCompressSync } from "node:zlib";
import { Field, makeData, RecordBatch, Schema, Struct } from "apache-arrow";
import { BatchEncoder } from "../../../src/ipc/encode.ts";
import { allTypes, randomColumn } from "../../support/ipc_columns.ts";
import { batchMessage, int32, schemaMessage, writeFlat } from "../../support/ipc_flatbuffer.ts";
import { SOUND_METADATA } from "../../support/ipc_hostile_metadata.ts";
import { rawMessages, rubbishPool } from "../../support/ipc_messages.ts";
import { Random } from "../../support/random.ts";

const ROUNDS = [1, 1, 2, 4], WIDTHS = [1, 2, 4, 4, 8], STEPS = [-64, -8, -4, -2, -1, 1, 2, 4, 8, 16, 64, 65536];

/** One message. */
export interface Part {
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

/** The messages of an input, in place; what is cut off ends it. */
export function unpack(input: Uint8Array): Part[] {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const parts: Part[] = [];
  for (let at = 0; at + 8 <= input.length;) {
    const metadataAt = at + 8;
    const bodyAt = metadataAt + view.getUint32(at, true);
    at = bodyAt + view.getUint32(metadataAt - 4, true);
    if (at > input.length) break;
    parts.push({ metadata: input.subarray(metadataAt, bodyAt), body: input.subarray(bodyAt, at) });
  }
  return parts;
}

/** A change at one place of the metadata of one message: a flatbuffer has few bytes that mean nothing. */
export function mutateStream(input: Uint8Array, random: Random): Uint8Array {
  const bytes = input.slice();
  const parts = unpack(bytes);
  if (parts.length === 0) return bytes;
  for (let rounds = random.pick(ROUNDS); rounds > 0; rounds--) {
    const { metadata, body } = random.pick(parts);
    step(body.length >= 8 && random.chance(0.3) ? body : metadata, random);
  }
  if (random.chance(0.05)) return pack([...parts, random.pick(parts)]);
  if (random.chance(0.05) && parts.length > 2) return pack(parts.toSpliced(random.below(parts.length), 1));
  return bytes;
}

/** Adds a little to a number at its alignment, or puts another one there. */
function step(bytes: Uint8Array, random: Random): void {
  if (bytes.length < 8) return;
  const width = random.pick(WIDTHS);
  const at = random.below(Math.floor((bytes.length - width) / width) + 1) * width;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, width);
  const by = random.pick(STEPS);
  if (width === 1) view.setUint8(0, view.getUint8(0) + by);
  else if (width === 2) view.setUint16(0, view.getUint16(0, true) + by, true);
  else if (width === 4) view.setInt32(0, random.chance(0.2) ? -(2 ** 31) : view.getInt32(0, true) + by, true);
  else if (random.chance(0.2)) view.setBigInt64(0, 1n << BigInt(random.below(64)), true);
  else view.setBigInt64(0, view.getBigInt64(0, true) + BigInt(by), true);
}

let seeds: Uint8Array[] | null = null;

/** Streams to start from, made once. */
export function streamSeeds(): Uint8Array[] {
  return seeds ??= makeSeeds();
}

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
