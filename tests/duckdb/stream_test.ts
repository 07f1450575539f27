/**
 * Streams that DuckDB reads: what a query gets, that they are read once, and every way in which they can end.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { type RecordBatch, Table, Utf8, vectorFromArray } from "apache-arrow";
import { DipcError, type DuckDbConnection, openDuckDb } from "../../duckdb.ts";
import { uniqueNames } from "../../src/duckdb/column_names.ts";
import { SCAN_SOURCE_HASH } from "../../src/duckdb/scan_machine_code.ts";
import { sourceHash } from "../../tools/machine_code.ts";
import { assertDipcError } from "../support/assert.ts";
import { settled } from "../support/c_data.ts";
import { duckDbTest } from "../support/duckdb.ts";

const ROWS = 10_000;
/** Batches of a size that is not that of DuckDB's chunks. */
const table = new Table(
  Array.from({ length: 4 }, (_, k) => {
    const n = Int32Array.from({ length: ROWS / 4 }, (_, i) => k * ROWS / 4 + i);
    const odd = vectorFromArray(Array.from(n, (n) => n % 2 === 1 ? `text ${n}` : null), new Utf8());
    return new Table({ n: vectorFromArray(n), x: vectorFromArray(Float64Array.from(n, (n) => 2 * n)), odd }).batches;
  }).flat(),
);

async function rows(connection: DuckDbConnection, sql: string): Promise<unknown[][]> {
  const found: unknown[][] = [];
  for await (using batch of await connection.query(sql)) {
    for (const row of batch) found.push([...row].map(([, value]) => value));
  }
  return found;
}

Deno.test("the machine code that reads streams is that of the C beside it", async () => {
  assertEquals(await sourceHash("duckdb/scan.c"), SCAN_SOURCE_HASH, "run tools/machine_code.ts");
});

Deno.test("names of columns become unique without regard to case, also a great many of one name", () => {
  assertEquals(uniqueNames(["a", "A", "a_1", "", "b\0", "v3", "a"]), ["a", "A_1", "a_1_1", "v3", "b", "v3_1", "a_2"]);
  const started = performance.now();
  const names = uniqueNames(Array.from({ length: 40_000 }, () => "a"));
  assertEquals([new Set(names).size, names.at(-1)], [40_000, "a_39999"]);
  // What grows with the square of their number takes minutes.
  const seconds = (performance.now() - started) / 1000;
  assert(seconds < 10, `${seconds} s`);
});

duckDbTest([], "DuckDB reads a stream: columns, filters, counts, and once", async ({ library, major }) => {
  await using database = await openDuckDb(undefined, { library, config: { threads: "4" } });
  await using connection = await database.connect();
  for (
    const [sql, expected] of [
      ["select count(*) from t", [[10_000n]]],
      ["select sum(x) from t", [[99_990_000]]],
      ["select x from t where n > 9997 order by n", [[19_996], [19_998]]],
      ["select count(odd), count(*) from t where x < 20", [[5n, 10n]]],
      ["select max(odd) from t", [["text 9999"]]],
      ["create temp table u as from t; select count(*) from u a join u b using (n)", [[10_000n]]],
      ["with recent as (from t where n >= 9999) select n, x from recent", [[9999, 19_998]]],
    ] as const
  ) {
    await using _ = await connection.registerStream("t", table);
    assertEquals(await rows(connection, sql), expected.map((row) => [...row]), sql);
    await assertDipcError("invalid_argument", "can be read only once", () => rows(connection, "from t"));
  }
  await assertDipcError("not_found", "t does not exist", () => rows(connection, "from t"));
  {
    await using first = await connection.registerStream("t", table);
    await assertDipcError(
      "invalid_argument",
      "can be read only once",
      () => rows(connection, "from t a join t b using (n)"),
    );
    // The name can be given again, to something that has it still when the first one is closed.
    await using second = await connection.registerStream("t", table);
    await first.close();
    assertEquals(await rows(connection, "select count(*) from t"), [[10_000n]]);
    await using other = await database.connect();
    await assertDipcError("not_found", "t does not exist", () => rows(other, "from t"));
    const sql = "select sql from duckdb_views() where view_name = 't'";
    const call = /dipc_stream\(\d+\)/.exec(String((await rows(connection, sql))[0][0]))![0];
    await assertDipcError("invalid_argument", "not registered on this connection", () => rows(other, `from ${call}`));
    for (const argument of ["null", "0", "-1", "123456789"]) {
      const act = () => rows(connection, `from dipc_stream(${argument})`);
      await assertDipcError("invalid_argument", "not registered on this connection", act);
    }
    // A statement that was prepared outlives the registration, but not the connection.
    await using third = await connection.registerStream("kept", table);
    await connection.execute("prepare p as select count(*) from kept");
    await third.close();
    // DuckDB 2.0 prepares it anew, as the view is gone.
    const [code, text] = major === 1 ? ["closed", "it was closed"] as const : ["not_found", "kept"] as const;
    await assertDipcError(code, text, () => rows(connection, "execute p"));
    assertEquals(second.name, "t");
  }
  await connection.close();
  await settled();
});

duckDbTest(
  [],
  "DuckDB: what a stream throws is the error of the query, and a query that waits for it can be ended",
  async ({ library }) => {
    await using database = await openDuckDb(undefined, { library });
    await using connection = await database.connect();
    const released: string[] = [];
    async function* source(what: "fails" | "hangs"): AsyncGenerator<RecordBatch> {
      try {
        for (let i = 0; i < 100; i++) yield* table.batches;
        if (what === "fails") throw new DipcError("connection_lost", "cannot read the stream: the peer is gone");
        await new Promise(() => {});
      } finally {
        released.push(what);
      }
    }
    {
      await using _ = await connection.registerStream("t", source("fails"));
      await assertDipcError("connection_lost", "the peer is gone", () => rows(connection, "select count(*) from t"));
    }
    {
      await using _ = await connection.registerStream("t", source("hangs"));
      const abort = new AbortController();
      setTimeout(() => abort.abort(), 100);
      await assertDipcError("cancelled", "cancelled", async () => {
        for await (using _ of await connection.query("select count(*) from t", { signal: abort.signal }));
      });
    }
    {
      await using _ = await connection.registerStream("t", source("hangs"));
      const sizes = [];
      for await (using batch of await connection.query("select n, x from t", { batchRows: 3000 })) {
        sizes.push(batch.numRows);
        break;
      }
      assertEquals(sizes.length, 1);
    }
    // A connection that is closed while a query begins ends the query before its source, which it would use after its end.
    for (let i = 0; i < 100; i++) {
      const brief = await database.connect();
      await brief.registerStream("t", table);
      const query = brief.query("from t");
      query.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, i % 4));
      const closed = brief.close();
      const outcome = await query.then((stream) => Array.fromAsync(stream)).catch((error) => error.code);
      assert(["closed", "cancelled"].includes(outcome), String(outcome));
      await closed;
    }
    await connection.registerStream("waited", source("hangs"));
    const pending = connection.execute("create table v as from waited");
    pending.catch(() => {});
    setTimeout(() => connection.close(), 50);
    await assertDipcError("cancelled", "", () => pending);
    await connection.close();
    await settled();
    assertEquals(released.includes("fails"), true);
  },
);
