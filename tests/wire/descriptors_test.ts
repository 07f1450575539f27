/**
 * File descriptors that have run out at the UCX port, by clients that hold their streams and by connections that never speak: the
 * server goes on, says why it turned others away, and serves again as soon as they leave.
 */
import { assert, assertGreater, assertLess } from "@std/assert";
import { connect, type DissociatedStreamReader } from "../../mod.ts";
import { DipcError } from "../../src/errors.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { assertSoon, delay, until } from "../support/time.ts";

async function isServed(uri: string): Promise<boolean> {
  try {
    let rows = 0;
    for await (using batch of await connect(uri, { timeoutMs: 2000 })) rows += batch.numRows;
    return rows === 30_000;
  } catch (error) {
    if (error instanceof DipcError) return false;
    throw error;
  }
}

for (const descriptors of [128, 256, 1024]) {
  testNeeding(
    [needsUcx],
    `a UCX server with ${descriptors} descriptors serves again once clients have left`,
    async (t) => {
      const settings = { datasets: { x: { batches: 30, rows: 1000, resident: true } }, options: { windowBatches: 2 } };
      await using server = startDipc([JSON.stringify(settings)], {
        program: `${ROOT}/tests/support/server_program.ts`,
        stdin: "piped",
        within: ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh"],
      });
      const { port, datasets: [{ uris: [uri] }] } = JSON.parse((await server.firstLine)!);
      assert(await isServed(uri));
      await t.step("honest ones", async () => {
        const readers: DissociatedStreamReader[] = [];
        let refused = 0;
        // As many as there are descriptors for, and a few more; those that are there are held.
        while (refused < 3 && readers.length < 150) {
          try {
            const reader = await connect(uri, { timeoutMs: 3000 });
            await reader.next();
            readers.push(reader);
          } catch (error) {
            if (!(error instanceof DipcError)) throw error;
            refused++;
          }
        }
        console.log(`${descriptors} descriptors: ${readers.length} clients held, ${refused} turned away`);
        assertGreater(readers.length, 0);
        await Promise.all(readers.map((reader) => reader.cancel()));
        const start = performance.now();
        await until(() => isServed(uri));
        assertSoon("served again", start);
      });
      await t.step("silent ones", async () => {
        const sockets: Deno.Conn[] = [];
        for (let i = 0; i < descriptors + 50; i++) sockets.push(await Deno.connect({ port }));
        await delay(300);
        for (const socket of sockets) socket.close();
        const start = performance.now();
        await until(() => isServed(uri));
        assertSoon("served again", start);
      });
      server.kill("SIGTERM");
      const { stderr } = await server.outcome;
      assertLess(stderr.split("\n").length, 100);
    },
  );
}
