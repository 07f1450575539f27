/**
 * What comes to the port of a UCX listener and is not UCX: connections that never speak keep a file descriptor each, and bytes that
 * UCX does not understand can make it read a connection that is over forever, with all of a core, until the process ends. Both are
 * ended, and the clients of the server notice nothing.
 *
 * The bytes here are harmless: UCX waits for more after them. That it is taken what it reads forever is shown on sockets of ours.
 */
import { assert, assertEquals, assertLess } from "@std/assert";
import { connect, serve } from "../../mod.ts";
import type { UcxListener } from "../../src/wire/ucx/listener.ts";
import { PortGuard } from "../../src/wire/ucx/port_guard.ts";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import type { Transport } from "../../src/wire/transport.ts";
import { generated } from "../support/generated.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { descriptorCount } from "../support/proc.ts";
import { dipc, startDipc } from "../support/processes.ts";
import { delay, until } from "../support/time.ts";

const [main] = ucxVersions;
/** Looks after which a connection of a stranger is over, and after which its socket is taken. */
const LOOKS = 32;

async function rowsOf(uri: string): Promise<number> {
  let count = 0;
  for await (using batch of await connect(uri)) count += batch.numRows;
  return count;
}

for (const { label, need, env } of ucxVersions) {
  const isMain = need === main.need;
  testNeeding(
    [need],
    `300 connections that do not speak UCX ${label} leave honest clients served, and end`,
    async () => {
      await using server = startDipc([JSON.stringify({ datasets: { x: { batches: 10, rows: 1000 } } })], {
        program: `${ROOT}/tests/support/server_program.ts`,
        stdin: "piped",
        env,
      });
      const { pid, port, datasets: [{ uris: [uri] }] } = JSON.parse((await server.firstLine)!);
      const fetched = async (): Promise<number> =>
        JSON.parse((await dipc(["get", uri, "--json"], { env })).stdout).rows;
      assertEquals(await fetched(), 10_000);
      const before = descriptorCount(pid);
      const sockets = await Promise.all(Array.from({ length: 300 }, () => Deno.connect({ port })));
      for (const socket of sockets.slice(150)) await socket.write(new TextEncoder().encode("hello\n"));
      assertEquals(await fetched(), 10_000);
      // Their ends come from the server, after half a minute.
      await Promise.all(sockets.map(async (socket) => {
        while (isMain && await socket.read(new Uint8Array(100)).catch(() => null) !== null);
        socket.close();
      }));
      await until(() => descriptorCount(pid), (count) => count <= before + 20);
      assertEquals(await fetched(), 10_000);
      await until(async () => {
        const { server: stats } = await server.ask("stats") as { server: { completed: number; failed: number } };
        return stats.completed === 3 && stats.failed === 0;
      });
    },
  );
}

testNeeding(
  [main.need],
  "a stream that takes longer than a stranger has is left alone, whatever the address",
  async () => {
    const inner = generated(10, 100);
    const slow = {
      ...inner,
      async open() {
        const stream = await inner.open();
        return {
          async next() {
            await delay(800);
            return await stream.next();
          },
          close: () => stream.close(),
        };
      },
    };
    await Promise.all(["127.0.0.1", "0.0.0.0", "::1", "::"].map(async (address) => {
      await using server = await serve({ datasets: { x: slow }, address });
      const start = performance.now();
      assertEquals(await rowsOf(server.datasets[0].uris[0]), 1000, address);
      assertLess(7000, performance.now() - start);
      await until(() => server.stats.completed === 1);
      assertEquals(server.stats.failed, 0, address);
    }));
  },
);

Deno.test("a connection that nobody ends although it is over is taken from whoever reads it", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  let crowded = 0;
  const guard = new PortGuard(port, () => crowded++);
  try {
    const clients = await Promise.all(Array.from({ length: 20 }, () => Deno.connect({ port })));
    // They are accepted, and never read or closed.
    const accepted = await Promise.all(clients.map(() => listener.accept()));
    const known = clients[0].localAddr as Deno.NetAddr;
    guard.know(`${known.hostname} ${known.port}`);
    const before = descriptorCount("self");
    for (let look = 1; look < LOOKS; look++) guard.look();
    assertEquals([guard.isCrowded, crowded], [false, 0]);
    guard.look();
    assert(guard.isCrowded);
    assertEquals(crowded, 1);
    // The numbers stay in use, for the library may close them.
    assertEquals(descriptorCount("self"), before);
    await Promise.all(clients.slice(1).map(async (client) => assertEquals(await client.read(new Uint8Array(1)), null)));
    await accepted[0].write(Uint8Array.of(7));
    const byte = new Uint8Array(1);
    await clients[0].read(byte);
    assertEquals(byte[0], 7);
    guard.forget();
    assert(!guard.isCrowded);
    for (const socket of [...clients, ...accepted]) socket.close();
  } finally {
    guard.close();
    listener.close();
  }
});

testNeeding([main.need], "a listener that binds its port anew loses no stream and no client", async () => {
  let listener: UcxListener | undefined;
  const ucx = await ucxTransport();
  const transport: Transport = {
    connect: (...args) => ucx.connect(...args),
    listen: async (options) => listener = await ucx.listen(options) as UcxListener,
    close: () => ucx.close(),
  };
  await using server = await serve({ datasets: { x: generated(3000, 1000) }, transport });
  const [uri] = server.datasets[0].uris;
  for (let i = 0; i < 3; i++) {
    const reader = await connect(uri);
    await reader.next();
    listener!._renewNext();
    assertEquals(await rowsOf(uri), 3_000_000);
    let rows = 1000;
    for await (using batch of reader) rows += batch.numRows;
    assertEquals(rows, 3_000_000);
  }
  await until(() => server.stats.completed === 6);
  assertEquals(server.stats.failed, 0);
});
