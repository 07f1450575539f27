/** UCX in web workers that end before the process does. */
import { assertEquals } from "@std/assert";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { delay } from "../support/time.ts";

for (const { label, env, need } of ucxVersions) {
  /*
   * Deno unloads the libraries that an isolate has opened when the isolate ends, be it a worker's or, just before the process ends,
   * the program's own. But UCX has a thread, and when a peer goes, that thread calls the layer that opened the connection: libucp. If
   * that is unloaded, the process dies of it. At the end of a program that takes a server which dies in the same millisecond, about
   * once in thousand times; at the end of a worker it happens whenever its server ends.
   */
  testNeeding(
    [need],
    `UCX ${label}: the process outlives a server whose connections web workers had made that have ended`,
    async () => {
      const settings = JSON.stringify({ datasets: { made: { batches: 30, rows: 1 << 16 } } });
      await using server = startDipc([settings], {
        program: `${ROOT}/tests/support/server_program.ts`,
        stdin: "piped",
        env,
      });
      const [{ uris }] = JSON.parse(await server.firstLine ?? (await server.outcome).stderr).datasets;
      await using client = startDipc([uris[0]], {
        program: `${ROOT}/tests/wire/support/ended_worker.ts`,
        stdin: "piped",
        env,
      });
      assertEquals(await client.firstLine ?? (await client.outcome).stderr, "the workers have ended");
      server.kill("SIGKILL");
      await server.outcome;
      await delay(300); // UCX's thread has noticed
      await client.write(new TextEncoder().encode("\n"));
      const { code, signal, stderr } = await client.outcome;
      assertEquals([code, signal, stderr], [0, null, ""]);
    },
  );
}
