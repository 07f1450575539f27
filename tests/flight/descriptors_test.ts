/**
 * File descriptors that have run out at the Flight port: the server goes on as soon as there are some again, says so in one line,
 * and keeps a few for those who come then. `node:net` never accepted again, even when all clients were gone.
 */
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { FlightClient, serveFlight } from "../../flight.ts";
import { assertDipcError } from "../support/assert.ts";
import { Authority } from "../support/certificates.ts";
import { ROOT } from "../support/paths.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { assertSoon, delay, until } from "../support/time.ts";

/** How often a server may say that it cannot accept connections, in milliseconds. */
const REPORT_MS = 10_000;

function startServer(descriptors: number, certificate: readonly string[] = []): Running {
  return startDipc([...certificate], {
    program: `${ROOT}/tests/flight/support/descriptors_program.ts`,
    within: ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh"],
  });
}

async function isServed(location: string, tls?: { ca: string }): Promise<boolean> {
  try {
    await using client = await FlightClient.connect(location, { timeoutMs: 2000, tls });
    for await (const _ of client.doAction("x"));
    return true;
  } catch {
    return false;
  }
}

/** Opens connections that never speak. */
async function silent(port: number, count: number): Promise<Deno.Conn[]> {
  const sockets: Deno.Conn[] = [];
  for (let i = 0; i < count; i++) sockets.push(await Deno.connect({ port }));
  return sockets;
}

for (const descriptors of [64, 256, 1024]) {
  Deno.test(`a server with ${descriptors} descriptors serves again once clients have left that used them up`, async (t) => {
    await using server = startServer(descriptors);
    const location = (await server.firstLine)!;
    const port = Number(new URL(location).port);
    await t.step("silent ones", async () => {
      const sockets = await silent(port, descriptors + 50);
      await delay(300);
      for (const socket of sockets) socket.close();
      const start = performance.now();
      await until(() => isServed(location));
      assertSoon("served again", start);
    });
    await t.step("honest ones", async () => {
      const clients: FlightClient[] = [];
      const codes = new Set<string>();
      await Promise.all(Array.from({ length: Math.min(descriptors + 20, 340) }, async () => {
        try {
          const client = await FlightClient.connect(location, { timeoutMs: 5000 });
          clients.push(client);
          for await (const _ of client.doAction("x"));
        } catch (error) {
          codes.add(String((error as { code?: string }).code));
        }
      }));
      await Promise.all(clients.map((client) => client.close()));
      console.log(`${descriptors} descriptors: those that were refused heard`, [...codes]);
      const start = performance.now();
      await until(() => isServed(location));
      assertSoon("served again", start);
    });
    server.kill("SIGTERM");
    const { stderr, milliseconds } = await server.outcome;
    // Each call that is refused is reported as well, and on a busy machine many are.
    const reports = stderr.split("\n").filter((line) => line.includes("cannot accept connections"));
    assertLess(reports.length, 2 + milliseconds / REPORT_MS, stderr.slice(0, 2000));
    if (descriptors === 64) assertStringIncludes(stderr, "ulimit -n");
  });
}

Deno.test("300 silent connections leave an honest client served", async () => {
  await using server = await serveFlight({ handlers: { actions: { x: { run: () => {} } } } });
  const sockets = await silent(server.port, 300);
  try {
    // A connection counts from its first call on.
    await using client = await FlightClient.connect(server.location);
    for await (const _ of client.doAction("x"));
  } finally {
    for (const socket of sockets) socket.close();
  }
});

Deno.test("a client for which a Flight server has no connection left hears that it is busy, in a status", async () => {
  await using server = await serveFlight({
    limits: { maxConnections: 2 },
    handlers: { actions: { x: { run: () => {} } } },
  });
  const clients = [await FlightClient.connect(server.location), await FlightClient.connect(server.location)];
  for (const client of clients) for await (const _ of client.doAction("x"));
  await using third = await FlightClient.connect(server.location);
  const error = await assertDipcError("busy", "all 2 of the server are in use", async () => {
    for await (const _ of third.doAction("x"));
  });
  // RESOURCE_EXHAUSTED, for clients that do not know dipc's codes.
  assertEquals(error.foreign?.status, 8);
  for (const client of clients) await client.close();
  await until(() => isServed(server.location));
});

Deno.test("a server with TLS that ran out of descriptors accepts connections again", async () => {
  const authority = await Authority.create();
  const folder = await Deno.makeTempDir();
  try {
    const { cert, key } = await authority.issue("server");
    await Deno.writeTextFile(`${folder}/cert`, cert);
    await Deno.writeTextFile(`${folder}/key`, key);
    await using server = startServer(96, [`${folder}/cert`, `${folder}/key`]);
    const location = (await server.firstLine)!;
    const port = Number(new URL(location).port);
    const tls = { ca: authority.cert };
    assert(await isServed(location, tls));
    const sockets = await silent(port, 150);
    await delay(300);
    for (const socket of sockets) socket.close();
    await until(() => isServed(location, tls));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
