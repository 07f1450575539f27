/** UCX in programs that end while a connection waits for the next stream. */
import { assertEquals, assertGreater } from "@std/assert";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";

for (const { label, env, need } of ucxVersions) {
  /*
   * At the end of a process UCX frees its table of what its thread calls, and the thread goes on. When a server dies then, and the
   * memory has been used again meanwhile, the thread calls something else and the process dies of it.
   */
  testNeeding(
    [need],
    `UCX ${label}: no connection outlives the end of the program, by Deno.exit or without`,
    async () => {
      const settings = JSON.stringify({ datasets: { made: { batches: 3, rows: 1000 } } });
      await using server = startDipc([settings], {
        program: `${ROOT}/tests/support/server_program.ts`,
        stdin: "piped",
        env,
      });
      const [{ uris }] = JSON.parse(await server.firstLine ?? (await server.outcome).stderr).datasets;
      for (const how of ["return", "exit"]) {
        await using client = startDipc([uris[0], how], { program: `${ROOT}/tests/wire/support/ended_program.ts`, env });
        const { code, signal, stdout, stderr } = await client.outcome;
        assertEquals([code, signal, stderr], [0, null, ""], how);
        const { waiting, left } = JSON.parse(stdout);
        assertGreater(waiting, 0, how);
        assertEquals(left, 0, how);
      }
    },
  );
}
