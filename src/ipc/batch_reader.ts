/**
 * Reads and verifies the metadata of record batches and dictionary batches against the schema of their stream. Table and
 * field numbers are those of Arrow's `Message.fbs`.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { buffersIn, bytesOf } from "./buffers.ts";
import { type FlatReader, invalidMetadata } from "./flatbuffer.ts";
import { type FieldLayout, LengthRule, type NodePlan } from "./layout.ts";
import { quoted } from "./quote.ts";

/** What was read from a `RecordBatch` table. */
export interface BatchParts {
  readonly rows: number;
  readonly nodes: Float64Array<ArrayBuffer>;
  readonly buffers: Float64Array<ArrayBuffer>;
  readonly variadicCounts: Float64Array<ArrayBuffer>;
  readonly compression: "none" | "lz4" | "zstd";
}

const NO_COUNTS = new Float64Array(0);

/** A message that is being read: what all kinds of message have in common. */
export interface OpenMessage {
  readonly reader: FlatReader;
  /** Position of the checked header table. */
  readonly table: number;
  /** The metadata flatbuffer. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Metadata version. */
  readonly version: 4 | 5;
  /** Size of the body in bytes. */
  readonly bodyLength: number;
  /** Limit on rows, and on values of a nested column. */
  readonly maxRows: number;
  /** Bounds of the spare room for numbers in the memory of the metadata; used if it is large enough. */
  readonly roomStart: number;
  readonly roomEnd: number;
}

/**
 * Reads a `RecordBatch` table and checks it against the schema.
 *
 * @param message The message that contains it
 * @param table Position of the checked `RecordBatch` table
 * @param plan Nodes and buffers that the schema requires
 * @throws {DipcError} `invalid_data`, `limit_exceeded`
 */
export function readBatch(message: OpenMessage, table: number, plan: NodePlan): BatchParts {
  const { reader, version, maxRows } = message;
  const rows = reader.count(table, 0, "row count");
  if (rows > maxRows) throw tooManyRows(rows, maxRows, "record batch");
  const compression = readCompression(reader, table);
  const nodeVector = reader.vector(table, 1, 16, "field nodes");
  if (reader.length(nodeVector) !== plan.nodeCount) {
    throw invalidMetadata(`${reader.length(nodeVector)} field nodes, expected ${plan.nodeCount} for this schema`);
  }
  const variadicCounts = readVariadicCounts(reader, table, plan);
  let expected = plan.bufferCounts[version];
  for (let i = 0; i < variadicCounts.length; i++) expected += variadicCounts[i];
  const bufferVector = reader.vector(table, 2, 16, "buffers");
  const bufferCount = reader.length(bufferVector);
  if (bufferCount !== expected) {
    throw invalidMetadata(`${bufferCount} buffers, expected ${expected} for this schema`);
  }
  const size = 16 * (plan.nodeCount + bufferCount);
  const fits = message.roomStart + size <= message.roomEnd;
  const home = fits ? message.bytes.buffer : new ArrayBuffer(size);
  const start = fits ? message.roomStart : 0;
  const nodes = new Float64Array(home, start, 2 * plan.nodeCount);
  const buffers = new Float64Array(home, start + 16 * plan.nodeCount, 2 * bufferCount);
  readNodes(message, nodeVector, plan, nodes);
  readBuffers(message, bufferVector, buffers);
  const parts = { rows, nodes, buffers, variadicCounts, compression };
  checkLengths(plan, rows, nodes);
  checkBuffers(plan, version, parts);
  return parts;
}

function readVariadicCounts(reader: FlatReader, table: number, plan: NodePlan): Float64Array<ArrayBuffer> {
  const vector = reader.vector(table, 4, 8, "variadic buffer counts");
  if (reader.length(vector) !== plan.viewCount) {
    throw invalidMetadata(
      `${reader.length(vector)} variadic buffer counts, expected ${plan.viewCount} for this schema`,
    );
  }
  if (plan.viewCount === 0) return NO_COUNTS;
  const counts = new Float64Array(plan.viewCount);
  for (let i = 0; i < counts.length; i++) counts[i] = reader.countAt(vector + 4 + 8 * i, "variadic buffer count");
  return counts;
}

/** Reads length and null count of each node. */
function readNodes({ reader, maxRows }: OpenMessage, vector: number, plan: NodePlan, into: Float64Array): void {
  for (let i = 0, at = vector + 4; i < plan.nodeCount; i++, at += 16) {
    const length = reader.countAt(at, "length of a field node");
    const nulls = reader.countAt(at + 8, "null count of a field node");
    if (nulls > length) {
      throw invalidMetadata(`column ${quoted(plan.fields[i].path)} has ${nulls} nulls in ${length} values`);
    }
    if (length > maxRows) throw tooManyRows(length, maxRows, `column ${quoted(plan.fields[i].path)}`);
    into[2 * i] = length;
    into[2 * i + 1] = nulls;
  }
}

/** Reads offset and length of each buffer. */
function readBuffers({ reader, bodyLength }: OpenMessage, vector: number, into: Float64Array): void {
  let total = 0;
  for (let i = 0, at = vector + 4; 2 * i < into.length; i++, at += 16) {
    const offset = reader.countAt(at, "offset of a buffer");
    const length = reader.countAt(at + 8, "length of a buffer");
    if (offset % 8 !== 0) {
      throw invalidMetadata(`buffer ${i} starts at byte ${offset} of the body, not a multiple of 8`);
    }
    if (offset + length > bodyLength) {
      throw invalidMetadata(
        `buffer ${i} covers bytes ${offset} to ${offset + length} of a body of ${bodyLength} bytes`,
      );
    }
    into[2 * i] = offset;
    into[2 * i + 1] = length;
    total += length;
  }
  if (total > Math.max(FREE_BUFFER_BYTES, MOST_USES * bodyLength)) {
    throw invalidMetadata(
      `its buffers have ${total} bytes together, more than ${MOST_USES} times the ${bodyLength} of its body`,
    );
  }
}

/** Bytes of buffers that may share their bytes in any way: writers may put the zeros of many columns into one place. */
const FREE_BUFFER_BYTES = 16 * 2 ** 20;
/** Buffers that may share each byte of a longer body: readers need memory in proportion to the buffers of a message. */
const MOST_USES = 64;

function tooManyRows(rows: number, maxRows: number, what: string): DipcError {
  return new DipcError(
    "limit_exceeded",
    `cannot accept a ${what} of ${rows} rows: the limit maxRows is ${maxRows}; raise it or send smaller batches`,
  );
}

function readCompression(reader: FlatReader, table: number): "none" | "lz4" | "zstd" {
  const compression = reader.child(table, 3, "body compression");
  if (compression === 0) return "none";
  const codec = reader.int8(compression, 0, 0, "codec");
  const method = reader.int8(compression, 1, 0, "compression method");
  if (codec !== 0 && codec !== 1) throw invalidMetadata(`codec is ${codec}, expected 0 (LZ4 frame) or 1 (ZSTD)`);
  if (method !== 0) throw invalidMetadata(`compression method is ${method}, expected 0 (each buffer by itself)`);
  return codec === 0 ? "lz4" : "zstd";
}

function checkLengths(plan: NodePlan, rows: number, nodes: Float64Array): void {
  const { rules, parents, factors } = plan;
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i];
    if (rule === LengthRule.free) continue;
    const length = nodes[2 * i];
    const parent = rule === LengthRule.rows ? rows : nodes[2 * parents[i]];
    let isGood: boolean;
    if (rule === LengthRule.rows) isGood = length === rows;
    else if (rule === LengthRule.covers) isGood = length >= parent * factors[i];
    else if (rule === LengthRule.runEnds) isGood = parent === 0 || length > 0;
    else isGood = length >= nodes[2 * (i - 1)]; // run values follow the run ends, which have no children
    if (!isGood) {
      throw invalidMetadata(
        `column ${quoted(plan.fields[i].path)} has ${length} values, which does not match the ${parent} of its parent`,
      );
    }
  }
}

/** Checks that each buffer holds what its node needs. */
function checkBuffers(plan: NodePlan, version: 4 | 5, parts: BatchParts): void {
  const { nodes, buffers, variadicCounts } = parts;
  const { kinds, bits } = plan;
  const specsOf = buffersIn(version);
  const isCompressed = parts.compression !== "none";
  let buffer = 0;
  let view = 0;
  for (let node = 0; node < kinds.length; node++) {
    const specs = specsOf[kinds[node]];
    const length = nodes[2 * node];
    for (let i = 0; i < specs.length; i++) {
      const spec = specs[i];
      // The offsets of an empty column may be left out, and so may a validity bitmap without nulls, which is not read.
      const mayBeEmpty = length === 0 || (spec.role === "validity" && nodes[2 * node + 1] === 0);
      const needed = mayBeEmpty ? 0 : bytesOf(spec, length, bits[node]);
      const end = buffer + (spec.role === "variadic" ? variadicCounts[view++] : 1);
      for (; buffer < end; buffer++) {
        const found = buffers[2 * buffer + 1];
        if (isCompressed ? isTooShortCompressed(found, needed) : found < needed) {
          throw tooShort(plan.fields[node], spec.name, found, needed, isCompressed);
        }
      }
    }
  }
}

/** The 8 bytes before compressed data declare the size of its content; whether that suffices shows only when decoding. */
function isTooShortCompressed(byteLength: number, needed: number): boolean {
  return byteLength === 0 ? needed > 0 : byteLength < 8;
}

function tooShort(
  { path }: FieldLayout,
  name: string,
  found: number,
  needed: number,
  isCompressed: boolean,
): DipcError {
  return invalidMetadata(
    isCompressed && found > 0
      ? `compressed ${name} buffer of column ${quoted(path)} has ${found} bytes, expected 0, or 8 or more`
      : `${name} buffer of column ${quoted(path)} has ${found} bytes, expected ${needed} or more`,
  );
}
