/**
 * The ADBC client with a driver in C that watches its user: errors, options, streams, cancels, and the order of calls and releases.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type RecordBatch, Table, vectorFromArray } from "apache-arrow";
import { type AdbcConnection, type AdbcStatement, type ForeignStream, openDatabase } from "../../adbc.ts";
import { ADBC_LAYOUT } from "../../ffi/adbc.ts";
import { collect } from "../../src/memory/collector.ts";
import { assertDipcError } from "../support/assert.ts";
import { settled } from "../support/c_data.ts";
import { FakeDriver } from "../support/fake_adbc.ts";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { seededRandom } from "../support/random.ts";

const NEEDS = ["compiler", "adbc"] as const;
const table = new Table({ n: vectorFromArray(Int32Array.from({ length: 10 }, (_, i) => i)) });

/** The values of a stream of the driver. */
async function valuesOf(stream: ForeignStream): Promise<number[]> {
  const values: number[] = [];
  for await (using batch of stream) values.push(...batch.getChildAt(0)!);
  return values;
}

peerTest(NEEDS, "the structures have the layout that the compiler gives them with ADBC's header", async (peers) => {
  const program = await Deno.makeTempFile();
  try {
    const args = ["-Wall", "-Werror", `-I${peers.adbc.include}`, "-o", program, `${ROOT}/native/adbc/layout.c`];
    const { success, stderr } = await new Deno.Command(peers.compiler, { args }).output();
    assert(success, new TextDecoder().decode(stderr));
    const { stdout } = await new Deno.Command(program).output();
    assertEquals(JSON.parse(new TextDecoder().decode(stdout)), ADBC_LAYOUT as unknown);
  } finally {
    await Deno.remove(program);
  }
});

peerTest(NEEDS, "rows, parameters, partitions and schemas pass, and everything is released", async (peers) => {
  const fake = new FakeDriver(peers);
  const releases = fake.driverReleases;
  {
    await using database = await fake.open();
    assertEquals([database.version, database.driver], ["1.1.0", fake.path]);
    await using connection = await database.connect({ any: true });
    assertEquals(await connection.getOption("any"), "true");
    assertEquals(await valuesOf(await connection.query("rows 3")), [0, 1, 2]);
    assertEquals(await valuesOf(await connection.query("rows 0")), []);
    assertEquals(await connection.execute("count"), 0);
    assertEquals(await connection.execute("count", { parameters: table.batches[0] }), 10);
    assertEquals(await connection.ingest("t", [...table.batches, ...table.batches]), 20);
    assertEquals(await connection.ingest("t", [], { schema: table.schema }), 0);
    // A stream that fails is the driver's error then.
    // deno-lint-ignore require-yield -- it fails
    const broken = async function* (): AsyncGenerator<RecordBatch> {
      await Promise.resolve();
      throw new Error("no more rows");
    };
    const ingest = (): Promise<unknown> => connection.ingest("t", broken(), { schema: table.schema });
    await assertDipcError("io", "no more rows", ingest);

    await using statement = await connection.createStatement({ text: "x" });
    await statement.setSqlQuery("rows 2");
    assertEquals(String((await statement.executeSchema()).schema), "Schema<{ 0: n: Int32 }>");
    const { partitions, schema, affectedRows } = await statement.executePartitions();
    assertEquals([partitions.length, String(schema?.schema), affectedRows], [3, "Schema<{ 0: n: Int32 }>", 3]);
    const read = await Promise.all(partitions.map(async (part) => valuesOf(await connection.readPartition(part))));
    assertEquals(read, [[1], [2], [3]]);
    await assertDipcError("not_found", "no such partition", () => connection.readPartition(Uint8Array.of(1)));
    // Batches outlive all that they come from.
    const stream = await connection.query("rows 1");
    const [batch] = await Array.fromAsync(stream.batches());
    setTimeout(() => batch[Symbol.dispose]());
    assertEquals(batch.numRows, 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  fake.assertUnharmed();
  assertEquals(fake.driverReleases, releases + 1);
  await settled();
});

peerTest(NEEDS, "errors keep status, SQLSTATE, vendor code and details", async (peers) => {
  const fake = new FakeDriver(peers);
  {
    await using database = await fake.open();
    await using connection = await database.connect();
    const text = "cannot execute the query: a line and another (INTEGRITY, SQLSTATE 23505, reason because, " +
      "packed-bin of 3 bytes, empty )";
    const { foreign, message } = await assertDipcError("invalid_data", "", () => connection.query("error"));
    assertEquals(message, text);
    assertEquals(foreign, {
      system: "adbc",
      status: 8,
      text: "a line\nand another",
      sqlState: "23505",
      details: [
        { key: "reason", value: new TextEncoder().encode("because") },
        { key: "packed-bin", value: Uint8Array.of(0, 1, 2) },
        { key: "empty", value: new Uint8Array() },
      ],
    });
    const vendor = await assertDipcError(
      "invalid_data",
      "SQLSTATE 22012, vendor code 77",
      () => connection.query("vendor"),
    );
    assertEquals(vendor.foreign?.vendorCode, 77);
    await assertDipcError("adbc", "does not say why (UNKNOWN)", () => connection.execute("silent"));
    const broken = await connection.query("fail 2");
    const error = await assertDipcError("invalid_data", "the stream broke (INTEGRITY", () => valuesOf(broken));
    assertEquals(error.foreign?.details?.length, 3);
    await assertDipcError("unsupported", "does not have ConnectionGetInfo", () => connection.info());
    await assertDipcError("invalid_argument", "zero character", () => connection.query("rows\0"));
    await assertDipcError("invalid_argument", "not one of its names", () => connection.info(["nothing"]));
    await assertDipcError(
      "invalid_argument",
      'give "create"',
      () => connection.ingest("t", table, { mode: "x" as never }),
    );
    for (
      const misspelt of [
        () => connection.query("rows 1", { sinal: 1 } as never),
        () => connection.ingest("t", table, { Mode: 1 } as never),
        () => connection.getObjects({ dept: 1 } as never),
        () => openDatabase(fake.path, {}, { entry: 1 } as never),
      ]
    ) await assertDipcError("invalid_argument", "has no such option", misspelt);
    const refused = (): Promise<unknown> => openDatabase(fake.path, { refuse: "who are you" });
    await assertDipcError("permission_denied", "who are you (UNAUTHENTICATED, SQLSTATE 28000", refused);
    await assertDipcError("io", "the licence has expired", () => fake.open("init_fails"));
    await assertDipcError("library_not_found", "no entry point init_of_nothing", () => fake.open("init_of_nothing"));
  }
  {
    await using database = await fake.open("init_empty");
    await using connection = await database.connect();
    await assertDipcError("unsupported", "does not have StatementNew", () => connection.query("rows 1"));
  }
  fake.assertUnharmed();
  await settled();
});

peerTest(NEEDS, "options of every type are set and read", async (peers) => {
  const fake = new FakeDriver(peers);
  {
    await using database = await fake.open();
    await using connection = await database.connect();
    await using statement = await connection.createStatement();
    for (const each of [database, connection, statement]) {
      const long = "ü".repeat(1500);
      if (each !== database) {
        await each.setOption("o", long);
        assertEquals(await each.getOption("o"), long);
      }
      await each.setOption("o", Uint8Array.from({ length: 5000 }, (_, i) => i));
      assertEquals((await each.getOption("o", "bytes")).at(-1), 4999 % 256);
      await each.setOption("o", -(2n ** 63n));
      assertEquals(await each.getOption("o", "int"), -(2n ** 63n));
      await each.setOption("o", 7);
      assertEquals(await each.getOption("o", "int"), 7n);
      await each.setOption("o", 0.5);
      await each.setOption("o", 2, "double");
      assertEquals(await each.getOption("o", "double"), 2);
      await assertDipcError("not_found", "there is none", () => each.getOption("unknown"));
      await assertDipcError("invalid_argument", "64 bits", () => each.setOption("o", 2n ** 63n));
    }
  }
  fake.assertUnharmed();
});

peerTest(NEEDS, "a driver of ADBC 1.0.0 is used without what it lacks", async (peers) => {
  const fake = new FakeDriver(peers);
  {
    await using database = await fake.open("init_1_0");
    assertEquals(database.version, "1.0.0");
    await using connection = await database.connect({ number: 12 }); // as text
    assertEquals(await valuesOf(await connection.query("rows 2")), [0, 1]);
    await using statement = await connection.createStatement();
    await assertDipcError("unsupported", "one of ADBC 1.0.0", () => connection.getOption("o"));
    await assertDipcError("unsupported", "ExecuteSchema", () => statement.executeSchema());
    await assertDipcError("unsupported", "StatementCancel", () => statement.cancel());
    const { foreign } = await assertDipcError("invalid_data", "SQLSTATE 23505", () => connection.query("error"));
    assertEquals(foreign?.details, undefined);
    await assertDipcError(
      "io",
      "the stream broke (errno 5)",
      async () => await valuesOf(await connection.query("fail 0")),
    );
  }
  fake.assertUnharmed();
});

peerTest(NEEDS, "a query and a stream that wait are cancelled, from any turn", async (peers) => {
  const fake = new FakeDriver(peers);
  {
    await using database = await fake.open();
    await using connection = await database.connect();
    await using statement = await connection.createStatement();
    await statement.setSqlQuery("wait");
    const waiting = statement.query();
    setTimeout(() => statement.cancel(), 20);
    await assertDipcError("cancelled", "SQLSTATE 57014", () => waiting);

    const abort = new AbortController();
    setTimeout(() => abort.abort("enough"), 20);
    const error = await assertDipcError("cancelled", "", () => connection.execute("wait", { signal: abort.signal }));
    assertEquals(error.cause, "enough");
    await assertDipcError("cancelled", "", () => connection.query("rows 1", { signal: AbortSignal.abort() }));

    const hanging = await connection.query("hang");
    const next = hanging.next();
    setTimeout(() => connection.cancel(), 20);
    await assertDipcError("cancelled", "errno 125", () => next);
    const left = await connection.query("hang");
    const pending = left.next();
    setTimeout(() => left.cancel(), 20);
    await assertDipcError("cancelled", "", () => pending);
    // The connection goes on.
    assertEquals(await valuesOf(await connection.query("rows 1")), [0]);

    // What is under way ends with its connection.
    const other = await database.connect();
    const last = other.query("wait");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = other.close();
    await assertDipcError("cancelled", "", () => last);
    await closed;
    await assertDipcError("closed", "the connection was closed", () => other.query("rows 1"));
  }
  fake.assertUnharmed();
});

peerTest(
  NEEDS,
  "a later execution ends the streams of its statement, and a statement waits for its last one",
  async (peers) => {
    const fake = new FakeDriver(peers);
    {
      await using database = await fake.open();
      await using connection = await database.connect();
      const statement = await connection.createStatement();
      await statement.setSqlQuery("rows 3");
      const first = await statement.query();
      (await first.next())![Symbol.dispose]();
      const [second, third] = await Promise.all([statement.query(), statement.query()]);
      for (const stream of [first, second]) await assertDipcError("cancelled", "", () => stream.next());
      await statement.close();
      assertEquals(await valuesOf(third), [0, 1, 2]);
      await assertDipcError("closed", "the statement was closed", () => statement.query());
      // A statement that is closed while it executes.
      const brief = await connection.createStatement();
      await brief.setSqlQuery("slow 2");
      const slow = brief.query();
      await new Promise((resolve) => setTimeout(resolve, 20));
      await brief.close();
      assertEquals(await valuesOf(await slow), [0, 1]);
      // One that nobody reads is ended with the connection.
      await connection.query("rows 9");
    }
    fake.assertUnharmed();
  },
);

peerTest(NEEDS, "what is dropped without being closed is released when it is collected", async (peers) => {
  const fake = new FakeDriver(peers);
  const use = async (): Promise<void> => {
    const database = await fake.open();
    const connection = await database.connect();
    const statement = await connection.createStatement();
    await statement.setSqlQuery("rows 3");
    await (await statement.query()).next();
    await connection.query("rows 2");
  };
  await use();
  await fake.assertUnharmedAfterCollection();
  // A stream alone keeps all that it needs.
  const stream = await (async () => await (await (await fake.open()).connect()).query("rows 3"))();
  for (let i = 0; i < 5; i++) {
    collect("all");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assertEquals(await valuesOf(stream), [0, 1, 2]);
  await fake.assertUnharmedAfterCollection();
});

peerTest(NEEDS, "in random sequences no calls of a connection meet, and all is released in order", async (peers) => {
  const fake = new FakeDriver(peers);
  const random = seededRandom();
  for (let round = 0; round < 40; round++) {
    const database = await fake.open();
    const connections: AdbcConnection[] = [];
    const statements: AdbcStatement[] = [];
    const streams: ForeignStream[] = [];
    const under: Promise<unknown>[] = [];
    const queries = ["rows 3", "fail 1", "error", "rows 0", "hang"];
    const steps: (() => Promise<unknown> | undefined)[] = [
      () => database.connect().then((it) => connections.push(it)),
      () =>
        connections.length === 0
          ? undefined
          : random.pick(connections).createStatement().then((it) => statements.push(it)),
      () =>
        connections.length === 0
          ? undefined
          : random.pick(connections).query(random.pick(queries)).then((it) => streams.push(it)),
      () => connections.length === 0 ? undefined : random.pick(connections).ingest("t", table),
      () => statements.length === 0 ? undefined : random.pick(statements).setSqlQuery(random.pick(queries)),
      () => statements.length === 0 ? undefined : random.pick(statements).query().then((it) => streams.push(it)),
      () => statements.length === 0 ? undefined : random.pick(statements).bind(table.batches[0]),
      () => statements.length === 0 ? undefined : random.pick(statements).cancel(),
      () => streams.length === 0 ? undefined : random.pick(streams).next().then((it) => it?.[Symbol.dispose]()),
      () => streams.length === 0 ? undefined : random.pick(streams).cancel(),
      () => statements.length === 0 ? undefined : random.pick(statements).close(),
      () => connections.length === 0 || !random.chance(0.2) ? undefined : random.pick(connections).close(),
    ];
    for (let i = 0; i < 25; i++) {
      under.push(
        Promise.resolve(random.pick(steps)()).catch((error) => assertStringIncludes(String(error), "DipcError")),
      );
      if (random.chance(0.5)) await new Promise((resolve) => setTimeout(resolve, random.below(2)));
    }
    await database.close();
    await Promise.all(under);
    fake.assertUnharmed();
  }
  await settled();
});

peerTest(NEEDS, "closing a database cancels the connection that is being opened, and nothing else", async (peers) => {
  const driver = new FakeDriver(peers);
  const database = await openDatabase(driver.path, { slow: "true" });
  const connecting = assertDipcError("cancelled", "waited", () => database.connect());
  await new Promise((resolve) => setTimeout(resolve, 30));
  await database.close();
  await connecting;
  driver.assertUnharmed();
});

// A connection that is closed while the driver makes it has nothing to be cancelled yet: drivers take that for a fault.
peerTest(NEEDS, "closing a database waits for a connection that the driver is making", async (peers) => {
  const driver = new FakeDriver(peers);
  for (let round = 0; round < 20; round++) {
    const database = await driver.open();
    const connecting = assertDipcError("closed", "the connection was closed", () => database.connect());
    for (let turns = round; turns > 0; turns--) await Promise.resolve();
    await database.close();
    await connecting;
    driver.assertUnharmed();
  }
});

peerTest(
  ["adbc"],
  "a worker that ends in the middle of a call of its driver does not end the process",
  async ({ adbc }) => {
    const { code, signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${ROOT}/tests/adbc/support/ended_worker.ts`, adbc.sqlite],
      signal: AbortSignal.timeout(60_000),
    }).output();
    const text = new TextDecoder();
    assertEquals([code, signal, text.decode(stdout)], [0, null, "2 workers have ended\n"], text.decode(stderr));
  },
);
