/**
 * Every Arrow type into DuckDB and back: equal for pyarrow, or in the table of `docs/duckdb.md`; and every type of DuckDB.
 *
 * @module
 */
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { type DuckDbDatabase, openDuckDb } from "../../duckdb.ts";
import { openPath } from "../../mod.ts";
import { ArrowStreamWriter } from "../../src/formats/arrow_stream_writer.ts";
import { pieceBytes } from "../../src/formats/sink.ts";
import type { IpcMessage, MessageHeader } from "../../src/ipc/message.ts";
import { duckDbTest } from "../support/duckdb.ts";
import { goldStreams } from "../support/gold_streams.ts";
import { needsGold } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { peers } from "../support/peers.ts";

async function python(script: string, ...args: string[]): Promise<string> {
  const command = new Deno.Command(peers.python!, { args: [`${ROOT}/tests/python/${script}`, ...args] });
  const { success, stdout, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Writes messages to a file, as an Arrow stream. */
async function write(path: string, schema: MessageHeader, next: () => Promise<IpcMessage | null>): Promise<void> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const writer = new ArrowStreamWriter(schema, {
    write: (pieces) => void parts.push(...pieces.map((piece) => pieceBytes(piece).slice())),
    finish: () => {},
    abort: () => {},
  });
  for (let message; (message = await next()) !== null;) await writer.write(message);
  await writer.finish();
  await Deno.writeFile(path, new Uint8Array(await new Blob(parts).arrayBuffer()));
}

/** Has DuckDB read a file, and writes what a query gives. @returns why not, if DuckDB does not read it */
async function thereAndBack(database: DuckDbDatabase, path: string, back: string): Promise<string | null> {
  await using connection = await database.connect();
  const dataset = await openPath(path);
  try {
    await using _ = await connection.registerStream("t", dataset);
    await using stream = await connection.query("from t");
    await write(back, stream.schemaHeader, () => stream.next());
    return null;
  } catch (error) {
    await Deno.remove(back).catch(() => {});
    return (error as Error).message;
  } finally {
    await dataset.close();
  }
}

/** A type without its parameters, as the document names it. */
function family(type: string): string {
  if (/^timestamp\[.*tz=/.test(type)) return "timestamp with a time zone";
  return /^[\w.]+/.exec(type)![0];
}

/** Rows of the table in the document: what becomes of a type. */
function documented(): Map<string, string> {
  const text = Deno.readTextFileSync(`${ROOT}/docs/duckdb.md`);
  const table = text.slice(text.indexOf("| Arrow ")).split("\n\n")[0];
  return new Map([...table.matchAll(/^\| `([^`|]+)` +\| ([^|]*)\|/gm)].map(([, type, becomes]) => [
    type,
    [...becomes.matchAll(/`([^`]+)`/g)].map(([, each]) => each).sort().join(", "),
  ]));
}

duckDbTest(
  ["python"],
  "DuckDB: every column of the gold files and every type comes back equal, or as documented",
  async ({ library, major }) => {
    using folder = new TemporaryFolder();
    await using database = await openDuckDb(undefined, { library });
    await python("make_all_types.py", folder.file("all.stream"));
    const streams = [...goldStreams().map(({ path }) => path), folder.file("all.stream")];
    const columns: [stream: string, name: string, type: string][] = JSON.parse(
      await python("duckdb_types.py", "split", folder.path, ...streams),
    );
    for (const i of columns.keys()) {
      await thereAndBack(database, folder.file(`${i}.arrows`), folder.file(`${i}.back.arrows`));
    }
    const results: (string | null)[] = JSON.parse(await python("duckdb_types.py", "compare", folder.path));
    assertEquals(results.length, columns.length);
    const found = new Map<string, Set<string>>();
    columns.forEach(([, , type], i) => {
      const result = results[i];
      const set = found.get(family(type)) ?? new Set();
      found.set(family(type), set);
      if (result !== "same") {
        set.add(result === null ? "refused" : result === "values differ" ? "changed" : family(result));
      }
    });
    const equal = [...found].filter(([, set]) => set.size === 0).map(([type]) => type);
    console.log(`${columns.length} columns; equal: ${equal.sort().join(", ")}`);
    assertGreater(equal.length, 15);
    const others = new Map(
      [...found].filter(([, set]) => set.size > 0).map(([type, set]) => [type, [...set].sort().join(", ")]),
    );
    const expected = documented();
    if (major === 2) {
      // As remarks in the document say.
      expected.delete("null");
      expected.set("timestamp with a time zone", "timestamp with a time zone");
    }
    assertEquals(new Map([...others].sort()), new Map([...expected].sort()));
  },
  [needsGold],
);

duckDbTest(
  ["python"],
  "DuckDB: test_all_types() goes out, in and out again without a change",
  async ({ library }) => {
    using folder = new TemporaryFolder();
    await using database = await openDuckDb(undefined, { library });
    await using connection = await database.connect();
    {
      // Its unions have no null members that Arrow could tell from others.
      await using stream = await connection.query("select * from test_all_types()");
      await write(folder.file("0.arrows"), stream.schemaHeader, () => stream.next());
    }
    // The table function gives values of every type at their borders.
    assertEquals(await thereAndBack(database, folder.file("0.arrows"), folder.file("0.back.arrows")), null);

    // The least hugeint has 39 digits, which DuckDB does not write of a decimal.
    const sql = "select md5(string_agg(t::varchar, '')) from (select * exclude (hugeint) from t) t";
    const sums: unknown[] = [];
    for (const file of ["0.arrows", "0.back.arrows"]) {
      const dataset = await openPath(folder.file(file));
      await using _ = await connection.registerStream("t", dataset);
      for await (using batch of await connection.query(sql)) sums.push(batch.getChildAt(0)!.get(0));
      await dataset.close();
    }
    assertEquals(sums[0], sums[1]);
  },
);

duckDbTest(
  [],
  "DuckDB: apache-arrow gives every value of test_all_types() but times that its numbers cannot hold",
  async ({ library }) => {
    await using database = await openDuckDb(undefined, { library });
    await using connection = await database.connect();
    const refused = new Set<string>();
    let columns = 0;
    for await (using batch of await connection.query("select * from test_all_types()")) {
      columns = batch.numCols;
      for (const { name, type } of batch.schema.fields) {
        const column = batch.getChild(name)!;
        column.toArray();
        try {
          JSON.stringify(column.toJSON(), (_, value) => typeof value === "bigint" ? String(value) : value);
        } catch (error) {
          assert(error instanceof TypeError && error.message.includes("not safe to convert"), `${name}: ${error}`);
          refused.add(`${type}`);
        }
      }
      // The numbers themselves are there.
      assertEquals(batch.getChild("timestamp")!.toArray()[1], 2n ** 63n - 2n);
    }
    assertGreater(columns, 50);
    assertEquals([...refused].filter((type) => !type.includes("Timestamp<")), []);
    for await (using last of await connection.query("select 'infinity'::timestamp as t")) {
      assertThrows(() => last.getChild("t")!.get(0), TypeError);
      assertEquals(last.getChild("t")!.toArray()[0], 2n ** 63n - 1n);
    }
  },
);
