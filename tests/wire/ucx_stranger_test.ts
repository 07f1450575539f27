/**
 * A client that knows the protocol and UCX, and nothing of dipc: `native/ucx_client.c`. UCX lets two sides connect only if
 * both have the same error mode. A server that names one shuts out every client with the other, and a client that names none,
 * as most do, has mode NONE: 0 of 60 connected to a server that named PEER. So the server must leave the mode to the client.
 */
import { assertEquals } from "@std/assert";
import { splitStream } from "../support/arrow_messages.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { type Running, startDipc } from "../support/processes.ts";
import { seededRandom } from "../support/random.ts";
import { assertSoon, delay } from "../support/time.ts";
import { compileCClient, needsCClient, startCClient } from "./support/c_client.ts";

const SERVER = `${ROOT}/tests/wire/support/event_server.ts`;
const BATCHES = 100;
/** More than a server sends ahead of a client that takes nothing. */
const MANY_BATCHES = 700;
/** Of each mode with one and with two connections: 100 in all. */
const RUNS = 25;
const KILLS = 16;
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
  { label, env }: { label: string; env: Record<string, string> },
  batches: number,
  use: (fixture: Fixture, stream: Uint8Array) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/trips.arrows`;
    const stream = tripsBytes("stream", batches);
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

async function getsWhole(fixture: Fixture, stream: Uint8Array): Promise<void> {
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
}

async function noticesKilledClients(fixture: Fixture): Promise<void> {
  const random = seededRandom();
  const { server, uris } = await startServer(fixture, false);
  await using _ = server;
  for (let i = 0; i < KILLS; i++) {
    const mode = MODES[i % 2];
    const bodies = 1 + random.below(BATCHES / 2);
    await using client = startCClient({ ...fixture, mode, uris, env: { PAUSE_AFTER: String(bodies) } });
    assertEquals(await client.firstLine, "paused");
    client.kill("SIGKILL");
    const killed = performance.now();
    const line = JSON.parse((await server.nextLine())!);
    assertSoon(`a client with mode ${mode} that was killed after ${bodies} bodies is noticed`, killed);
    assertEquals([line.end, line.code], ["error", "connection_lost"], line.message);
    // Nobody else is harmed.
    assertEquals((await startCClient({ ...fixture, mode, uris }).outcome).code, 0, mode);
    assertEquals(JSON.parse((await server.nextLine())!).end, "end", mode);
  }
}

async function noticesKilledServer(fixture: Fixture): Promise<void> {
  // UCX 1.13 ends a program that lost its peer in mode NONE; later ones report an error to it.
  for (const mode of fixture.label === "1.13.1" ? ["peer"] as const : MODES) {
    const { server, uris } = await startServer(fixture, false);
    await using _ = server;
    await using client = startCClient({ ...fixture, mode, uris, env: { SLOW_US: "50000" } });
    await delay(1_000);
    server.kill("SIGKILL");
    const killed = performance.now();
    assertEquals((await client.outcome).code, 3, mode);
    assertSoon(`a client with mode ${mode} notices that its server was killed`, killed);
  }
}

for (const { label, need, env } of ucxVersions) {
  const needs = [need, ...needsCClient(label)];
  const test = (name: string, batches: number, run: Parameters<typeof withFixture>[2]): void =>
    testNeeding(needs, `UCX ${label}: ${name}`, () => withFixture({ label, env }, batches, run));

  test("a client that names no error mode and one that names PEER get whole streams", BATCHES, getsWhole);
  test("a client that is killed at any moment is noticed in either mode", MANY_BATCHES, noticesKilledClients);
  test("a client notices that its server was killed", BATCHES, noticesKilledServer);
}
