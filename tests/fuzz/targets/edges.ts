/**
 * Fuzz targets for what leaves as text or Parquet: streams that the verifier lets through are written to the last column.
 * An input is a stream (`support/ipc_stream.ts`).
 *
 * @module
 */
import { DipcError } from "../../../src/errors.ts";
import { Preview } from "../../../src/formats/preview.ts";
import { OUTPUT_FORMATS } from "../../../src/formats/registry.ts";
import type { ByteSink, Piece } from "../../../src/formats/sink.ts";
import type { MessageWriter } from "../../../src/formats/writer.ts";
import { loadCodec } from "../../../src/ipc/compression.ts";
import { BatchDecoder } from "../../../src/ipc/decode.ts";
import { HeaderReader } from "../../../src/ipc/header.ts";
import type { IpcMessage, MessageHeader } from "../../../src/ipc/message.ts";
import { SimulatedPool } from "../../support/simulated_memory.ts";
import { check } from "../support/checks.ts";
import { mutateStream, streamSeeds, unpack } from "../support/ipc_stream.ts";
import type { FuzzTarget } from "../target.ts";

/** Few rows: views may name the same long text for each of them. */
const LIMITS = { maxMetadataBytes: 1 << 16, maxBodyBytes: 1 << 20, maxRows: 64 };
/** What a file may have; a stream that has more is refused. */
const MAX_OUTPUT_BYTES = 8 << 20;

await loadCodec("lz4");
await loadCodec("zstd");

class CountingSink implements ByteSink {
  isFinished = false;
  bytes = 0;

  write(pieces: readonly Piece[]): void {
    for (const { byteLength } of pieces) this.bytes += byteLength;
    if (this.bytes > MAX_OUTPUT_BYTES) throw new DipcError("limit_exceeded", "cannot write: it is too long");
  }
  finish(): void {
    this.isFinished = true;
  }
  abort(): void {}
}

/** Reads the metadata of an input; those that the verifier refuses end here. */
function verify(input: Uint8Array, pool: SimulatedPool): { schema: MessageHeader; messages: IpcMessage[] } | null {
  const [first, ...rest] = unpack(input);
  if (first === undefined) return null;
  const reader = new HeaderReader(LIMITS);
  const schema = reader.read(first.metadata.slice());
  if (schema.kind !== "schema") throw new DipcError("protocol", "it does not start with a schema");
  const read = rest.map(({ metadata, body }) => ({ header: reader.read(metadata.slice()), body }));
  for (const { header, body } of read) {
    if (header.bodyLength !== body.byteLength) throw new DipcError("protocol", "a body has another length");
  }
  return {
    schema,
    messages: read.map(({ header, body }) => ({ header, body: pool.body(body.slice() as Uint8Array<ArrayBuffer>) })),
  };
}

/** Writes a stream in one of the formats. */
async function write(input: Uint8Array, format: string): Promise<boolean> {
  const pool = new SimulatedPool();
  const stream = verify(input, pool);
  if (stream === null) return false;
  const sink = new CountingSink();
  let writer: MessageWriter | null = null;
  let given = 0;
  try {
    writer = await OUTPUT_FORMATS.find(({ name }) => name === format)!.open(stream.schema, sink);
    for (const message of stream.messages) {
      given++;
      try {
        await writer.write(message);
      } finally {
        const rest = stream.messages.length - given;
        // An Arrow file may hold bodies back until the type of indices is settled.
        check("no other body is released", pool.out >= rest);
        check("this body is released", pool.out === rest || format === "arrow");
      }
    }
    await writer.finish();
    check("the output is finished", sink.isFinished);
    return true;
  } finally {
    await writer?.abort();
    check("every body is released", pool.out === stream.messages.length - given);
  }
}

function preview(input: Uint8Array): boolean {
  const pool = new SimulatedPool();
  const stream = verify(input, pool);
  if (stream === null) return false;
  const preview = new Preview(stream.schema, { rows: 10 });
  const decoder = new BatchDecoder(stream.schema, { ...LIMITS, maxDecompressedBytes: 1 << 20 });
  for (const message of stream.messages) {
    using batch = decoder.decode(message);
    if (batch !== null && !preview.full) preview.add(batch);
  }
  // deno-lint-ignore no-control-regex
  check("nothing in a table steers a terminal", !/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(preview.render()));
  return true;
}

/** The cells of all texts. */
const CELLS = ["cells", "number_cells", "time_cells", "text_cells", "nested_cells", "dictionary_cells", "characters"]
  .map(
    (name) => `src/formats/text/${name}.ts`,
  );
const WRITERS = { csv: "csv_writer", ndjson: "ndjson_writer", arrow: "arrow_file_writer", parquet: "parquet_writer" };

/** What reads the columns that are written to Parquet. */
const PARQUET_FILES = ["arrow_columns", "dictionary_store", "leaf_values", "row_encoder", "slots"].map((name) =>
  `src/formats/parquet/${name}.ts`
);

const targets: FuzzTarget[] = Object.entries(WRITERS).map(([format, file]) => ({
  name: `formats/${format}`,
  files: [
    `src/formats/${file}.ts`,
    ...(["csv", "ndjson"].includes(format) ? [...CELLS, "src/formats/batch_writer.ts"] : []),
    ...(format === "parquet" ? PARQUET_FILES : []),
  ],
  corpusOf: "ipc/decode",
  seeds: streamSeeds,
  mutate: mutateStream,
  run: (input) => write(input, format),
}));
targets.push({
  name: "formats/preview",
  files: ["src/formats/preview.ts", ...CELLS],
  corpusOf: "ipc/decode",
  seeds: streamSeeds,
  mutate: mutateStream,
  run: preview,
});
export default targets;
