/**
 * What Parquet files of other writers become: every file of Parquet's own test data, every type of DuckDB, pyarrow, Polars and
 * DataFusion, and TPC-H, compared with what pyarrow and DuckDB read. docs/parquet.md says the same as a table.
 */
import { assertEquals, assertGreater } from "@std/assert";
import { Field, FixedSizeList, Int8, Schema, Struct } from "apache-arrow";
import { AtomicFile } from "../../src/formats/atomic_file.ts";
import { ArrowStreamWriter } from "../../src/formats/arrow_stream_writer.ts";
import { encodeSchema } from "../../src/ipc/encode.ts";
import type { VerifiedHeader } from "../../src/ipc/verified_header.ts";
import { openPath } from "../../src/sources/open_path.ts";
import { doubtOf } from "../../src/sources/parquet/fixed_lists.ts";
import { assertDipcError } from "../support/assert.ts";
import { findPeers } from "../../tools/peers.ts";
import { readMessages, writeAll } from "../support/datasets.ts";
import { compareAllEngines } from "../support/parquet_engines.ts";
import { type Need, testNeeding } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { needsPackages, needsPython, runPython } from "../support/python.ts";
import { makeTpch, needsTpch } from "../support/tpch.ts";

const hasDuckDb = findPeers().duckdb !== null;

/** What `parquet_read.py` says about one file. */
interface Reading {
  name: string;
  columns: number;
  rows: number;
  metadata: string | null;
  types: string[];
  pyarrow: string[];
  duckdb: string[];
  unread: string[];
}

/** Converts files, two at a time, and compares them. */
async function readAll(folder: TemporaryFolder, files: readonly string[]): Promise<Reading[]> {
  const pairs: { name: string; parquet: string; arrows: string }[] = [];
  const left = [...files];
  const convert = async (): Promise<void> => {
    for (let parquet; (parquet = left.shift()) !== undefined;) {
      const name = parquet.slice(parquet.lastIndexOf("/") + 1), arrows = folder.file(`${name}.arrows`);
      const dataset = await openPath(parquet);
      await writeAll(dataset, new ArrowStreamWriter(dataset.schema, AtomicFile.create(arrows)));
      await dataset.close();
      pairs.push({ name, parquet, arrows });
    }
  };
  await Promise.all([convert(), convert()]);
  pairs.sort((a, b) => a.name < b.name ? -1 : 1);
  const readings = await runPython("parquet_read.py", [], pairs) as Reading[];
  const count = (key: "columns" | "rows"): number => readings.reduce((sum, reading) => sum + reading[key], 0);
  console.log(`${readings.length} files, ${count("columns")} columns, ${count("rows")} rows`);
  for (const { name, unread } of readings) {
    for (const text of unread) console.log(`DuckDB cannot read ${name}, column ${text}`);
  }
  return readings;
}

/** The differences that are not among the known ones, and the known ones that are not there. */
function unexpected(readings: readonly Reading[], known: Readonly<Record<string, RegExp>>): string[] {
  const met = new Set<string>();
  const found: string[] = [];
  for (const reading of readings) {
    for (const key of ["types", "pyarrow", "duckdb"] as const) {
      for (const text of reading[key]) {
        const place = `${reading.name} ${key}`;
        if (known[place]?.test(text)) met.add(place);
        else if (!(key === "types" && USUAL_TYPES.test(text))) found.push(`${place}: ${text}`);
      }
    }
    if (reading.metadata !== null) found.push(`${reading.name} metadata: ${reading.metadata}`);
  }
  return [...found, ...Object.keys(known).filter((place) => !met.has(place)).map((place) => `${place}: not met`)];
}

/** Files that are not read by DuckDB as well, because it would give other types or values, and what it says of each. */
const NOT_BY_DUCKDB: Readonly<Record<string, RegExp>> = {
  "datafusion.parquet": /LargeUtf8\\"\)\)?" as large_string/, // beside a list, which it converts itself
  "days.parquet": /"id" as dictionary/,
  "dictionaries.parquet": /"int8" as dictionary/,
  "duckdb_interval_months.parquet": /"i" as month_day_nano_interval/,
  "duckdb_types.parquet": /a type of its own for the geometries of GeoParquet/,
  "duckdb_variant.parquet": /a type of its own for column "v"/,
  "geoparquet.parquet": /a type of its own for the geometries of GeoParquet/,
  "int96_dictionary.parquet": /INT96/,
  "int96_far.parquet": /INT96/,
  "int96_ns.parquet": /INT96/,
  "narrow_keys.parquet": /"c" as dictionary/,
  "polars.parquet": /"cat" as dictionary/,
  "polars_int128.parquet": /"null" as null/,
  "views.parquet": /"fixed" as fixed_size_list/,
};

/** Types that differ from pyarrow's everywhere: INT96, and views, which are sent as plain columns. */
const USUAL_TYPES =
  /timestamp\[us\]>?, not .*timestamp\[ns\]|: (string|binary|list<element: .*), not \S*(view|list<element: string_view>)/;

/** Differences of the two readers from each other, or of dipc from both. */
const KNOWN: Readonly<Record<string, RegExp>> = {
  "datafusion.parquet types": /dictionary<values=int64|timestamp\[s\], not int64/, // restored from the Arrow schema
  "datafusion.parquet pyarrow": /Timestamp\(Second.*\[1577836800000000000\], not \[1577836800\]/,
  "datafusion.parquet duckdb": /Duration|Timestamp\(Second/, // DuckDB does not read the Arrow schema
  "dictionaries.parquet types": /dictionary<.*, not /, // pyarrow keeps those of strings and binaries
  "dictionaries.parquet duckdb": /^duration/,
  "duckdb_fixed_lists.parquet types": /cannot be read: ArrowInvalid/,
  "duckdb_interval_months.parquet types": /month_day_nano_interval, not fixed_size_binary\[12\]/,
  "duckdb_interval_months.parquet pyarrow":
    /MonthDayNano\(months=14, days=3, nanoseconds=14400000000000\), None\], not/,
  "duckdb_types.parquet types": /month_day_nano_interval, not fixed_size_binary\[12\]/,
  "duckdb_types.parquet pyarrow": /^interval: .*MonthDayNano\(months=999, days=999, /,
  "duckdb_types.parquet duckdb": /^time_tz: .*'08:00:01', '08:00:01\+00'|^geometry: .*POINT EMPTY/,
  "duckdb_variant.parquet duckdb": /typed_value/,
  "geoparquet.parquet duckdb": /^(crs|none|default): .*'POINT \(1 2\)'/,
  "int96_dictionary.parquet pyarrow": /-30610224000000000000.*253402214400000000000/,
  "int96_far.parquet pyarrow": /-30610224000000000000.*253402214400000000000/, // the years 1000 and 9999
  "int96_ns.parquet duckdb": /00:00:00\.000000001/,
  "lists_of_none.parquet types": /^l: cannot be read: ArrowInvalid/, // pyarrow, which wrote it
  "narrow_keys.parquet types": /cannot be read: ArrowInvalid/,
  "polars.parquet types": /dictionary<values=large_string/,
  "polars.parquet duckdb": /^dur: /,
  "polars_int128.parquet types": /cannot open it/,
  "stale_lists_one.parquet types": /^l: cannot be read: ArrowInvalid/,
  "stale_lists_three.parquet types": /^l: cannot be read: ArrowInvalid/,
  "stale_renamed.parquet types": /^a: string, not dictionary/,
  "stale_renamed.parquet duckdb": /^b: .*00:00:01/,
  "stale_reordered.parquet types": /^a: string, not dictionary/,
  "stale_unreadable.parquet types": /cannot open it/,
  "views.parquet duckdb": /^duration: /,
};

testNeeding(
  [needsPython, needsPackages("duckdb", "polars", "datafusion")],
  "every type that DuckDB, pyarrow, Polars and DataFusion write becomes what pyarrow and DuckDB read",
  async () => {
    using folder = new TemporaryFolder();
    const names = await runPython("parquet_inputs.py", [folder.path]) as string[];
    const files = names.map((name) => folder.file(name));
    const readings = await readAll(folder, files);
    assertEquals(unexpected(readings, KNOWN), []);
    if (hasDuckDb) assertEquals(await compareAllEngines(files, NOT_BY_DUCKDB), []);
    assertGreater(readings.reduce((sum, { columns }) => sum + columns, 0), 120);
    // An empty list would be one of nulls.
    const stale = await openPath(folder.file("stale_lists_two.parquet"));
    const text = 'lists of column "l" are empty, but its Arrow schema says that all are of length 2';
    await assertDipcError("invalid_data", text, () => readMessages(stale));
    await stale.close();
  },
);

/** As above, of Parquet's own test data. */
const NOT_BY_DUCKDB_TESTING: Readonly<Record<string, RegExp>> = {
  ...Object.fromEntries(
    [
      ...["alltypes_dictionary", "alltypes_plain", "alltypes_plain.snappy", "alltypes_tiny_pages"],
      ...["alltypes_tiny_pages_plain", "int96_from_spark"],
    ].map((name) => [`${name}.parquet`, /INT96/]),
  ),
  ...Object.fromEntries(
    [
      ...["float16_nonzeros_and_nans", "float16_zeros_and_nans", "floating_orders_nan_count"],
    ].map((name) => [`${name}.parquet`, /as halffloat/]),
  ),
  ...Object.fromEntries(
    ["hadoop_lz4_compressed", "hadoop_lz4_compressed_larger", "non_hadoop_lz4_compressed"].map((
      name,
    ) => [`${name}.parquet`, /does not read LZ4/]),
  ),
  ...Object.fromEntries(
    ["map_no_value", "old_list_structure", "repeated_no_annotation", "repeated_primitive_no_list"].map((
      name,
    ) => [`${name}.parquet`, /repeats without being a list/]),
  ),
  "byte_stream_split_extended.gzip.parquet": /BYTE_STREAM_SPLIT of bytes/,
  "nested_structs.rust.parquet": /"ul_observation_date" as struct/,
  "null_list.parquet": /"emptylist" as list<item: null>/,
};

const testing = Deno.env.get("DIPC_PARQUET_TESTING") ?? `${ROOT}/../shared/data/parquet-testing`;
const needsTesting: Need = {
  what: "the folder of Parquet's own test data",
  present: await Deno.stat(testing).then(() => true, () => false),
  how: "set DIPC_PARQUET_TESTING to it",
  isOptional: true,
};

const KNOWN_TESTING: Readonly<Record<string, RegExp>> = {
  "incorrect_map_schema.parquet types": /cannot open it/,
  "int96_from_spark.parquet pyarrow": /253402225200000000000/, // the year 9999
  // A converted type without a logical one: UTC for pyarrow, without a zone for DuckDB.
  "nested_structs.rust.parquet duckdb": /^ul_observation_date: /,
};

testNeeding(
  [needsTesting, needsPackages("duckdb")],
  "Parquet's own test data becomes what pyarrow and DuckDB read",
  async () => {
    using folder = new TemporaryFolder();
    const names = [...Deno.readDirSync(testing)].map(({ name }) => name).filter((name) => name.endsWith(".parquet"));
    const files = names.map((name) => `${testing}/${name}`);
    const readings = await readAll(folder, files);
    assertEquals(unexpected(readings, KNOWN_TESTING), []);
    if (hasDuckDb) assertEquals(await compareAllEngines(files, NOT_BY_DUCKDB_TESTING), []);
    assertEquals(readings.length, names.length);
    assertGreater(readings.length, 60);
  },
);

testNeeding(
  [needsTpch, needsPackages("duckdb")],
  "the tables of TPC-H become what pyarrow and DuckDB read",
  async () => {
    using folder = new TemporaryFolder();
    const files = Object.values(await makeTpch(folder.path, 0.002));
    const readings = await readAll(folder, files);
    assertEquals([readings.length, unexpected(readings, {})], [8, []]);
    if (hasDuckDb) assertEquals(await compareAllEngines(files, {}), []);
  },
);

Deno.test("an error of the decoder names lists of one length, whose length it does not check", () => {
  const layout = (...fields: Field[]) => (encodeSchema(new Schema(fields)) as VerifiedHeader).layout.fields;
  const item = new Field("item", new Int8()), list = new Field("l", new FixedSizeList(2, item));
  assertEquals(doubtOf(layout(item)), "");
  const doubt = ', or the lists of column "s.l" are not all of length 2, as its Arrow schema says';
  assertEquals(doubtOf(layout(item, new Field("s", new Struct([list])))), doubt);
});
