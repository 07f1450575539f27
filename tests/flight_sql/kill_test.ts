/**
 * Clients that are killed at any moment: nothing of them stays open in the engine.
 *
 * `DIPC_SQL_KILLS` says how many there are.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ROOT } from "../support/paths.ts";
import { peerTest } from "../support/peers.ts";
import { seed, seededRandom } from "../support/random.ts";
import { delay, until } from "../support/time.ts";
import { rowsOf, sqlServer } from "./support/sql_server.ts";

const KILLS = Number(Deno.env.get("DIPC_SQL_KILLS") ?? 3);
/** Longest life of a client, in milliseconds. */
const LONGEST_MS = 800;

peerTest(
  ["duckdb"],
  "a client that is killed leaves nothing open in the engine, and no row of its transaction",
  async () => {
    const random = seededRandom();
    await using server = await sqlServer({ flight: { sqlLimits: { graceMs: 100 } } });
    await using client = await server.client();
    await client.update("create table t (i integer)");
    // That of the tables, and that of the question.
    const open = async (): Promise<unknown> => (await rowsOf(client, "from duckdb_connection_count()"))[0].count;
    assertEquals(await open(), 2, "before");
    const args = ["run", "-A", "--no-check", `${ROOT}/tests/flight_sql/support/leaving_client.ts`, server.location];
    for (let kill = 0; kill < KILLS; kill++) {
      const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "null" }).spawn();
      const output = child.stdout.getReader();
      await output.read();
      await delay(random.between(0, LONGEST_MS));
      child.kill("SIGKILL");
      await child.status;
      await output.cancel();
      const beganMs = performance.now();
      await until(open, (count) => count === 2);
      console.log(`seed ${seed}, kill ${kill}: nothing open after ${(performance.now() - beganMs).toFixed(0)} ms`);
      assertEquals(await rowsOf(client, "select count(*) as n from t"), [{ n: 0 }], `seed ${seed}, kill ${kill}`);
    }
  },
);
