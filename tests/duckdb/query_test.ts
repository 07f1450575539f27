/**
 * Queries of DuckDB: their rows in order and in batches, errors, and every way in which a stream can end.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { openDuckDb } from "../../duckdb.ts";
import { collect } from "../../src/memory/collector.ts";
import { assertDipcError } from "../support/assert.ts";
import { duckDbTest } from "../support/duckdb.ts";
import { peerTest } from "../support/peers.ts";

/** A query that takes far longer than any test. */
const ENDLESS = "select sum(a.range * b.range) from range(10000000) a, range(1000000) b";

duckDbTest(
  [],
  "DuckDB: the rows of a query come in order, in batches of the size that was chosen",
  async ({ library, version }) => {
    await using database = await openDuckDb(undefined, { library, config: { threads: "2" } });
    assertEquals(database.version, version);
    await using connection = await database.connect();
    await connection.execute("create table t as select range n, 'x' || range s from range(200000)");
    for (
      const [options, sizes] of [
        [{}, [65536, 65536, 65536, 3392]],
        [{ batchRows: 150_000 }, [151_552, 48_448]],
        [{ batchRows: 1_000_000 }, [200_000]],
        // A chunk has 33,706 to 38,912 bytes.
        [{ batchBytes: 100_000 }, [...Array(32).fill(6144), 3392]],
      ] as const
    ) {
      const rows: number[] = [];
      let sum = 0n;
      for await (using batch of await connection.query("from t order by n", options)) {
        rows.push(batch.numRows);
        const [n, s] = [batch.getChild("n")!, batch.getChild("s")!];
        for (let i = 0; i < batch.numRows; i += 997) assertEquals(s.get(i), `x${n.get(i)}`);
        for (const value of n) sum += value;
      }
      assertEquals([rows, sum], [[...sizes], 19_999_900_000n]);
    }
    assertEquals(await connection.execute("insert into t select * from t limit 7"), 7);
    // Statements before the last one are executed.
    const counts = [];
    for await (using batch of await connection.query("create table u as from t; select count(*) c from u")) {
      counts.push(batch.getChild("c")!.get(0));
    }
    assertEquals(counts, [200_007n]);
    assertEquals([...await Array.fromAsync(await connection.query("from t where false"))], []);
    await assertDipcError("invalid_argument", "batchRows", () => connection.query("select 1", { batchRows: 0 }));
  },
);

duckDbTest(
  [],
  "DuckDB: what it reports becomes an error with its text, and the connection stays usable",
  async ({ library, major }) => {
    await using database = await openDuckDb(undefined, { library });
    await using connection = await database.connect();
    for (
      const [sql, code, text] of [
        ["selec 1", "invalid_argument", "syntax error"],
        ["", "invalid_argument", "no statement"],
        ["select nothing", "invalid_argument", "nothing"],
        ["from nothing", "not_found", "nothing does not exist"],
        ["select 1; from nothing", "not_found", "nothing does not exist"],
        ["select 'a'::integer", "invalid_data", "Could not convert"],
        ["select $1", "unsupported", "parameters"],
        ...major === 1 ? [["select null::variant", "unsupported", "VARIANT"]] as const : [],
        ["from read_csv('/nonexistent')", "io", "/nonexistent"],
        ["select case when range < 99999 then 1 else error('boom') end from range(100000)", "invalid_argument", "boom"],
      ] as const
    ) {
      const error = await assertDipcError(code, text, async () => {
        for await (const { body } of (await connection.query(sql)).messages()) body?.release();
      });
      assert(error.message.startsWith("cannot "), error.message);
      if (code === "not_found") assertEquals(error.foreign?.system, "duckdb");
    }
    assertEquals(await connection.execute("select 1"), 0);
    await assertDipcError(
      "invalid_argument",
      "nonsense",
      () => openDuckDb(undefined, { library, config: { nonsense: "1" } }),
    );
    await assertDipcError("io", "/nonexistent/x", () => openDuckDb("/nonexistent/x", { library }));
  },
);

duckDbTest(
  [],
  "DuckDB: a query ends when it is aborted, left early, or its connection is closed",
  async ({ library }) => {
    await using database = await openDuckDb(undefined, { library });
    const connection = await database.connect();
    const endless = "select range, repeat('x', 30) t from range(1000000000000)";

    const abort = new AbortController();
    const pending = connection.query(ENDLESS, { signal: abort.signal });
    setTimeout(() => abort.abort(), 50);
    await assertDipcError("cancelled", "cancelled", () => pending);
    await assertDipcError("cancelled", "cancelled", () => connection.query("select 1", { signal: abort.signal }));

    // An abort before its turn is one, too.
    const waits = connection.execute("create table early as from range(10)");
    const aborted = new AbortController();
    const behind = connection.execute("create table late as from early", { signal: aborted.signal });
    aborted.abort();
    await assertDipcError("cancelled", "cancelled", () => behind);
    await waits;
    await assertDipcError("not_found", "late", () => connection.execute("from late"));

    // Of two queries that are begun at once one has the connection.
    const first = connection.query("from early");
    await assertDipcError("busy", "is open", () => connection.query("from early"));
    assertEquals(await Array.fromAsync(await first, ({ numRows }) => numRows), [10]);

    for await (using batch of await connection.query(endless)) {
      assertEquals(batch.numRows, 65536);
      break;
    }
    const later = new AbortController();
    const stream = await connection.query(endless, { signal: later.signal });
    (await stream.next())!.body!.release();
    await assertDipcError("busy", "is open", () => connection.execute("select 1"));
    later.abort();
    await assertDipcError("cancelled", "cancelled", () => stream.next());
    await stream.close();

    // Threads of DuckDB are executing what nobody has asked for the next rows of.
    const unread = await connection.query(endless);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await unread.close();

    const last = await connection.query(endless);
    (await last.next())!.body!.release();
    const slow = await database.connect();
    const waiting = slow.execute(ENDLESS);
    waiting.catch(() => {});
    await connection.close();
    await assertDipcError("closed", "closed", async () => {
      for (;;) (await last.next())!.body!.release();
    });
    await assertDipcError("closed", "the connection was closed", () => connection.query("select 1"));
    await database.close();
    await assertDipcError("cancelled", "Interrupted", () => waiting);
    await assertDipcError("closed", "the database was closed", () => database.connect());
  },
);

peerTest(["duckdb"], "DuckDB: a database is closed only after the threads that connect to it", async ({ duckdb }) => {
  for (let i = 0; i < 60; i++) {
    const database = await openDuckDb(undefined, { library: duckdb });
    // It was destroyed under them, which ended the process.
    const outcomes = await Promise.allSettled([database.connect(), database.connect(), database.close()]);
    assertEquals(outcomes.map((outcome) => outcome.status === "rejected" ? outcome.reason.code : ""), [
      ...["closed", "closed", ""],
    ]);
  }
});

duckDbTest(
  [],
  "DuckDB: a stream whose connection nobody refers to goes on, and all is released when it is dropped",
  async ({ library }) => {
    await using database = await openDuckDb(undefined, { library });
    const open = async () =>
      await (await database.connect()).query("select range n, [range] l from range(100000)", { batchRows: 20_000 });
    const stream = await open();
    let rows = 0;
    for (let message; (message = await stream.next()) !== null;) {
      rows += message.header.rows;
      message.body?.release();
      collect("all");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assertEquals(rows, 100_000);
    // Dropped streams, connections and messages; closing the database waits for what their finalizers do.
    for (let i = 0; i < 5; i++) await (await open()).next();
    collect("all");
    await new Promise((resolve) => setTimeout(resolve, 10));
  },
);
