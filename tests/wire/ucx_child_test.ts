/**
 * UCX opens its sockets without close-on-exec. A child process that inherits them holds the listening port after its parent's
 * end, so that a restarted server cannot listen and clients wait in vain, and it holds the connections, so that no client
 * notices that the server is gone.
 */
import { assertEquals, assertGreater } from "@std/assert";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { descriptors } from "../support/proc.ts";
import { startDipc } from "../support/processes.ts";
import { assertDipcError } from "../support/assert.ts";
import { assertSoon, until } from "../support/time.ts";

const PROGRAM = `${ROOT}/tests/wire/support/parent_program.ts`;

for (const { label, need, env } of ucxVersions) {
  testNeeding([need], `UCX ${label}: a child of a server or a client inherits none of its sockets`, async () => {
    await using program = startDipc([], { program: PROGRAM, env, stdin: "piped" });
    const { uri, children } = JSON.parse((await program.firstLine)!) as { uri: string; children: number[] };
    assertEquals(children.length, 3);
    for (const pid of children) {
      // A pipe is what the tests themselves were started with; a program that starts has its libraries open for a moment.
      const others = () => descriptors(pid).filter((target) => !/^(?:\/dev\/null|pipe:)/.test(target));
      await until(others, (inherited) => inherited.length === 0);
    }
    assertGreater(descriptors(program.pid).filter((target) => target.startsWith("socket:")).length, 1);
    program.kill("SIGKILL");
    await program.outcome;
    const { ucxTransport } = await import("../../src/wire/ucx/transport.ts");
    const transport = await ucxTransport();
    const port = Number(new URL(uri.replace("ucx:", "http:")).port);
    const start = performance.now();
    await assertDipcError(
      "unreachable",
      "cannot connect to 127.0.0.1",
      () => transport.connect({ host: "127.0.0.1", port }, null, { timeoutMs: 30_000 }),
    );
    assertSoon("refused", start);
    for (const pid of children) Deno.kill(pid, "SIGKILL");
    await transport.close();
  });
}
