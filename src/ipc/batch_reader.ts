/**
 * Reads and verifies the metadata of record batches and dictionary batches against the schema of their stream. Table and
 * field numbers are those of Arrow's `Message.fbs`.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type FlatReader, invalidMetadata } from "./flatbuffer.ts";
import { LengthRule, NodeKind, type NodePlan } from "./layout.ts";
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

/**
 * Reads a `RecordBatch` table and checks it against what the schema demands.
 *
 * @param reader Reader of the whole message
 * @param table Position of the checked `RecordBatch` table
 * @param plan Nodes and buffers that the schema demands
 * @param version Metadata version of the message
 * @param bodyLength Bytes of the body
 * @param maxRows Most rows, and most values of a nested column
 * @param room Memory for nodes and buffers; used where it is large enough
 * @throws {DipcError} `invalid_data`, `limit_exceeded`
 */
export function readBatch(
  reader: FlatReader,
  table: number,
  plan: NodePlan,
  version: 4 | 5,
  bodyLength: number,
  maxRows: number,
  room: { storage: ArrayBuffer; start: number; end: number },
): BatchParts {
  const rows = reader.count(table, 0, "row count");
  if (rows > maxRows) throw tooManyRows(rows, maxRows, "record batch");
  const compression = readCompression(reader, table);

  const nodeVector = reader.vector(table, 1, 16, "field nodes");
  if (reader.length(nodeVector) !== plan.nodeCount) {
    throw invalidMetadata(`${reader.length(nodeVector)} field nodes, expected ${plan.nodeCount} for this schema`);
  }
  let expected = plan.bufferCount + (version === 4 ? plan.unionCount : 0);
  let variadicCounts: Float64Array<ArrayBuffer> = NO_COUNTS;
  const variadicVector = reader.vector(table, 4, 8, "variadic buffer counts");
  if (reader.length(variadicVector) !== plan.viewCount) {
    throw invalidMetadata(
      `${reader.length(variadicVector)} variadic buffer counts, expected ${plan.viewCount} for this schema`,
    );
  }
  if (plan.viewCount > 0) {
    variadicCounts = new Float64Array(plan.viewCount);
    for (let i = 0; i < plan.viewCount; i++) {
      expected += variadicCounts[i] = reader.countAt(variadicVector + 4 + 8 * i, "variadic buffer count");
    }
  }
  const bufferVector = reader.vector(table, 2, 16, "buffers");
  const bufferCount = reader.length(bufferVector);
  if (bufferCount !== expected) {
    throw invalidMetadata(`${bufferCount} buffers, expected ${expected} for this schema`);
  }

  const nodeCount = plan.nodeCount;
  const fits = room.start + 16 * (nodeCount + bufferCount) <= room.end;
  const home = fits ? room.storage : new ArrayBuffer(16 * (nodeCount + bufferCount));
  const start = fits ? room.start : 0;
  const nodes = new Float64Array(home, start, 2 * nodeCount);
  const buffers = new Float64Array(home, start + 16 * nodeCount, 2 * bufferCount);

  for (let i = 0, at = nodeVector + 4; i < nodeCount; i++, at += 16) {
    const length = reader.countAt(at, "length of a field node");
    const nulls = reader.countAt(at + 8, "null count of a field node");
    if (nulls > length) {
      throw invalidMetadata(`column ${quoted(plan.fields[i].path)} has ${nulls} nulls in ${length} values`);
    }
    if (length > maxRows) throw tooManyRows(length, maxRows, `column ${quoted(plan.fields[i].path)}`);
    nodes[2 * i] = length;
    nodes[2 * i + 1] = nulls;
  }
  for (let i = 0, at = bufferVector + 4; i < bufferCount; i++, at += 16) {
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
    buffers[2 * i] = offset;
    buffers[2 * i + 1] = length;
  }
  checkLengths(plan, rows, nodes);
  checkBuffers(plan, version, nodes, buffers, variadicCounts, compression !== "none");
  return { rows, nodes, buffers, variadicCounts, compression };
}

function tooManyRows(rows: number, maxRows: number, where: string): DipcError {
  return new DipcError(
    "limit_exceeded",
    `Cannot accept a ${where} of ${rows} rows: the limit maxRows is ${maxRows}. Raise it or send smaller batches`,
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
    let good: boolean;
    if (rule === LengthRule.rows) good = length === rows;
    else if (rule === LengthRule.covers) good = length >= parent * factors[i];
    else if (rule === LengthRule.runEnds) good = parent === 0 || length > 0;
    else good = length >= nodes[2 * (i - 1)]; // run values follow the run ends, which have no children
    if (!good) {
      throw invalidMetadata(
        `column ${
          quoted(plan.fields[i].path)
        } has ${length} values, too few or too many for the ${parent} of its parent`,
      );
    }
  }
}

/** Checks that each buffer holds what its node needs. */
function checkBuffers(
  plan: NodePlan,
  version: 4 | 5,
  nodes: Float64Array,
  buffers: Float64Array,
  variadicCounts: Float64Array,
  compressed: boolean,
): void {
  const { kinds, bits } = plan;
  let buffer = 0;
  let view = 0;
  /** Takes the next buffer, which must have `needed` bytes. */
  const take = (node: number, needed: number, what: string): void => {
    const length = buffers[2 * buffer + 1];
    if (compressed) {
      // The 8 bytes in front of compressed data say how long it is; whether that is enough shows only when decoding.
      if (length !== 0 && length < 8) {
        throw invalidMetadata(
          `compressed ${what} buffer of column ${
            quoted(plan.fields[node].path)
          } has ${length} bytes, expected 0, or 8 or more`,
        );
      }
      if (length === 0 && needed > 0) throw tooShort(plan, node, what, length, needed);
    } else if (length < needed) {
      throw tooShort(plan, node, what, length, needed);
    }
    buffer++;
  };
  for (let i = 0; i < kinds.length; i++) {
    const kind = kinds[i];
    if (kind === NodeKind.none) continue;
    const n = nodes[2 * i];
    const nulls = nodes[2 * i + 1];
    if (kind === NodeKind.sparseUnion || kind === NodeKind.denseUnion) {
      if (version === 4) take(i, 0, "validity");
      take(i, n, "type id");
      if (kind === NodeKind.denseUnion) take(i, 4 * n, "offset");
      continue;
    }
    // Without nulls the validity bitmap is not read, and may be left out.
    take(i, nulls > 0 ? Math.ceil(n / 8) : 0, "validity");
    switch (kind) {
      case NodeKind.fixed:
        take(i, Math.ceil(n * bits[i] / 8), "value");
        break;
      case NodeKind.binary32:
        take(i, n === 0 ? 0 : 4 * (n + 1), "offset");
        take(i, 0, "value");
        break;
      case NodeKind.binary64:
        take(i, n === 0 ? 0 : 8 * (n + 1), "offset");
        take(i, 0, "value");
        break;
      case NodeKind.view:
        take(i, 16 * n, "view");
        for (let left = variadicCounts[view++]; left > 0; left--) take(i, 0, "data");
        break;
      case NodeKind.list32:
        take(i, n === 0 ? 0 : 4 * (n + 1), "offset");
        break;
      case NodeKind.list64:
        take(i, n === 0 ? 0 : 8 * (n + 1), "offset");
        break;
      case NodeKind.listView32:
        take(i, 4 * n, "offset");
        take(i, 4 * n, "size");
        break;
      case NodeKind.listView64:
        take(i, 8 * n, "offset");
        take(i, 8 * n, "size");
        break;
    }
  }
}

function tooShort(plan: NodePlan, node: number, what: string, length: number, needed: number): DipcError {
  return invalidMetadata(
    `${what} buffer of column ${quoted(plan.fields[node].path)} has ${length} bytes, expected ${needed} or more`,
  );
}
