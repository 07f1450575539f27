/**
 * What becomes of every Arrow type and of Arrow's gold files that go from dipc to a library or a database and come back: pyarrow
 * judges, and `docs/adbc.md` has the table.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { openDatabase } from "../../adbc.ts";
import { ADBC_STATUS } from "../../ffi/adbc.ts";
import { DipcError } from "../../src/errors.ts";
import { cppHop, type Hop, nanoarrowHop, throughDatabase, throughLibrary } from "../support/arrow_hops.ts";
import { settled } from "../support/c_data.ts";
import { arrowCppLibrary, guardLibrary } from "../support/c_peers.ts";
import { goldStreams } from "../support/gold_streams.ts";
import { needsGold } from "../support/needs.ts";
import { TemporaryFolder } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { startPostgres } from "../support/postgres.ts";
import { compareByPyarrow, runPython } from "../support/python.ts";
import { documentedRows, printTable } from "../support/table.ts";

/** What `answers.py` says about a column. */
interface Column {
  readonly want: string;
  readonly got: string;
  readonly values: "same" | "text" | "other";
}

/** An Arrow stream, and what each library and database answered. */
interface Row {
  readonly name: string;
  readonly path: string;
  readonly answers: string[];
}

const HEADING = ["Arrow type or file", "Arrow C++", "nanoarrow", "SQLite", "PostgreSQL", "DuckDB"];
const NEEDS = ["compiler", "nanoarrow", "arrowCpp", "python", "adbc", "postgres", "duckdb"] as const;

/** Names of types that say enough, as pyarrow writes them otherwise. */
function shortType(type: string): string {
  return type.replace(/extension<arrow\.opaque\[.*type_name=(\w+),.*>/, "opaque $1").replace(/extension<(.+)>/, "$1")
    .replace("month_day_nano_interval", "interval").replace(/ not null/g, "");
}

/** What a database did to the columns of one file. */
function answerOf(columns: readonly Column[]): string {
  const isKept = ({ want, got, values }: Column): boolean => want === got && values === "same";
  if (columns.every(isKept)) return "equal";
  if (columns.length === 1) {
    const [{ got, values }] = columns;
    return `${shortType(got)}${values === "other" ? ", other values" : ""}`;
  }
  const kept = columns.filter(({ want, got }) => want === got).length;
  const changed = columns.filter(({ values }) => values === "other").length;
  const types = `${kept} of ${columns.length} types`;
  return `${changed === 0 ? "equal values" : `other values in ${changed} columns`}, ${types}`;
}

/** One row for each type, and for each gold file. */
async function makeRows(folder: TemporaryFolder): Promise<Row[]> {
  const types = await runPython("make_all_types.py", [folder.file("all.arrows"), folder.path]) as Record<
    string,
    string
  >;
  const seen = new Set<string>();
  const rows: Row[] = [];
  for (const [name, type] of Object.entries(types)) {
    const isLayout = seen.has(type); // of a type that has a row
    seen.add(type);
    if (!isLayout) rows.push({ name: shortType(type), path: folder.file(`${name}.arrows`), answers: [] });
  }
  for (const { name, path } of goldStreams()) rows.push({ name: name.replace(/\.stream$/, ""), path, answers: [] });
  return rows;
}

async function askLibrary(rows: readonly Row[], folder: TemporaryFolder, hop: Hop): Promise<void> {
  const pairs = rows.map(({ name, path }, i) => ({ name, want: path, got: folder.file(`library-${i}.arrows`) }));
  const moved: number[] = [];
  for (const { want, got } of pairs) moved.push(await throughLibrary(want, got, hop));
  const compared = await compareByPyarrow(pairs);
  compared.forEach(({ equal, reason }, i) => {
    const place = moved[i] === 0 ? "in place" : `${moved[i]} buffers were copied`;
    rows[i].answers.push(`${equal ? "equal" : reason}, ${place}`);
  });
}

/** A database that is asked. */
interface Asked {
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly entrypoint?: string;
  /** Run on each connection first. */
  readonly settings?: string;
  /** Whether it may give the rows of a table in any order, as PostgreSQL does. */
  readonly anyOrder: boolean;
}

async function askDatabase(rows: readonly Row[], folder: TemporaryFolder, asked: Asked): Promise<string[]> {
  const { driver, options, entrypoint, settings, anyOrder } = asked;
  await using database = await openDatabase(driver, options, { entrypoint });
  await using first = await database.connect();
  await using second = await database.connect();
  if (settings !== undefined) { for (const connection of [first, second]) await connection.execute(settings); }
  const file = (name: string, i: number): string => folder.file(`${name}-${i}.arrows`);
  const answered: number[] = [];
  const errors: string[] = [];
  for (const [i, { name, path, answers }] of rows.entries()) {
    try {
      await throughDatabase([first, second], path, [file("table", i), file("copy", i)]);
      answered.push(i);
    } catch (error) {
      if (!(error instanceof DipcError)) throw error;
      const { code, foreign } = error;
      answers.push(`error ${foreign?.system === "adbc" ? ADBC_STATUS[foreign.status] : code}`);
      errors.push(`${name}: ${error.message}`);
    }
  }
  const compare = async (want: (i: number) => string, got: (i: number) => string): Promise<Column[][]> =>
    await runPython("answers.py", [], answered.map((i) => ({ want: want(i), got: got(i), anyOrder }))) as Column[][];
  const tables = await compare((i) => rows[i].path, (i) => file("table", i));
  const copies = await compare((i) => file("table", i), (i) => file("copy", i));
  answered.forEach((i, k) => {
    const copy = answerOf(copies[k]);
    rows[i].answers.push(answerOf(tables[k]) + (copy === "equal" ? "" : `; its copy: ${copy}`));
  });
  return errors;
}

peerTest(NEEDS, "what comes back of every type and gold file is what docs/adbc.md says", async (peers) => {
  using folder = new TemporaryFolder();
  await using server = await startPostgres(peers.postgres);
  const rows = await makeRows(folder);
  for (const hop of [cppHop(arrowCppLibrary(peers)), nanoarrowHop(guardLibrary(peers))]) {
    await askLibrary(rows, folder, hop);
  }
  await settled();
  const databases: Asked[] = [
    {
      driver: peers.adbc.sqlite,
      options: { uri: folder.file("sqlite.db") },
      settings: "pragma synchronous = off", // nobody needs the file after a crash
      anyOrder: false,
    },
    { driver: peers.adbc.postgresql, options: { uri: server.uri }, anyOrder: true },
    { driver: peers.duckdb, options: {}, entrypoint: "duckdb_adbc_init", anyOrder: false },
  ];
  for (const asked of databases) console.log((await askDatabase(rows, folder, asked)).join("\n"));
  const found = rows.map(({ name, answers }) => [name, ...answers]);
  printTable("From dipc, and back", HEADING, found);
  assertEquals(await documentedRows("docs/adbc.md", HEADING), found);
  await settled();
}, [needsGold]);
