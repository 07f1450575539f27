/**
 * Fuzz targets for Parquet: whole files, footer and pages, through the worker that decodes them; and the schema that the
 * decoder reports.
 *
 * @module
 */
import { Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { ParquetWriter } from "../../../src/formats/parquet_writer.ts";
import { MemorySink } from "../../../src/formats/sink.ts";
import { BatchDecoder } from "../../../src/ipc/decode.ts";
import { HeaderReader } from "../../../src/ipc/header.ts";
import type { Dataset } from "../../../src/sources/dataset.ts";
import { parquetFile } from "../../../src/sources/parquet.ts";
import { replaceViews } from "../../../src/sources/parquet_schema.ts";
import { fromTable } from "../../../src/sources/table.ts";
import { plainValue } from "../../support/ipc_values.ts";
import type { Random } from "../../support/random.ts";
import { check } from "../support/checks.ts";
import { mutateStream, streamSeeds, unpack } from "../support/ipc_stream.ts";
import type { FuzzTarget } from "../target.ts";

const LIMITS = { maxMetadataBytes: 1 << 16, maxBodyBytes: 1 << 20, maxRows: 10_000 };
const MAX_VALUES = 5000;

const tables = [
  tableFromArrays({ x: Float64Array.of(1, 2, 3), y: BigInt64Array.of(1n, 2n, 3n) }),
  new Table({
    word: vectorFromArray(["a", null, "ccc", "a"], new Utf8()),
    b: vectorFromArray([true, null, false, true]),
  }),
  new Table(tableFromArrays({ n: Int32Array.of(1, 2, 3), word: ["a", "b", "a"] }).batches),
];

async function fileOf(table: Table): Promise<Uint8Array> {
  const dataset = await fromTable(table);
  const sink = new MemorySink();
  const writer = await ParquetWriter.create(dataset.schema, sink, { rowGroupRows: 2 });
  const run = await dataset.open();
  for (let message; (message = await run.next()) !== null;) await writer.write(message);
  await writer.finish();
  await run.close();
  await dataset.close();
  return sink.bytes();
}

const files = await Promise.all(tables.map(fileOf));

const folder = Deno.makeTempDirSync({ prefix: "dipc-fuzz-" });
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

/** Reads every value of every column. */
async function readAll(dataset: Dataset): Promise<void> {
  const run = await dataset.open();
  const decoder = new BatchDecoder(dataset.schema, LIMITS);
  let rows = 0;
  try {
    for (let message; (message = await run.next()) !== null;) {
      check("a body is as long as its header says", message.header.bodyLength === (message.body?.byteLength ?? 0));
      using batch = await decoder.decodeAsync(message);
      if (batch === null) continue;
      rows += batch.numRows;
      for (let column = 0; column < batch.numCols; column++) {
        const { data: [data], length } = batch.getChildAt(column)!;
        const budget = { left: MAX_VALUES };
        for (let row = 0; row < length && budget.left > 0; row++) plainValue(data, row, budget);
      }
    }
    check("as many rows come as the footer declares", rows === dataset.rows);
  } finally {
    await run.close();
  }
}

/** Changes the footer more often than the pages: it is at the end, its length in the last eight bytes. */
function mutate(input: Uint8Array, random: Random): Uint8Array {
  const bytes = input.slice();
  if (bytes.byteLength < 12) return bytes;
  const footer = Math.min(bytes.byteLength, new DataView(bytes.buffer).getUint32(bytes.byteLength - 8, true) + 8);
  for (let rounds = random.pick([1, 1, 2, 4]); rounds > 0; rounds--) {
    const at = random.chance(0.7) ? bytes.byteLength - 1 - random.below(footer) : random.below(bytes.byteLength);
    bytes[at] = random.chance(0.5) ? bytes[at] ^ 1 << random.below(8) : bytes[at] + random.pick([-2, -1, 1, 2]);
  }
  return bytes;
}

const path = `${folder}/file.parquet`;

const file: FuzzTarget = {
  name: "parquet/file",
  files: ["parquet_dataset", "parquet_decoder", "file_handle"].map((name) => `src/sources/${name}.ts`),
  // A worker is started for each file.
  slowMs: 20_000,
  maxInputBytes: 8000,
  seeds: () => files,
  mutate,
  async run(input) {
    // A new file each time: a run that failed may still have a worker at the one before.
    Deno.writeFileSync(`${path}.new`, input);
    Deno.renameSync(`${path}.new`, path);
    const dataset = await parquetFile(path, { limits: LIMITS });
    try {
      await readAll(dataset);
    } finally {
      await dataset.close();
    }
    return true;
  },
};

const schema: FuzzTarget = {
  name: "parquet/schema",
  files: ["src/sources/parquet_schema.ts", "src/ipc/flatbuffer.ts"],
  maxInputBytes: 8000,
  seeds: () => streamSeeds().map((bytes) => bytes.slice(0, 8 + new DataView(bytes.buffer).getUint32(0, true))),
  mutate: mutateStream,
  run(input) {
    const metadata = (unpack(input)[0]?.metadata ?? input).slice() as Uint8Array<ArrayBuffer>;
    replaceViews(metadata);
    return new HeaderReader(LIMITS).read(metadata).kind === "schema";
  },
};

const targets: FuzzTarget[] = [file, schema];
export default targets;
