/** DuckDB in web workers that end before the process does. */
import { assertEquals } from "@std/assert";
import { duckDbTest } from "../support/duckdb.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";

/*
 * What the worker had under way goes on: DuckDB's threads, and calls on other threads. Their code must stay loaded, and what they
 * write to must not be memory of JavaScript, which goes with the worker: the process died of each in one of five runs.
 */
duckDbTest(
  [],
  "DuckDB: a worker that ends in the middle of a query does not end the process",
  async ({ library }) => {
    for (let i = 0; i < 3; i++) {
      await using program = startDipc([library], { program: `${ROOT}/tests/duckdb/support/ended_worker.ts` });
      const { code, signal, stdout, stderr } = await program.outcome;
      assertEquals([code, signal, stdout], [0, null, "2 workers have ended\n"], stderr);
    }
  },
);
