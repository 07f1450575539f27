/**
 * DuckDB as an engine: tables that are read in place, statements that are refused, and values of parameters.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  DateDay,
  Decimal,
  Field,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  type Table,
  tableFromArrays,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { type DuckDbEngine, duckDbEngine, type EngineParameters } from "../../flight_sql.ts";
import { DipcError } from "../../mod.ts";
import { BatchDecoder } from "../../src/ipc/decode.ts";
import { assertDipcError } from "../support/assert.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { duckDbTest } from "../support/duckdb.ts";
import { sampleFiles } from "../flight_sql/support/sql_server.ts";

/** The rows of a statement, as texts. */
async function run(engine: DuckDbEngine, sql: string, parameters: EngineParameters | null = null): Promise<string[]> {
  const connection = await engine.connect();
  try {
    const statement = await connection.prepare(sql, {});
    if (statement.schema === null) return [String(await statement.update(parameters, {}))];
    const rows = await statement.query(parameters, {});
    const decoder = new BatchDecoder(rows.schema);
    const found: string[] = [];
    for (let message; (message = await rows.next()) !== null;) {
      using batch = decoder.decode(message);
      for (const row of batch ?? []) found.push([...row].map(([, value]) => String(value)).join(","));
    }
    await rows.close();
    await statement.close();
    return found;
  } finally {
    await connection.close();
  }
}

function oneRow(columns: Table): EngineParameters {
  return { batch: columns.batches[0], row: 0 };
}

duckDbTest(
  [],
  "DuckDB reads Parquet files itself, and Arrow files and tables in place, as often as needed",
  async ({ library }) => {
    using folder = new TemporaryFolder();
    const { parquet, arrow } = await sampleFiles(folder);
    const memory = tableFromArrays({ city: ["city 1", "city 2"] });
    const tables = { trips: parquet, flights: arrow, wanted: memory };
    await using engine = await duckDbEngine({ library, tables });
    for (const table of ["trips", "flights"]) {
      assertEquals(await run(engine, `select count(*), sum(n) from ${table}`), ["30000,449985000"]);
    }
    // Twice in one query, and on two connections at a time.
    const join =
      "select count(*) from flights a join flights b on a.n = b.n join trips c on c.n = a.n join wanted w on w.city = a.city";
    assertEquals(await Promise.all([run(engine, join), run(engine, join)]), [["8572"], ["8572"]]);
    assertEquals(
      await engine.catalog.tables(),
      ["flights", "trips", "wanted"].map((table) => (
        { catalog: "datasets", schema: "main", table, type: "TABLE" }
      )),
    );
    const schema = await engine.catalog.schemaOf({ catalog: "datasets", schema: "main", table: "flights" });
    assertEquals(new BatchDecoder(schema).schema.fields.map(({ name }) => name), ["n", "city"]);
  },
);

/** Statements that no client may execute, and why not. */
const REFUSED: readonly [sql: string, code: string, text: string][] = [
  ["from '/etc/hostname'", "not_found", "/etc/hostname"],
  ["from read_text('/etc/hostname')", "permission_denied", "disabled by configuration"],
  ["from read_csv('/etc/hostname')", "permission_denied", "disabled by configuration"],
  ["from glob('/etc/*')", "permission_denied", "disabled by configuration"],
  ["from read_text('/proc/self/environ')", "permission_denied", "disabled by configuration"],
  ["from read_parquet('http://127.0.0.1:9/x.parquet')", "permission_denied", "disabled by configuration"],
  ["copy (select 1) to '/tmp/dipc-refused.csv'", "permission_denied", "disabled by configuration"],
  ["install httpfs", "permission_denied", "concerns the server itself"],
  ["load httpfs", "permission_denied", "concerns the server itself"],
  ["attach ':memory:' as other", "permission_denied", "concerns the server itself"],
  ["set threads = 1", "permission_denied", "concerns the server itself"],
  ["set global memory_limit = '1TB'", "permission_denied", "concerns the server itself"],
  ["pragma enable_profiling", "permission_denied", "concerns the server itself"],
  ["begin", "permission_denied", "their own calls"],
  ["from enable_logging()", "permission_denied", "enable_logging"],
  ['from "enable_logging"()', "permission_denied", "enable_logging"],
  ["from enable_logging\u200b()", "permission_denied", "enable_logging"],
  ["select e'\\'' from enable_logging () -- '", "permission_denied", "enable_logging"],
  ["select $$'$$ from enable_logging/* /* ' */ */()", "permission_denied", "enable_logging"],
  ["from enable_profiling()", "permission_denied", "enable_profiling"],
  ["from enable_peg_parser()", "permission_denied", "enable_peg_parser"],
  ["from /* x */ query /* y */ ('select 1')", "permission_denied", "query"],
  ["select 1; select 2", "invalid_argument", "2 statements"],
  ["from register_external_resource('a', 'b')", "permission_denied", "register_external_resource"],
  ["create table t (i int)", "permission_denied", "read-only"],
  ["create temp table t (i int)", "permission_denied", "read-only"],
  ["drop view trips", "permission_denied", "read-only"],
  ["explain analyze select 1", "permission_denied", "ANALYZE"],
  ["selec 1", "invalid_argument", "syntax error"],
];

duckDbTest([], "clients reach the tables and nothing else: files, networks, settings, logs", async ({ library }) => {
  using folder = new TemporaryFolder();
  const { parquet } = await sampleFiles(folder);
  await using engine = await duckDbEngine({ library, tables: { trips: parquet } });
  for (const [sql, code, text] of REFUSED) {
    const error = await assertRejects(() => run(engine, sql), DipcError, undefined, sql);
    assertEquals([error.code, error.message.includes(text)], [code, true], `${sql}: ${error.message}`);
    // What a client may see names no file of the server.
    assert(!error.message.includes(folder.path), error.message);
  }
  // What looks like them is executed.
  for (const sql of ["select 'enable_logging'", "select 1 as query", "select '/* ' || '--'", "show tables"]) {
    await run(engine, sql);
  }
  // Within a query nothing is changed, either: DuckDB 2.0 takes statements that write as parts of one.
  for (const sql of ["insert into trips select * from trips", "delete from trips", "update trips set n = 1"]) {
    await assertRejects(() => run(engine, `with x as (${sql} returning *) from x`), DipcError, undefined, sql);
  }
  assertEquals(await run(engine, "select count(*) from trips"), ["30000"]);
});

duckDbTest(
  [],
  "with a folder clients write tables, which are there after a restart; datasets are not stored",
  async ({ library, major }) => {
    using folder = new TemporaryFolder();
    const { parquet } = await sampleFiles(folder);
    const options = { library, tables: { trips: parquet }, write: folder.path };
    {
      await using engine = await duckDbEngine(options);
      // DuckDB 2.0 counts its rows.
      const made = await run(engine, "create table t as select city, count(*) as n from trips group by city");
      assertEquals(made, [major === 1 ? "0" : "7"]);
      assertEquals(await run(engine, "insert into t values ('x', 1), ('y', 2)"), ["2"]);
      assertEquals(await run(engine, "delete from t where n > 2 returning city").then((rows) => rows.length), 7);
      assertEquals(
        await run(
          engine,
          "merge into t using (select 'x' as city) s on t.city = s.city when matched then update set n = 7",
        ),
        ["1"],
      );
      await assertRejects(() => run(engine, "attach '/tmp/dipc-refused.db'"), DipcError, "concerns the server itself");
      for (const sql of ["drop view trips", "create or replace view datasets.main.trips as select 1"]) {
        await assertRejects(() => run(engine, sql), DipcError, undefined, sql);
      }
      assertEquals(await run(engine, "select count(*) from trips"), ["30000"]);
    }
    await using engine = await duckDbEngine({ ...options, tables: {} });
    assertEquals(await run(engine, "from t order by city"), ["x,7", "y,2"]);
    await assertRejects(() => run(engine, "from trips"), DipcError, "does not exist");
  },
);

duckDbTest(
  [],
  "clients can neither read nor write where DuckDB spills what other clients query",
  async ({ library }) => {
    using folder = new TemporaryFolder();
    const spilled = `${folder.path}/spilled`;
    await using engine = await duckDbEngine({
      library,
      tables: {},
      write: folder.path,
      memoryLimit: "100MB",
      threads: 2,
    });
    const connection = await engine.connect();
    const secret = "select 'secret ' || range || repeat('x', 50) from range(3000000) order by hash(range)";
    const rows = await (await connection.prepare(secret, {})).query(null, {});
    (await rows.next())?.body?.release();
    assert([...Deno.readDirSync(spilled)].length > 0);
    const write = `explain analyze copy (select 1) to '${spilled}/written.csv'`;
    for (
      const sql of [
        ...[
          "glob",
          "read_blob",
          "read_text",
          "read_csv",
          "sniff_csv",
          "read_json_auto",
          "parquet_schema",
          "parquet_scan",
        ]
          .flatMap((name) => [`from ${name}('${spilled}/*')`, `from "${name}" /* */ ('${spilled}/*')`]),
        write,
      ]
    ) {
      const error = await assertRejects(() => run(engine, sql), DipcError, undefined, sql);
      assertEquals(error.code, "permission_denied", `${sql}: ${error.message}`);
    }
    assertEquals([...Deno.readDirSync(spilled)].filter(({ name }) => name === "written.csv"), []);
    // What looks like them is executed.
    assertEquals(await run(engine, "select count(*) from range(3) t(read_text) where read_text::varchar glob '*'"), [
      "3",
    ]);
    await run(engine, "explain analyze select 1");
    await rows.close();
    await connection.close();
  },
);

duckDbTest([], "parameters keep the values of every type, and others are refused", async ({ library }) => {
  await using engine = await duckDbEngine({ library, tables: {} });
  const column = (type: Field["type"], values: readonly unknown[]): EngineParameters => {
    const schema = new Schema([new Field("p", type, true)]);
    const child = vectorFromArray([...values], type).data[0];
    const data = makeData({ type: new Struct(schema.fields), length: 1, nullCount: 0, children: [child] });
    return { batch: new RecordBatch(schema, data), row: 0 };
  };
  const cases: readonly [sql: string, parameters: EngineParameters, found: string][] = [
    [
      "select typeof(?), $1::varchar",
      oneRow(tableFromArrays({ p: BigInt64Array.of(-(2n ** 63n)) })),
      `BIGINT,${-(2n ** 63n)}`,
    ],
    ["select $1::varchar", oneRow(tableFromArrays({ p: BigUint64Array.of(2n ** 64n - 1n) })), String(2n ** 64n - 1n)],
    ["select $1::varchar", oneRow(tableFromArrays({ p: Float64Array.of(0.1) })), "0.1"],
    ["select $1::varchar", oneRow(tableFromArrays({ p: Float32Array.of(0.1) })), "0.1"],
    ["select $1 || '!'", column(new Utf8(), ["å\n'\""]), "å\n'\"!"],
    ["select $1 is null", column(new Utf8(), [null]), "true"],
    ["select $1::varchar", column(new DateDay(), [new Date("2024-02-29")]), "2024-02-29"],
    ["select $1::varchar", column(new TimestampMicrosecond(), [1_700_000_000_123]), "2023-11-14 22:13:20.123"],
    ["select $1::varchar", column(new Decimal(2, 10), [Uint32Array.of(12345, 0, 0, 0)]), "123.45"],
  ];
  for (const [sql, parameters, found] of cases) assertEquals(await run(engine, sql, parameters), [found], sql);
  const int = oneRow(tableFromArrays({ p: Int32Array.of(1) }));
  await assertDipcError("invalid_argument", "the statement has 0, 1 are given", () => run(engine, "select 1", int));
  await assertDipcError("invalid_argument", "the statement has 1, 0 are given", () => run(engine, "select ?"));
  const list = oneRow(tableFromArrays({ p: [[1, 2]] }));
  await assertDipcError("invalid_argument", "cannot bind parameter 1", () => run(engine, "select ?", list));
  const text = column(new Utf8(), ["no number"]);
  await assertDipcError("invalid_data", "Could not convert", () => run(engine, "select ?::int", text));
  const connection = await engine.connect();
  const statement = await connection.prepare("select range from range(3) where range > ? and $2 = 'x'", {});
  const schema = new BatchDecoder(statement.parameterSchema).schema;
  assertEquals(schema.fields.map(({ name, type }) => `${name}: ${type}`), ["1: Int64", "2: Utf8"]);
  assertEquals(statement.schema === null, false);
  await connection.close();
});

duckDbTest([], "a statement ends when it is cancelled, and its connection with it", async ({ library }) => {
  await using engine = await duckDbEngine({ library, tables: {}, threads: 1 });
  const connection = await engine.connect();
  const statement = await connection.prepare("select count(*) from range(100000000000) a", {});
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  await assertDipcError("cancelled", "", () => statement.query(null, { signal: abort.signal }));
  await connection.close();
  assertEquals(await run(engine, "select 1"), ["1"]);
});

duckDbTest([], "options and files that cannot be used are named", async ({ library }) => {
  using folder = new TemporaryFolder();
  await assertDipcError(
    "not_found",
    "missing.parquet",
    () => duckDbEngine({ library, tables: { t: `${folder.path}/missing.parquet` } }),
  );
  await assertDipcError(
    "invalid_argument",
    "it is not a folder",
    () => duckDbEngine({ library, tables: {}, write: "/dev/null" }),
  );
  await assertDipcError(
    "invalid_argument",
    "memory_limit",
    () => duckDbEngine({ library, tables: {}, memoryLimit: "much" }),
  );
  // deno-lint-ignore no-explicit-any
  await assertDipcError("invalid_argument", "table", () => duckDbEngine({ library, tables: {}, table: 1 } as any));
});
