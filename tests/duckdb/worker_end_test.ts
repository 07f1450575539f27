/** DuckDB in web workers that end before the process does. */
import { assertEquals } from "@std/assert";
import { peerTest } from "../support/peers.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";

peerTest(
  ["duckdb"],
  "DuckDB: a worker that ends in the middle of a query does not end the process",
  async ({ duckdb }) => {
    await using program = startDipc([duckdb], { program: `${ROOT}/tests/duckdb/support/ended_worker.ts` });
    const { code, signal, stdout, stderr } = await program.outcome;
    assertEquals([code, signal, stdout], [0, null, "2 workers have ended\n"], stderr);
  },
);
