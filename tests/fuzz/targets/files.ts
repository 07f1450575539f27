/**
 * Fuzz targets for what is read from files and pipes: Arrow files, Arrow streams, and the footer alone.
 *
 * @module
 */
import { Table, tableFromArrays, tableToIPC } from "apache-arrow";
import { ArrowFileWriter } from "../../../src/formats/arrow_file_writer.ts";
import { MemorySink } from "../../../src/formats/sink.ts";
import { HeaderReader } from "../../../src/ipc/header.ts";
import { readFooter } from "../../../src/ipc/split_file.ts";
import { HostPool } from "../../../src/memory/host_pool.ts";
import { arrowStream } from "../../../src/sources/arrow_stream.ts";
import type { Dataset } from "../../../src/sources/dataset.ts";
import { openPath } from "../../../src/sources/open_path.ts";
import { fromTable } from "../../../src/sources/table.ts";
import type { FuzzTarget } from "../target.ts";

/** What reading an input may cost: the input itself is 64 KiB at most. */
const LIMITS = { maxMetadataBytes: 1 << 16, maxBodyBytes: 1 << 20, maxRows: 100_000 };

const words = new Table(tableFromArrays({ n: Int32Array.of(1, 2, 3), word: ["a", "b", "a"] }).batches);
const numbers = tableFromArrays({ x: Float64Array.of(1, 2), y: BigInt64Array.of(1n, 2n) });
const tables = [words, numbers, new Table(numbers.schema)];

async function ownFile(table: Table): Promise<Uint8Array> {
  const dataset = await fromTable(table);
  const sink = new MemorySink();
  const writer = new ArrowFileWriter(dataset.schema, sink);
  const run = await dataset.open();
  for (let message; (message = await run.next()) !== null;) await writer.write(message);
  await writer.finish();
  await run.close();
  await dataset.close();
  return sink.bytes();
}

const files = [...tables.map((table) => tableToIPC(table, "file")), ...await Promise.all(tables.map(ownFile))];
const streams = tables.map((table) => tableToIPC(table, "stream"));

/** Reads to the end and checks that all memory came back. */
async function readAll(open: () => Promise<Dataset>, pool: HostPool): Promise<boolean> {
  try {
    const dataset = await open();
    try {
      await drain(dataset);
    } finally {
      await dataset.close();
    }
  } catch (error) {
    checkAllBack(pool);
    throw error;
  }
  checkAllBack(pool);
  return true;
}

async function drain(dataset: Dataset): Promise<void> {
  const run = await dataset.open();
  try {
    for (let message; (message = await run.next()) !== null; message.body?.release()) {
      if (message.header.bodyLength !== (message.body?.byteLength ?? 0)) {
        throw new Error("a body is not as long as its header says");
      }
    }
  } finally {
    await run.close();
  }
}

function checkAllBack(pool: HostPool): void {
  if (pool.stats.blocksOut !== 0) throw new Error(`${pool.stats.blocksOut} blocks were not given back`);
}

const folder = Deno.makeTempDirSync({ prefix: "dipc-fuzz-" });
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

function fileTarget(name: string, map: boolean, seeds: Uint8Array[]): FuzzTarget {
  const pool = new HostPool();
  const path = `${folder}/${name.replaceAll("/", "-")}`;
  return {
    name,
    files: ["src/sources/arrow_file.ts", "src/ipc/split_file.ts", "src/sources/open_path.ts"],
    seeds: () => seeds,
    run(input) {
      // A new file each time: one that is written over while it is mapped would end the process.
      Deno.writeFileSync(`${path}.new`, input);
      Deno.renameSync(`${path}.new`, path);
      return readAll(() => openPath(path, { pool, limits: LIMITS, map }), pool);
    },
    allocatedBytes: () => pool.stats.mappedBytes,
  };
}

const pipePool = new HostPool();
const pipe: FuzzTarget = {
  name: "files/pipe",
  files: ["src/sources/arrow_stream.ts", "src/ipc/split_stream.ts"],
  seeds: () => streams,
  run: (input) => readAll(() => arrowStream(new Blob([input]).stream(), { pool: pipePool, limits: LIMITS }), pipePool),
  allocatedBytes: () => pipePool.stats.mappedBytes,
};

const footer: FuzzTarget = {
  name: "files/footer",
  files: ["src/ipc/split_file.ts", "src/ipc/flatbuffer.ts"],
  seeds: () =>
    files.map((bytes) => {
      const length = new DataView(bytes.buffer, bytes.byteOffset).getInt32(bytes.byteLength - 10, true);
      return bytes.slice(bytes.byteLength - 10 - length, bytes.byteLength - 10);
    }),
  run(input) {
    const fileSize = 1 << 20;
    const { version, schemaMessage, dictionaries, batches } = readFooter(input.slice(), fileSize, "the input");
    for (const { offset, metadataLength, bodyLength } of [...dictionaries, ...batches]) {
      const good = offset >= 8 && offset % 8 === 0 && metadataLength >= 8 && bodyLength >= 0 &&
        offset + metadataLength + bodyLength <= fileSize - 10 - input.byteLength;
      if (!good) throw new Error(`a block at ${offset} of ${metadataLength} and ${bodyLength} bytes was let through`);
    }
    new HeaderReader(LIMITS).read(schemaMessage(version ?? 4));
    return true;
  },
};

const targets: FuzzTarget[] = [
  fileTarget("files/arrow", false, [...files, ...streams]),
  fileTarget("files/mapped", true, files),
  pipe,
  footer,
];
export default targets;
