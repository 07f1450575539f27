/**
 * TPC-H: data by tpchgen-cli, queries by the package of Sail, answers by DuckDB.
 *
 * @module
 */
import type { Need } from "./needs.ts";
import { needsPython, programOf, runPython } from "./python.ts";

const tpchgen = programOf("tpchgen-cli");

/** What makes the data. */
export const needsTpch: Need = { what: "tpchgen-cli", present: tpchgen !== null, how: needsPython.how };

/** Tables of the data, and their Parquet files. */
export type TpchTables = Readonly<Record<string, string>>;

/** Makes the tables. @param scale Such as 0.1, which is 600,000 rows of lineitem */
export async function makeTpch(folder: string, scale: number): Promise<TpchTables> {
  const args = ["parquet", "-s", String(scale), "--output-dir", folder];
  const { success, stderr } = await new Deno.Command(tpchgen!, { args, stdout: "null" }).output();
  if (!success) throw new Error(`tpchgen-cli: ${new TextDecoder().decode(stderr)}`);
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".parquet"));
  return Object.fromEntries(files.map((name) => [name.replace(".parquet", ""), `${folder}/${name}`]));
}

/**
 * The 22 queries, each one statement.
 *
 * @param packages Folder of the package pysail
 */
export function tpchQueries(packages: string): [name: string, sql: string][] {
  return Array.from({ length: 22 }, (_, index) => {
    const name = `q${index + 1}`;
    const text = Deno.readTextFileSync(`${packages}/pysail/data/tpch/queries/${name}.sql`);
    // One makes a view and drops it.
    const statement = text.replace(/create view (\S+ \(.*?\)) as([^;]*);([^;]*);[^]*/, "with $1 as ($2)$3");
    return [name, statement.replace(/;\s*$/, "")];
  });
}

/** What the comparison found for one query: the rows of DuckDB's answer, and `"equal"` or a difference for each way. */
export interface TpchCompared {
  readonly rows: number;
  readonly ways: Readonly<Record<string, string>>;
}

/**
 * Compares answers with DuckDB's own.
 *
 * @param queries By name: the statement, and the Arrow stream of each way's answer
 */
export async function compareTpch(
  tables: TpchTables,
  queries: Readonly<Record<string, { sql: string; answers: Readonly<Record<string, string>> }>>,
): Promise<Record<string, TpchCompared>> {
  return await runPython("tpch_answers.py", [], { tables, queries }) as Record<string, TpchCompared>;
}
