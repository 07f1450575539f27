/**
 * What the footer of a Parquet file decides before a row is sent: refusals by name, annotations, and pieces of large row groups.
 */
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { DipcError } from "../../src/errors.ts";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { NdjsonWriter } from "../../src/formats/ndjson_writer.ts";
import { ParquetWriter } from "../../src/formats/parquet_writer.ts";
import { describeSchema } from "../../src/ipc/describe.ts";
import { HeaderReader } from "../../src/ipc/header.ts";
import type { ArrowType, FieldLayout } from "../../src/ipc/layout.ts";
import type { MessageHeader } from "../../src/ipc/message.ts";
import { encodeBatchMetadata } from "../../src/ipc/metadata_writer.ts";
import { encodeSchemaMessage } from "../../src/ipc/schema_writer.ts";
import type { Dataset } from "../../src/sources/dataset.ts";
import { FileHandle } from "../../src/sources/file_handle.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { annotate } from "../../src/sources/parquet/annotations.ts";
import { encodeFooter } from "../../src/sources/parquet/decoder_footer.ts";
import { type ChunkInfo, type ParquetFooter, readFooter } from "../../src/sources/parquet/footer.ts";
import { IntervalConverter } from "../../src/sources/parquet/intervals.ts";
import { leavesOf, schemaTree } from "../../src/sources/parquet/node.ts";
import { piecesOf, piecesOfPages } from "../../src/sources/parquet/run_plan.ts";
import { filterThrift, ThriftFault } from "../../src/sources/parquet/thrift_check.ts";
import { ThriftWriter } from "../../src/sources/parquet/thrift_writer.ts";
import { fromTable } from "../../src/sources/table.ts";
import { assertDipcError } from "../support/assert.ts";
import { readMessages, smallTable, writeAll } from "../support/datasets.ts";
import { testNeeding } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { needsPackages, needsPython, runPython } from "../support/python.ts";

/** A file whose footer was changed. */
async function changedFile(folder: TemporaryFolder, change: (footer: ParquetFooter) => ParquetFooter): Promise<string> {
  const path = folder.file("good.parquet"), changed = folder.file("changed.parquet");
  const source = await fromTable(smallTable());
  await writeAll(source, await ParquetWriter.create(source.schema, AtomicFile.create(path)));
  using file = FileHandle.open(path);
  const footer = readFooter(file);
  const pages = file.readBytes(0, footer.start), end = encodeFooter(change(footer));
  await Deno.writeFile(changed, new Uint8Array([...pages, ...end]));
  return changed;
}

/** A change of the second column of the first row group. */
function inChunk(change: (chunk: ChunkInfo) => Partial<ChunkInfo>): (footer: ParquetFooter) => ParquetFooter {
  return (footer) => {
    const [group, ...others] = footer.groups;
    const chunks = group.chunks.map((chunk, i) => i === 1 ? { ...chunk, ...change(chunk) } : chunk);
    return { ...footer, groups: [{ ...group, chunks }, ...others] };
  };
}

Deno.test("what the decoder lacks is refused by the name of its column, and what contradicts itself is damaged", async () => {
  using folder = new TemporaryFolder();
  const refused = async (code: DipcError["code"], text: string, change: (footer: ParquetFooter) => ParquetFooter) => {
    const path = await changedFile(folder, change);
    await assertDipcError(code, text, () => openPath(path));
  };
  const chunk = (change: object) => inChunk(({ metadata }) => ({ metadata: { ...metadata, ...change } as never }));
  await refused("unsupported", 'column "big" of row group 0 is compressed with LZO', chunk({ codec: "LZO" }));
  await refused("unsupported", 'column "big" of row group 0 has the encoding ALP', chunk({ encodings: ["ALP"] }));
  await refused("invalid_data", 'column "big" of row group 0 lies at bytes', inChunk(() => ({ byteLength: 100_000 })));
  await refused("invalid_data", "number of rows of row group 0 is -1", (footer) => ({
    ...footer,
    groups: [{ ...footer.groups[0], rows: -1 }],
  }));
  await refused("invalid_data", "row group 0 has 2 columns, its schema 3", (footer) => ({
    ...footer,
    groups: [{ rows: 15, chunks: footer.groups[0].chunks.slice(1) }],
  }));
  const group = { element: { name: "g", repetition_type: "REQUIRED", num_children: 0 }, children: [] } as const;
  await refused("unsupported", 'group "g" has no columns', (footer) => ({
    ...footer,
    root: { element: { name: "root", num_children: 1 }, children: [group] },
  }));
  const leaf = { element: { name: "v", type: "INT32", repetition_type: "REQUIRED" }, children: [] } as const;
  const around = { name: "n".repeat(2 ** 20), repetition_type: "REQUIRED", num_children: 20 } as const;
  await refused("invalid_data", "the names of its columns are longer than it", (footer) => ({
    ...footer,
    root: {
      element: { name: "root", num_children: 1 },
      children: [{ element: around, children: Array(20).fill(leaf) }],
    },
    groups: [],
  }));
});

Deno.test("fields of a footer that are not used are left out, and do not count", () => {
  const written = (hasAll: boolean): Uint8Array<ArrayBuffer> => {
    const writer = new ThriftWriter();
    writer.struct((file) => {
      file.i32(1, -7);
      if (hasAll) file.texts(2, Array(100).fill("statistics"));
      file.children(40, [1, 2], (out, item) => {
        out.i64(1, 2n ** 60n);
        if (hasAll) out.child(2, (inner) => inner.texts(1, Array(100).fill("more")));
        out.bool(20, item === 1);
      });
      file.text(41, "x");
    });
    return writer.bytes();
  };
  const item = { drop: new Set([2]), inside: new Map() };
  const filter = { drop: new Set([2]), inside: new Map([[40, item]]) };
  assertEquals(filterThrift(written(true), filter, 9), written(false));
  assertThrows(() => filterThrift(written(true), filter, 8), ThriftFault, "has more than 8 values");
});

Deno.test("rows without columns are rows", async () => {
  using folder = new TemporaryFolder();
  const path = await changedFile(folder, (footer) => ({
    ...footer,
    root: { element: { name: "schema", num_children: 0 }, children: [] },
    leaves: [],
    groups: [{ rows: 70_000, chunks: [] }, { rows: 30, chunks: [] }],
  }));
  const dataset = await openPath(path);
  assertEquals([dataset.rows, dataset.batches], [70_030, 3]);
  assertEquals((await readMessages(dataset)).map(({ rows }) => rows), [65_536, 4464, 30]);
  await dataset.close();
});

Deno.test("a footer that declares more rows than fit into memory costs none: batches and pieces come one by one", async () => {
  using folder = new TemporaryFolder();
  const empty = await changedFile(folder, (footer) => ({
    ...footer,
    root: { element: { name: "schema", num_children: 0 }, children: [] },
    leaves: [],
    groups: [{ rows: Number.MAX_SAFE_INTEGER, chunks: [] }],
  }));
  const rows = await openPath(empty);
  const run = await rows.open();
  assertEquals((await run.next())!.header.rows, 65_536);
  await run.close();
  await rows.close();
  const group = { group: 0, rows: Number.MAX_SAFE_INTEGER, batchRows: 1, batchBytes: 2 ** 30 };
  const whole = piecesOf({ ...group, pieceRows: 1 });
  const byPages = piecesOfPages({ ...group, pieceRows: 0 }, { largestPage: 0, largePageRows: [0, 1] });
  for (const pieces of [whole, byPages]) {
    assertEquals(pieces.take(2).toArray(), [{ offset: 0, rows: 1 }, { offset: 1, rows: 1 }]);
  }
});

Deno.test("an error ends a run: it is the same at every later call", async () => {
  using folder = new TemporaryFolder();
  const path = await changedFile(folder, (footer) => ({ ...footer, groups: [{ ...footer.groups[0], rows: 16 }] }));
  const dataset = await openPath(path);
  const run = await dataset.open();
  const failure = async (): Promise<DipcError> => {
    while (true) {
      try {
        const message = await run.next();
        assert(message !== null, "the run ended as if nothing had happened");
        message.body?.release();
      } catch (error) {
        assert(error instanceof DipcError);
        return error;
      }
    }
  };
  const first = await failure();
  assertEquals([first.code, await failure()], ["invalid_data", first]);
  await run.close();
  await dataset.close();
});

/** Extension type of a column of bytes with a logical type. */
function extensionOf(logical: object, metadata?: { key: string; value: string }[]): Record<string, string> {
  const element = { name: "g", type: "BYTE_ARRAY", repetition_type: "OPTIONAL", logical_type: logical } as never;
  const root = schemaTree([{ name: "schema", num_children: 1 }, element]);
  const base = { name: "g", path: "g", nullable: true, children: [], dictionary: null, metadata: new Map() };
  const column: FieldLayout = { ...base, type: { id: "binary" } };
  return Object.fromEntries(annotate([column], root, leavesOf(root), metadata)[0].metadata);
}

Deno.test("coordinate systems of geometries are those of GeoArrow", () => {
  const parameters = (logical: object, metadata?: { key: string; value: string }[]): unknown => {
    const { "ARROW:extension:name": name, "ARROW:extension:metadata": text } = extensionOf(logical, metadata);
    assertEquals(name, "geoarrow.wkb");
    return JSON.parse(text);
  };
  const standard = { crs: "OGC:CRS84", crs_type: "authority_code" };
  assertEquals(parameters({ type: "GEOMETRY" }), standard);
  assertEquals(parameters({ type: "GEOGRAPHY", algorithm: "VINCENTY" }), { ...standard, edges: "vincenty" });
  assertEquals(parameters({ type: "GEOMETRY", crs: "srid:3857" }), { crs: "3857", crs_type: "srid" });
  assertEquals(parameters({ type: "GEOMETRY", crs: "EPSG:2056" }), { crs: "EPSG:2056" });
  const named = [{ key: "mine", value: '{"type":"ProjectedCRS"}' }];
  const projected = { crs: { type: "ProjectedCRS" }, crs_type: "projjson" };
  assertEquals(parameters({ type: "GEOMETRY", crs: "projjson:mine" }, named), projected);
  assertEquals(extensionOf({ type: "UUID" })["ARROW:extension:name"], "arrow.uuid");
});

Deno.test("an interval keeps its months, and one that its Arrow schema has no room for is an error, unless it is null", () => {
  const convert = (unit: "month_day_nano" | "day_time" | "year_month", numbers: number[]): DataView => {
    const base = { name: "i", path: "i", nullable: true, children: [], dictionary: null, metadata: new Map() };
    const schema = (type: ArrowType): Uint8Array<ArrayBuffer> => encodeSchemaMessage([{ ...base, type }], new Map());
    const served = new HeaderReader().read(schema({ id: "interval", unit })).layout!;
    const converter = IntervalConverter.of("x", schema({ id: "fixed_size_binary", byteWidth: 12 }), served)!;
    // The second of two values is null, and has what must not matter.
    const body = new Uint8Array(32);
    body[0] = 1;
    new Uint32Array(body.buffer, 8).set([...numbers, 9, 9, 9]);
    const numbersOfBatch = { rows: 2, bodyLength: 32, nodes: [2, 1], buffers: [0, 1, 8, 24], variadicCounts: [] };
    const raw = converter.convert({ metadata: encodeBatchMetadata(numbersOfBatch), body });
    const { buffers } = HeaderReader.continuing(schemaHeader(schema({ id: "interval", unit }))).read(raw.metadata);
    return new DataView(raw.body.buffer, buffers[2], buffers[3]);
  };
  const months = convert("month_day_nano", [14, 3, 4]);
  assertEquals([months.getInt32(0, true), months.getInt32(4, true), months.getBigInt64(8, true)], [14, 3, 4_000_000n]);
  const days = convert("day_time", [0, 3, 4]);
  assertEquals([days.getInt32(0, true), days.getInt32(4, true), days.byteLength], [3, 4, 16]);
  assertEquals([convert("year_month", [14, 0, 0]).getInt32(0, true)], [14]);
  assertDipcError("invalid_data", 'column "i" has an interval with months', () => convert("day_time", [14, 3, 4]));
  assertDipcError("invalid_data", 'column "i" has an interval with days', () => convert("year_month", [14, 3, 0]));
});

function schemaHeader(metadata: Uint8Array): MessageHeader {
  return new HeaderReader().read(metadata);
}

/** Runs through a dataset. @returns its rows, and all its 32-bit words by exclusive or */
async function fold(dataset: Dataset): Promise<{ rows: number; xor: number; peak: number }> {
  const run = await dataset.open();
  let rows = 0, xor = 0, peak = 0;
  for (let message; (message = await run.next()) !== null;) {
    rows += message.header.rows;
    const bytes = message.body!.bytes();
    const { buffers } = message.header as unknown as { buffers: Float64Array };
    // Values alone: bitmaps are left out by the decoder if nothing is null.
    for (let i = 2; i < buffers.length; i += 4) {
      for (const word of new Uint32Array(bytes.buffer, bytes.byteOffset + buffers[i], buffers[i + 1] / 4)) xor ^= word;
    }
    message.body!.release();
    peak = Math.max(peak, Deno.memoryUsage().rss);
  }
  await run.close();
  return { rows, xor: xor >>> 0, peak };
}

testNeeding(
  [needsPython, needsPackages("datafusion")],
  "encrypted files, intervals and large row groups of other writers",
  async (t) => {
    using folder = new TemporaryFolder();
    const { xor } = await runPython("parquet_special.py", [folder.path]) as { xor: number };
    await t.step("an encrypted footer and an encrypted column are refused as such", async () => {
      await assertDipcError("unsupported", "encrypted", () => openPath(folder.file("footer.parquet")));
      const column = folder.file("column.parquet");
      await assertDipcError("unsupported", 'its column "secret" is encrypted', () => openPath(column));
    });
    await t.step("intervals have the unit of their writer", async () => {
      const dataset = await openPath(folder.file("intervals.parquet")), copy = folder.file("intervals.ndjson");
      const types = describeSchema(dataset.schema).map(({ name, type }) => `${name}: ${type}`);
      await writeAll(dataset, new NdjsonWriter(dataset.schema, AtomicFile.create(copy)));
      await dataset.close();
      assertEquals(types, ["ym: month_interval", "dt: day_time_interval"]);
      assertEquals(JSON.parse(Deno.readTextFileSync(copy)), { ym: "P14M", dt: "P7DT10800S" });
    });
    await t.step("a row group of 320 MB of doubles is decoded in pieces, whole and in little memory", async () => {
      const before = Deno.memoryUsage().rss;
      const dataset = await openPath(folder.file("doubles.parquet"));
      const result = await fold(dataset);
      await dataset.close();
      assertEquals([result.rows, result.xor], [1_000_000, xor]);
      const grown = (result.peak - before) / 2 ** 20;
      console.log(`RSS grew by ${grown.toFixed(0)} MiB`);
      assertLess(grown, 600);
    });
    await t.step("no piece of a row group has rows of two large pages, and no batch is large", async () => {
      const dataset = await openPath(folder.file("blobs.parquet"));
      const run = await dataset.open();
      const ids: number[] = [];
      for (let message; (message = await run.next()) !== null; message.body?.release()) {
        assertLess(message.header.bodyLength, 80 * 2 ** 20);
        const bytes = message.body!.bytes();
        const { buffers } = message.header as unknown as { buffers: Float64Array };
        ids.push(
          ...new BigInt64Array(bytes.buffer, bytes.byteOffset + buffers[2], message.header.rows).values().map(Number),
        );
        // The number at the end of a blob is that of its row.
        const offsets = new Int32Array(bytes.buffer, bytes.byteOffset + buffers[6], message.header.rows + 1);
        const last = new DataView(bytes.buffer, bytes.byteOffset + buffers[8] + offsets.at(-1)! - 4, 4).getInt32(
          0,
          true,
        );
        assertEquals(last, ids.at(-1));
      }
      await run.close();
      await dataset.close();
      assertEquals(ids, Array.from({ length: 3072 }, (_, i) => i));
    });
  },
);
