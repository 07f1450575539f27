/**
 * UCX 1.22 and UCX 1.13 between two processes: by default they cannot talk to each other, and the error says so; with
 * plain TCP settings on both sides they can.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { needsUcx, needsUcx113, testNeeding, ucx, ucx113 } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { dipc, getArguments, ServeProcess, startDipc } from "../support/processes.ts";

const SERVER = `${ROOT}/tests/support/server_program.ts`;
const PLAIN_TCP = { UCX_CM_USE_ALL_DEVICES: "n", UCX_RNDV_THRESH: "inf", UCX_TLS: "tcp" };

async function startServer(env: Record<string, string>): Promise<ServeProcess> {
  const settings = { datasets: { data: { batches: 5, rows: 100_000 } } };
  const running = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped", env });
  return new ServeProcess(running, JSON.parse((await running.firstLine)!));
}

for (const olderServes of [true, false]) {
  const [server, client] = olderServes ? ["1.13", "1.22"] : ["1.22", "1.13"];
  const serverEnv = olderServes ? ucx113?.env ?? {} : {}, clientEnv = olderServes ? {} : ucx113?.env ?? {};

  testNeeding(
    [needsUcx, needsUcx113],
    `a UCX ${client} client of a UCX ${server} server learns why it fails`,
    async () => {
      await using running = await startServer(serverEnv);
      const refused = await dipc([...getArguments(running.uris("data")), "--json", "--timeout", "5s"], {
        env: clientEnv,
      });
      assertEquals(refused.code, 1, refused.stdout);
      const { error } = JSON.parse(refused.stdout);
      assertEquals(error.code, "unreachable");
      assertStringIncludes(error.message, "versions of UCX");
      assertStringIncludes(error.message, olderServes ? ucx!.label : ucx113!.label);
      const next = await dipc([...getArguments(running.uris("data")), "--json"], { env: serverEnv });
      assertEquals(next.code, 0, next.stderr);
    },
  );

  testNeeding([needsUcx, needsUcx113], `a UCX ${client} client of a UCX ${server} server, both plain TCP`, async () => {
    await using running = await startServer({ ...serverEnv, ...PLAIN_TCP });
    const outcome = await dipc([...getArguments(running.uris("data")), "--json"], {
      env: { ...clientEnv, ...PLAIN_TCP },
    });
    assertEquals(outcome.code, 0, outcome.stderr);
    const { rows, batches, complete } = JSON.parse(outcome.stdout);
    assertEquals([rows, batches, complete], [500_000, 5, true]);
  });
}
