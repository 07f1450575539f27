/**
 * Fuzz targets for Arrow metadata and bodies. An input is a stream (`support/ipc_stream.ts`).
 *
 * - `ipc/metadata` reads the metadata and looks at what the verifier let through;
 * - `ipc/decode` also decodes the bodies, reads values as a user would, and encodes the batches again.
 *
 * @module
 */
import { Vector } from "apache-arrow";
import { DipcError } from "../../../src/errors.ts";
import { loadCodec } from "../../../src/ipc/compression.ts";
import { BatchDecoder } from "../../../src/ipc/decode.ts";
import { describe } from "../../../src/ipc/describe.ts";
import { BatchEncoder } from "../../../src/ipc/encode.ts";
import { HeaderReader, type VerifiedHeader } from "../../../src/ipc/header.ts";
import { wrapBytes } from "../../../src/memory/wrap.ts";
import { rubbishPool } from "../../support/ipc_messages.ts";
import { type Budget, plainValue } from "../../support/ipc_values.ts";
import { check } from "../support/checks.ts";
import { mutateStream, streamSeeds, unpack } from "../support/ipc_stream.ts";
import type { FuzzTarget } from "../target.ts";

/** What reading an input may cost: the input itself is 64 KiB at most. */
const LIMITS = { maxMetadataBytes: 1 << 16, maxBodyBytes: 1 << 20, maxRows: 10_000 };
const MAX_DECOMPRESSED = 1 << 20;
/** Values read of one input. */
const MAX_VALUES = 20_000;

await loadCodec("lz4");
await loadCodec("zstd");

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

const metadata: FuzzTarget = {
  name: "ipc/metadata",
  files: ["src/ipc/header.ts", "src/ipc/verified_header.ts", "src/ipc/schema_reader.ts", "src/ipc/type_reader.ts"],
  seeds: streamSeeds,
  mutate: mutateStream,
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
  files: ["decode", "column_plan", "column_checks", "columns", "dictionaries", "compression", "encode_columns"].map((
    name,
  ) => `src/ipc/${name}.ts`),
  seeds: streamSeeds,
  mutate: mutateStream,
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
      const batch = decoder.decode({ header, body: wrapBytes(body.slice() as Uint8Array<ArrayBuffer>) });
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
