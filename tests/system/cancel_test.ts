/**
 * Streams cancelled in every way, over real UCX: each reports it, and nothing is left of it on either side.
 *
 * @module
 */
import { assertEquals, assertLess } from "@std/assert";
import { until } from "../support/time.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { ServeProcess, startDipc } from "../support/processes.ts";
import { seed } from "../support/random.ts";
import { printTable } from "../support/table.ts";

interface Held {
  descriptors: number;
  blocksOut: number;
  workers: number;
  endpoints: number;
}

interface Report {
  results: Record<string, string[]>;
  before: Held;
  after: Held;
  released: Held;
}

const SERVER = `${ROOT}/tests/support/server_program.ts`;
const PROGRAM = `${ROOT}/tests/system/support/cancel_program.ts`;

/** What the reader says, if that is not "cancelled". */
const EXPECTED: Readonly<Record<string, string>> = { "throw in the loop": "mine", "dispose without a batch": "closed" };

for (const { label, need, env } of ucxVersions) {
  for (const [size, rows] of [["eager", 100], ["rendezvous", 100_000]] as const) {
    testNeeding([need], `a stream can be cancelled in every way, ${size} bodies, over UCX ${label}`, async () => {
      const settings = { datasets: { data: { batches: 100_000, rows } } };
      const running = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped", env });
      await using server = new ServeProcess(running, JSON.parse((await running.firstLine)!));
      const client = startDipc([JSON.stringify(server.uris("data")), String(seed)], {
        program: PROGRAM,
        flags: ["--v8-flags=--expose-gc"],
        env,
      });
      const { code, signal, stdout, stderr, milliseconds } = await client.outcome;
      assertEquals([code, signal], [0, null], stderr);
      const { results, before, after, released } = JSON.parse(stdout) as Report;
      printTable(
        `Streams cancelled, ${size} bodies, UCX ${label}, DIPC_SEED=${seed}, ${Math.round(milliseconds)} ms`,
        ["way", "what the reader says, five times"],
        Object.entries(results).map(([way, codes]) => [way, codes.join(" ")]),
      );
      type State = { server: { activeConnections: number }; pool: { blocksOut: number } };
      const state = await until(
        async () => await running.ask("stats") as State,
        ({ server }) => server.activeConnections === 0,
      );
      console.log(
        `client before ${JSON.stringify(before)}, after ${JSON.stringify(after)}, ` +
          `released ${JSON.stringify(released)}; server blocks out ${state.pool.blocksOut}`,
      );
      for (const [way, codes] of Object.entries(results)) {
        assertEquals(codes, Array(5).fill(EXPECTED[way] ?? "cancelled"), way);
      }
      assertEquals(after.blocksOut, 0);
      assertEquals(after.endpoints, 0);
      assertLess(after.descriptors, before.descriptors + 12);
      assertEquals(released.workers, 0);
      assertEquals(state.pool.blocksOut, 0);
    });
  }
}
