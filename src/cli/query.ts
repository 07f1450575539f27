/**
 * `dipc query`: SQL over a dataset, a file or a query of a database, executed here by DuckDB as the data arrives.
 *
 * @module
 */
import { type ParsedArgs, UsageError } from "./args.ts";
import { runFetch } from "./get.ts";

/** Runs `dipc query`. @returns exit status */
export function runQuery(args: ParsedArgs): Promise<number> {
  const positional = [...args.positional];
  const sql = positional.pop();
  if (sql === undefined || positional.length === 0) {
    throw new UsageError(
      "cannot run dipc query: it needs a URI or a file, and a query; write dipc query URI 'select … from t'",
    );
  }
  if (sql.trim() === "") {
    throw new UsageError("cannot run dipc query: the query is empty; write one that reads the table t");
  }
  return runFetch("query", { ...args, positional }, { sql });
}
