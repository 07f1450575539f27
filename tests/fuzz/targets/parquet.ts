/**
 * Fuzz targets for Parquet: whole files, footer and pages, through the worker that decodes them; the footer by itself; and the
 * Arrow schema in it.
 *
 * @module
 */
import { Table, tableFromArrays, Utf8, vectorFromArray } from "apache-arrow";
import { ParquetWriter } from "../../../src/formats/parquet_writer.ts";
import { MemorySink } from "../../../src/formats/sink.ts";
import { BatchDecoder } from "../../../src/ipc/decode.ts";
import { HeaderReader } from "../../../src/ipc/header.ts";
import type { SchemaLayout } from "../../../src/ipc/layout.ts";
import { encodeSchemaMessage } from "../../../src/ipc/schema_writer.ts";
import type { Dataset } from "../../../src/sources/dataset.ts";
import { FileHandle } from "../../../src/sources/file_handle.ts";
import { encodeFooter } from "../../../src/sources/parquet/decoder_footer.ts";
import { readFooter } from "../../../src/sources/parquet/footer.ts";
import { decodeOrigin } from "../../../src/sources/parquet/origin.ts";
import { indexPages } from "../../../src/sources/parquet/page_index.ts";
import { planRun } from "../../../src/sources/parquet/run_plan.ts";
import { checkThrift } from "../../../src/sources/parquet/thrift_check.ts";
import { parquetFile } from "../../../src/sources/parquet.ts";
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
  files: ["parquet/dataset", "parquet/decoder", "file_handle"].map((name) => `src/sources/${name}.ts`),
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

const footerPath = `${folder}/footer.parquet`;

const footer: FuzzTarget = {
  name: "parquet/footer",
  files: ["footer", "node", "thrift_check", "thrift_writer", "decoder_footer", "pages", "page_index", "run_plan"].map((
    name,
  ) => `src/sources/parquet/${name}.ts`),
  maxInputBytes: 8000,
  seeds: () => files,
  mutate,
  run(input) {
    Deno.writeFileSync(footerPath, input);
    using file = FileHandle.open(footerPath);
    const read = readFooter(file);
    check("the decoder's footer is well-formed", checkThrift(encodeFooter(read), 100_000) > 0);
    const plans = planRun(file, read, { batchRows: 2, hasFreeBatches: true, keptDictionaries: new Set() });
    for (const { group } of plans) indexPages(file, read.groups[group], read.leaves, read.start);
    return true;
  },
};

const origin: FuzzTarget = {
  name: "parquet/origin",
  files: ["src/sources/parquet/origin.ts", "src/ipc/schema_writer.ts"],
  maxInputBytes: 8000,
  seeds: () => streamSeeds().map((bytes) => bytes.slice(0, 8 + new DataView(bytes.buffer).getUint32(0, true))),
  mutate: mutateStream,
  run(input) {
    const metadata = unpack(input)[0]?.metadata ?? input;
    const framed = new Uint8Array(8 + metadata.byteLength);
    new DataView(framed.buffer).setInt32(0, -1, true);
    new DataView(framed.buffer).setInt32(4, metadata.byteLength, true);
    framed.set(metadata, 8);
    const layout = decodeOrigin(framed.toBase64());
    if (layout === null) return false;
    const copy = new HeaderReader().read(encodeSchemaMessage(layout.fields, layout.metadata)).layout!;
    const shown = (of: SchemaLayout): string => JSON.stringify([of.fields, [...of.metadata]], plainly);
    check("a schema that is written again is the same", shown(copy) === shown(layout));
    return true;
  },
};

/** Maps and large numbers for JSON. */
function plainly(_: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : typeof value === "bigint" ? `${value}` : value;
}

const targets: FuzzTarget[] = [file, footer, origin];
export default targets;
