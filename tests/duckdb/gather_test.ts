/**
 * How chunks of DuckDB are put together: machine code and DuckDB's own conversion give the same values.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openDuckDb } from "../../duckdb.ts";
import { peerTest } from "../support/peers.ts";

/** Expressions of `n`, one for each type that machine code copies. */
const COLUMNS: Readonly<Record<string, string>> = {
  ...{
    flag: "n % 3 = 0",
    i8: "(n % 256 - 128)::int8",
    i16: "(n % 65536 - 32768)::int16",
    i32: "n::int32",
    i64: "n * 1234567",
  },
  ...{
    u8: "(n % 256)::uint8",
    u16: "(n % 65536)::uint16",
    u32: "n::uint32",
    u64: "n::uint64",
    huge: "n::hugeint * -987654321987654321",
  },
  ...{
    f32: "(n / 7)::float",
    f64: "n / 7",
    day: "date '1970-01-01' + n::int32",
    clock: "time '00:00' + to_microseconds(n * 7)",
  },
  ...{ ts: "make_timestamp(n * 1000003)", ts_s: "make_timestamp(n * 1000000)::timestamp_s" },
  ...{ ts_ms: "make_timestamp(n * 1000)::timestamp_ms", ts_ns: "make_timestamp_ns(n * 77)", tz: "to_timestamp(n * 3)" },
  ...{ dec2: "(n % 1000 - 500)::decimal(4, 1)", dec4: "(n - 5000)::decimal(9, 2)", dec8: "(n - 5000)::decimal(18, 6)" },
  ...{
    dec16: "(n - 5000)::decimal(38, 10) * 1000000",
    text: "repeat('äx', (n % 23)::int32) || n",
    bytes: "encode(repeat('b', (n % 40)::int32))",
  },
  ...{ js: "json_object('n', n)" },
};

/** Values that stay when their batch is disposed. */
function kept(column: Iterable<unknown>): unknown[] {
  return Array.from(column, (value) => ArrayBuffer.isView(value) ? [...(value as Uint8Array)].join() : value);
}

peerTest(
  ["duckdb"],
  "DuckDB: machine code gives what DuckDB's conversion gives, with nulls and in chunks of any size",
  async ({ duckdb }) => {
    await using database = await openDuckDb(undefined, { library: duckdb, config: { threads: "2" } });
    await using connection = await database.connect();
    const names = Object.keys(COLUMNS);
    const list = names.map((name, i) =>
      `case when hash(n, ${i}) % 5 > 0 or n % 3000 < 1000 then ${COLUMNS[name]} end as "${name}"`
    );
    await connection.execute(`create table t as select n, ${list.join(", ")} from range(6000) r(n)`);
    let rows = 0;
    const wheres = ["true", "n % 7 = 3", "n % 750 > 730", "n % 3000 between 1 and 999", "false"];
    for (const [i, where] of wheres.entries()) {
      // Offsets of texts have 32 bits or 64. Only the fourth one has no nulls.
      await connection.execute(`set arrow_large_buffer_size = ${i % 2 === 1}`);
      for (const options of [{}, { batchRows: 100 }, { batchBytes: 300_000 }]) {
        const flat = await connection.query(`from t where ${where} order by n`, options);
        await using other = await database.connect();
        const packed = names.map((name) => `"${name}" := "${name}"`).join(", ");
        const converted = await other.query(`select struct_pack(${packed}) s from t where ${where} order by n`, {
          batchRows: 1,
        });
        const values: unknown[][] = names.map(() => []), expected: unknown[][] = names.map(() => []);
        for await (using batch of flat) {
          rows += batch.numRows;
          names.forEach((name, i) => values[i].push(...kept(batch.getChild(name)!)));
        }
        for await (using whole of converted) {
          names.forEach((name, i) => expected[i].push(...kept(whole.getChild("s")!.getChild(name)!)));
        }
        names.forEach((name, i) => assertEquals(values[i], expected[i], `${name} where ${where}`));
      }
    }
    assertEquals(rows, 3 * (6_000 + 857 + 8 * 19 + 2 * 999));
  },
);
