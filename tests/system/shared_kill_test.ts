/**
 * Clients and servers of shared memory that are killed at random moments: nobody crashes, reads wrong values, or keeps anything.
 *
 * `DIPC_KILLS=100` kills as many of each; default 6.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { connect } from "../../mod.ts";
import { rowsOf } from "../support/generated.ts";
import { needsUcx, testNeeding } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { unusedPort } from "../support/ports.ts";
import { descriptors } from "../support/proc.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { seededRandom } from "../support/random.ts";
import { delay, until } from "../support/time.ts";

const KILLS = Number(Deno.env.get("DIPC_KILLS") ?? 6);
/** Clients that run concurrently. */
const AT_ONCE = 3;
/** A client is killed within this time after it has begun to read, in milliseconds. */
const LIFE_MS = 400;
const BATCHES = 50;
const PROGRAM = `${ROOT}/tests/system/support/shared_client_program.ts`;
const SERVER = `${ROOT}/tests/support/server_program.ts`;
const DATASETS = { batches: BATCHES, rows: rowsOf(1 << 16), share: true };

interface State {
  sharing: { clients: number; leasedBytes: number; arenaBytes: number };
  server: { activeConnections: number };
  open: string[];
}

/** A server in a process of its own. */
async function startServer(port?: number): Promise<{ server: Running; uris: string[] }> {
  const settings = {
    datasets: { made: DATASETS, held: { ...DATASETS, resident: true } },
    options: { port, sharing: { arenaBytes: 4 << 20, remoteKeys: true } },
  };
  const server = startDipc([JSON.stringify(settings)], { program: SERVER, stdin: "piped", timeoutMs: 900_000 });
  const info = JSON.parse(await server.firstLine ?? (await server.outcome).stderr);
  const uris = info.datasets.flatMap(({ uris }: { uris: string[] }) => uris) as string[];
  // Without the name of the socket memory is read by a remote key.
  return { server, uris: [...uris, uris[0].replace(/&share=[^&]*/, "")] };
}

async function fetchWhole(uri: string): Promise<void> {
  await using reader = await connect(uri, { remoteKeys: true });
  let batches = 0;
  for await (using _ of reader) batches++;
  assertEquals(batches, BATCHES);
}

/** Descriptors of a process that concern shared memory. */
const shared = (open: readonly string[]): string[] => open.filter((name) => /dipc-shared|pagemap/.test(name));

testNeeding(
  [needsUcx],
  `a server takes everything back from ${KILLS} clients that are killed at random moments`,
  async () => {
    const random = seededRandom();
    const { server, uris } = await startServer();
    await using _ = server;
    for (const uri of uris) await fetchWhole(uri);
    const ask = async (): Promise<State> => await server.ask("stats") as State;
    const idle = (): Promise<State> =>
      until(
        ask,
        ({ sharing: { clients, arenaBytes }, server }) => clients + arenaBytes + server.activeConnections === 0,
      );
    const before = await idle();
    for (let killed = 0; killed < KILLS; killed += AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, KILLS - killed) }, async (_, i) => {
        await using client = startDipc([String(random.uint32()), ...uris], { program: PROGRAM });
        assertEquals(await client.firstLine, "reading");
        await delay(random.below(LIFE_MS));
        assert(!client.ended, `client ${killed + i}: ${client.ended && (await client.outcome).stderr}`);
        client.kill("SIGKILL");
        assertEquals((await client.outcome).stderr, "");
      }));
      assert(!server.ended);
    }
    const { sharing, open } = await idle();
    assertEquals(sharing, { clients: 0, leasedBytes: 0, arenaBytes: 0 });
    assertEquals(shared(open), shared(before.open));
    for (const uri of uris) await fetchWhole(uri);
  },
);

testNeeding(
  [needsUcx],
  `clients of ${KILLS} servers that are killed end with an error, and the next server serves`,
  async () => {
    const random = seededRandom(1);
    const before = shared(descriptors("self"));
    const port = unusedPort(); // each server listens at the port of the last
    for (let killed = 0; killed < KILLS; killed++) {
      const started = await startServer(port);
      await using server = started.server;
      const client = startDipc([String(random.uint32()), ...started.uris], { program: PROGRAM });
      await using _ = client;
      assertEquals(await client.firstLine, "reading");
      const own = fetchWhole(started.uris[0]).catch(() => {});
      await delay(random.below(LIFE_MS));
      server.kill("SIGKILL");
      await server.outcome;
      const { code, signal, stderr } = await client.outcome;
      assertEquals([code, signal, stderr], [0, null, ""], `server ${killed}`);
      await own;
    }
    await until(() => shared(descriptors("self")), (now) => now.length <= before.length);
  },
);
