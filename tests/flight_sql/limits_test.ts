/** How much clients may have open at a server of Flight SQL, and for how long. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { type RecordBatch, tableFromArrays } from "apache-arrow";
import { FlightSqlClient, type FlightSqlStatement, type SqlEngine } from "../../flight_sql.ts";
import { fromBatches, fromTable, serve } from "../../mod.ts";
import { packMessage, unpackMessage } from "../../src/flight_sql/any.ts";
import * as sql from "../../src/flight_sql/gen/flight_sql_pb.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { peakResidentBytes, residentBytes } from "../support/proc.ts";
import { serve as startServer } from "../support/processes.ts";
import { delay, until } from "../support/time.ts";
import { rowsOf, sampleFiles, sqlServer } from "./support/sql_server.ts";

/** A statement whose text has so many bytes. */
function longStatement(bytes: number): string {
  return `select '${"x".repeat(bytes)}' as a`;
}

/** Prepares a statement until that is refused. @returns those that are open */
async function prepareMany(client: FlightSqlClient, text: string, because: string): Promise<FlightSqlStatement[]> {
  const open: FlightSqlStatement[] = [];
  await assertDipcError("limit_exceeded", because, async () => {
    for (;;) open.push(await client.prepare(text));
  });
  return open;
}

peerTest(["duckdb"], "the texts of open statements are counted, of one client and of all", async () => {
  const sqlLimits = { maxStatementBytes: 100_000, maxTotalStatementBytes: 150_000 };
  await using server = await sqlServer({ flight: { sqlLimits } });
  await using client = await server.client();
  await using other = await server.client();
  const text = longStatement(30_000);
  const open = await prepareMany(client, text, "at most 100000 bytes of this client");
  assertEquals(open.length, 3);
  await assertDipcError("limit_exceeded", "of this client", () => client.query(text));
  assertEquals(await rowsOf(client, "select 1 as one"), [{ one: 1 }]);
  assertEquals((await prepareMany(other, text, "at most 150000 bytes of all clients")).length, 1);
  for (const statement of open) await statement.close();
  await (await client.prepare(text)).close();
  assertEquals((await rowsOf(client, text)).length, 1);
});

peerTest(
  ["duckdb"],
  "the schemas of open statements are counted, and those of results that are not fetched",
  async () => {
    const sqlLimits = { maxStatementBytes: 500_000, smallResultBytes: 0 };
    await using server = await sqlServer({ flight: { sqlLimits } });
    await using client = await server.client();
    const wide = `select ${"1, ".repeat(999)}1`;
    const prepared = await prepareMany(client, wide, "of this client");
    assertGreater(prepared.length, 0);
    for (const statement of prepared) await statement.close();
    let results = 0;
    await assertDipcError("limit_exceeded", "of this client", async () => {
      for (; results < 1000; results++) await client.execute(wide);
    });
    assertGreater(results, 0);
  },
);

peerTest(["duckdb"], "the commands of queries that are polled are counted", async () => {
  await using server = await sqlServer({ flight: { sqlLimits: { maxStatementBytes: 100_000 } } });
  await using client = await server.client();
  const text = `select count(*) from range(100000000000) where '${"x".repeat(20_000)}' <> ''`;
  const command = packMessage(sql.CommandStatementQuerySchema, { query: text });
  await assertDipcError("limit_exceeded", "of this client", async () => {
    await Promise.all(Array.from({ length: 8 }, () => client.flight.pollFlightInfo({ command })));
  });
});

peerTest(
  ["duckdb"],
  "results that nobody fetches are kept up to a limit, and computed as they are read above it",
  async () => {
    const MiB = 1 << 20, KEPT = 4 * MiB, COUNT = 12;
    await using server = await sqlServer({ flight: { sqlLimits: { smallResultBytes: MiB, maxKeptBytes: KEPT } } });
    await using client = await server.client();
    const query = "select i as i from range(100000) r(i)"; // 800,000 bytes
    const command = packMessage(sql.CommandStatementQuerySchema, { query });
    const infos = await Promise.all(Array.from({ length: COUNT }, () => client.flight.getFlightInfo({ command })));
    const kept = infos.map(({ totalBytes }) => Number(totalBytes)).filter((bytes) => bytes >= 0);
    assertEquals(new Set(kept), new Set([800_000]));
    assert(kept.length > 0 && kept.length < COUNT, `${kept.length} were kept`);
    for (const info of infos) {
      let rows = 0;
      for await (const batch of await client.read(info)) rows += batch.numRows;
      assertEquals(rows, 100_000);
    }
    // Those that were fetched have made room.
    assertEquals(Number((await client.flight.getFlightInfo({ command })).totalBytes), 800_000);
  },
);

peerTest(["duckdb"], "a client may fetch more large results than it may have open", async () => {
  await using server = await sqlServer({ flight: { sqlLimits: { smallResultBytes: 0, maxHandles: 140 } } });
  await using client = await server.client();
  for (let i = 0; i < 200; i++) assertEquals(await rowsOf(client, `select ${i} as i`), [{ i }]);
});

peerTest(["duckdb"], "parameters stay until the rows are fetched, also if others are bound meanwhile", async () => {
  await using server = await sqlServer({ flight: { sqlLimits: { smallResultBytes: 1000 } } });
  await using client = await server.client();
  const { command, bind } = await prepareFor(client, "select ?::varchar as p from range(3000)");
  await bind(["first of the first three", "second of the first three", "third of the first three"]);
  const info = await client.flight.getFlightInfo({ command });
  await bind(["another one"]);
  const values = new Set<string>();
  for await (const batch of await client.read(info)) {
    for (const value of batch.getChild("p")!) values.add(value as string);
  }
  assertEquals([...values].map((value) => value.split(" ")[0]).sort(), ["first", "second", "third"]);
});

/** Prepares a statement, and binds texts to its parameter. */
async function prepareFor(client: FlightSqlClient, query: string) {
  const [created] = await Array.fromAsync(client.flight.doAction(
    "CreatePreparedStatement",
    packMessage(sql.ActionCreatePreparedStatementRequestSchema, { query }),
  ));
  const { preparedStatementHandle } = unpackMessage(sql.ActionCreatePreparedStatementResultSchema, created)!;
  const command = packMessage(sql.CommandPreparedStatementQuerySchema, { preparedStatementHandle });
  const bind = async (p: string[]) => {
    await client.flight.put({ command }, await fromTable(tableFromArrays({ p })));
  };
  return { command, bind };
}

/** A batch, and another one when that may come. */
async function* twoBatches(mayCome: Promise<unknown>): AsyncGenerator<RecordBatch, undefined> {
  const [batch] = tableFromArrays({ i: Int32Array.of(1) }).batches;
  yield batch;
  await mayCome;
  yield batch;
}

const NUMBERS = await fromTable(tableFromArrays({ i: Int32Array.of(1) }));

/** An engine that needs so much time for a query or an ingest; without a number as much as it gets. */
function slowEngine(workMs?: number): SqlEngine {
  const none = () => Promise.resolve([]);
  const nothing = () => Promise.resolve();
  const work = async (signal: AbortSignal | undefined): Promise<void> => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    signal!.addEventListener("abort", () => end());
    await (workMs === undefined ? ended : delay(workMs));
    signal!.throwIfAborted();
  };
  return {
    facts: { name: "", version: "", isReadOnly: false, transactions: "none", canIngest: true },
    catalog: {
      ...{ catalogs: none, schemas: none, tables: none, tableTypes: none, primaryKeys: none, foreignKeys: none },
      schemaOf: () => Promise.resolve(NUMBERS.schema),
    },
    connect: () =>
      Promise.resolve({
        ...{ begin: nothing, commit: nothing, rollback: nothing, close: nothing },
        prepare: () =>
          Promise.resolve({
            ...{ schema: NUMBERS.schema, parameterSchema: NUMBERS.schema, isOrdered: true, close: nothing },
            update: () => Promise.resolve(0),
            async query(_, { signal }) {
              await work(signal);
              const run = await NUMBERS.open();
              return { schema: NUMBERS.schema, next: () => run.next(), close: () => run.close() };
            },
          }),
        async ingest(_, rows, { signal }) {
          let count = 0;
          for await (const { header, body } of rows.messages()) {
            if (header.kind === "batch") count += header.rows;
            body?.release();
          }
          await work(signal);
          return count;
        },
      }),
  };
}

Deno.test("a query that is cancelled after its result has come, but was not polled for, leaves nothing open", async () => {
  const sqlLimits = { maxHandles: 6 };
  await using server = await serve({ datasets: {}, flight: { ucx: "off", sql: slowEngine(1500), sqlLimits } });
  await using client = await FlightSqlClient.connect(server.flight!.location);
  const command = packMessage(sql.CommandStatementQuerySchema, { query: "select 1" });
  for (let round = 0; round < 2; round++) {
    // Each has a handle, and then one more for its result.
    const polls = await Promise.all([1, 2, 3].map(() => client.flight.pollFlightInfo({ command })));
    await delay(1000);
    for (const { info, descriptor } of polls) {
      assertEquals(descriptor === null, false);
      await client.flight.cancelFlightInfo(info!);
    }
  }
  assertEquals(await rowsOf(client, "select 1"), [{ i: 1 }]);
});

Deno.test("the time in which uploaded rows are written is limited, and does not pass while the client is slow", async () => {
  const sqlLimits = { statementTimeoutMs: 1000 };
  for (const workMs of [0, undefined]) {
    const engine = slowEngine(workMs);
    await using server = await serve({ datasets: {}, flight: { ucx: "off", sql: engine, sqlLimits } });
    await using client = await FlightSqlClient.connect(server.flight!.location);
    const ingest = async () => await client.ingest("t", await fromBatches(twoBatches(delay(1500))));
    if (workMs === 0) assertEquals(await ingest(), 2);
    else await assertDipcError("timeout", "longer than 1000 ms", ingest);
  }
});

peerTest(["duckdb"], "an upload whose client sends nothing more is ended, and its transaction is free", async () => {
  await using server = await sqlServer({ flight: { limits: { idleTimeoutMs: 1000 } } });
  await using client = await server.client();
  await client.update("create table t (i integer)");
  const upload = async (into: Pick<FlightSqlClient, "ingest">): Promise<void> => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    server.server.flight!.addEventListener("error", ({ detail }) => detail.method === "DoPut" && end());
    const rows = await fromBatches(twoBatches(ended));
    await assertDipcError("timeout", "too little of it arrived", () => into.ingest("t", rows, { mode: "append" }));
  };
  await upload(client);
  await using transaction = await client.beginTransaction();
  await upload(transaction);
  await transaction.rollback();
  assertEquals(await rowsOf(client, "from t"), []);
});

peerTest(["duckdb"], "a statement that is closed while its parameters come is not executed", async () => {
  await using server = await sqlServer();
  await using client = await server.client();
  await client.update("create table t (i integer)");
  await using transaction = await client.beginTransaction();
  const statement = await transaction.prepare("insert into t values (?)");
  const { promise: mayCome, resolve: come } = Promise.withResolvers<void>();
  const parameters = await fromBatches(twoBatches(mayCome));
  const updating = assertDipcError("not_found", "it may have been closed", () => statement.update({ parameters }));
  await delay(100);
  await statement.close();
  come();
  await updating;
  await transaction.commit();
  assertEquals(await rowsOf(client, "from t"), []);
});

peerTest(["duckdb"], "what a statement has used goes back to the system after it", async () => {
  using folder = new TemporaryFolder();
  const { parquet } = await sampleFiles(folder);
  await using server = await startServer([parquet, "--flight-port", "0", "--no-ucx", "--sql"]);
  await using client = await FlightSqlClient.connect(server.info.flight!);
  await rowsOf(client, "select count(*) from trips");
  const { pid } = server.info;
  const before = residentBytes(pid);
  await rowsOf(client, "select sum(length(repeat('x', 20000000) || n)) as l from range(8) t(n)");
  const used = peakResidentBytes(pid) - before;
  assertGreater(used, 100e6);
  await until(() => residentBytes(pid) - before, (bytes) => bytes < used / 4);
});
