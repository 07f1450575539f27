/**
 * A client that knows the protocol and UCX, and nothing of dipc: `native/ucx_client.c`. UCX lets two sides connect only if
 * both have the same error mode. A server that names one shuts out every client with the other, and a client that names none,
 * as most do, has mode NONE: 0 of 60 connected to a server that named PEER. So the server must leave the mode to the client.
 */
import { assertEquals, assertLess } from "@std/assert";
import { splitStream } from "../support/arrow_messages.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { delay } from "../support/time.ts";
import { compileCClient, needsCClient, startCClient } from "./support/c_client.ts";

const SERVER = `${ROOT}/tests/wire/support/event_server.ts`;
const BATCHES = 200;
/** Of each mode with one and with two connections: 100 in all. */
const RUNS = 25;
/** A dead peer is noticed within this time. */
const NOTICED_MS = 2_000;
const MODES = ["none", "peer"] as const;

interface Fixture {
  program: string;
  label: string;
  file: string;
  env: Record<string, string>;
}

/** What the client must report of a stream, with FNV-1a over all bodies in order. */
function expected(stream: Uint8Array): { batches: number; bytes: number; sum: string } {
  const [, ...messages] = splitStream(stream);
  let sum = 14695981039346656037n, bytes = 0;
  for (const { body } of messages) {
    bytes += body.byteLength;
    for (const byte of body) sum = BigInt.asUintN(64, (sum ^ BigInt(byte)) * 1099511628211n);
  }
  return { batches: messages.length, bytes, sum: sum.toString(16).padStart(16, "0") };
}

async function withFixture(
  label: string,
  env: Record<string, string>,
  use: (fixture: Fixture, stream: Uint8Array) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/trips.arrows`;
    const stream = tripsBytes("stream", BATCHES);
    await Deno.writeFile(file, stream);
    await use({ program: await compileCClient(label, folder), label, file, env }, stream);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function startServer({ file, env }: Fixture, apart: boolean): Promise<{ server: Running; uris: string[] }> {
  const args = [file, ...(apart ? ["apart"] : [])];
  const server = startDipc(args, { program: SERVER, env, timeoutMs: 120_000 });
  return { server, uris: JSON.parse((await server.firstLine)!) };
}

for (const { label, need, env } of ucxVersions) {
  const needs = [need, ...needsCClient(label)];

  testNeeding(
    needs,
    `UCX ${label}: a client that names no error mode and one that names PEER get whole streams`,
    () =>
      withFixture(label, env, async (fixture, stream) => {
        const whole = expected(stream);
        for (const apart of [false, true]) {
          const { server, uris } = await startServer(fixture, apart);
          await using _ = server;
          for (const mode of MODES) {
            for (let i = 0; i < RUNS; i++) {
              const { code, stdout } = await startCClient({ ...fixture, mode, uris }).outcome;
              assertEquals([code, JSON.parse(stdout)], [0, whole], `${mode}, ${uris.length} connections, run ${i}`);
            }
          }
        }
      }),
  );

  testNeeding(
    needs,
    `UCX ${label}: a killed client is noticed in either mode, and harms nobody`,
    () =>
      withFixture(label, env, async (fixture) => {
        const { server, uris } = await startServer(fixture, false);
        await using _ = server;
        for (const mode of MODES) {
          await using client = startCClient({ ...fixture, mode, uris, env: { PAUSE_AFTER: "3" } });
          assertEquals(await client.firstLine, "paused");
          client.kill("SIGKILL");
          const killed = performance.now();
          const line = JSON.parse((await server.nextLine())!);
          assertLess(performance.now() - killed, NOTICED_MS, mode);
          assertEquals([line.end, line.code], ["error", "connection_lost"], line.message);
          assertEquals((await startCClient({ ...fixture, mode, uris }).outcome).code, 0, mode);
          assertEquals(JSON.parse((await server.nextLine())!).end, "end", mode);
        }
      }),
  );

  testNeeding(
    needs,
    `UCX ${label}: a client in either mode notices that its server was killed`,
    () =>
      withFixture(label, env, async (fixture) => {
        for (const mode of MODES) {
          const { server, uris } = await startServer(fixture, false);
          await using _ = server;
          await using client = startCClient({ ...fixture, mode, uris, env: { SLOW_US: "50000" } });
          await delay(1_000);
          server.kill("SIGKILL");
          const killed = performance.now();
          assertEquals((await client.outcome).code, 3, mode);
          assertLess(performance.now() - killed, NOTICED_MS, mode);
        }
      }),
  );
}
