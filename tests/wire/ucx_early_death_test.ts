/** UCX when a peer dies while a connection to it is made. */
import { assertEquals, assertMatch } from "@std/assert";
import { PEER_ADVICE } from "../../tools/peers.ts";
import { buildNative } from "../../tools/build_native.ts";
import { type Need, testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT, TemporaryFolder } from "../support/paths.ts";
import { peers } from "../support/peers.ts";
import { CLI, type Running, startDipc } from "../support/processes.ts";

const needsCompiler: Need = { what: "a C compiler", present: peers.compiler !== null, how: PEER_ADVICE.compiler };
/** Deaths of each kind, and most attempts: which of the two begins the connection for data is decided by their ports. */
const DEATHS = 3, ATTEMPTS = 60;
const SETTINGS = JSON.stringify({ datasets: { made: { batches: 3, rows: 1000 } } });

/** Starts a server; `uri` is that of its dataset. */
async function startServer(env: Record<string, string>): Promise<{ server: Running; uri: string }> {
  const server = startDipc([SETTINGS], { program: `${ROOT}/tests/support/server_program.ts`, stdin: "piped", env });
  return { server, uri: JSON.parse(await server.firstLine ?? (await server.outcome).stderr).datasets[0].uris[0] };
}

/** The environment of a process whose peer dies, and the file with the peer's process id. */
class Doom implements Disposable {
  readonly #folder = new TemporaryFolder();
  readonly #file = this.#folder.file("doomed");

  /** Memory that is freed is overwritten, so that a use of it shows. */
  environment(env: Record<string, string>): Record<string, string> {
    const library = buildNative("early_death.so", peers.compiler!, [`${ROOT}/native/early_death.c`], ["-ldl"]);
    return { ...env, LD_PRELOAD: library, DIPC_DOOMED: this.#file, MALLOC_PERTURB_: "165" };
  }

  set(pid: number): void {
    Deno.writeTextFileSync(this.#file, String(pid));
  }

  /** Whether the peer was killed. */
  get isDone(): boolean {
    try {
      Deno.statSync(this.#file);
      return false;
    } catch {
      return true;
    }
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

for (const { label, env, need } of ucxVersions) {
  /*
   * When a TCP connection of UCX is there and the first message on it cannot be sent, UCX connects again; if that fails, too, it frees
   * the endpoint if that cannot send yet. An endpoint became able to send only after the first message, and what owned it went on
   * using it: about one in thousand clients of servers that were killed died of it, and a server could in the same way.
   */
  testNeeding(
    [need, needsCompiler],
    `UCX ${label}: a client outlives a server that is killed while it connects`,
    async () => {
      let deaths = 0;
      for (let attempt = 0; deaths < DEATHS && attempt < ATTEMPTS; attempt++) {
        using doom = new Doom();
        const { server, uri } = await startServer(env);
        await using _ = server;
        doom.set(server.pid);
        await using client = startDipc(["get", uri], { program: CLI, env: doom.environment(env) });
        const { code, signal, stderr } = await client.outcome;
        assertEquals(signal, null, stderr);
        if (!doom.isDone) {
          assertEquals(code, 0, stderr);
          continue;
        }
        deaths++;
        assertMatch(stderr, /^error\[(unreachable|connection_lost)\]: cannot /m);
      }
      assertEquals(deaths, DEATHS);
    },
  );

  testNeeding(
    [need, needsCompiler],
    `UCX ${label}: a server outlives a client that is killed while it connects`,
    async () => {
      let deaths = 0;
      for (let attempt = 0; deaths < DEATHS && attempt < ATTEMPTS; attempt++) {
        using doom = new Doom();
        const { server, uri } = await startServer(doom.environment(env));
        await using _ = server;
        const client = startDipc(["get", uri], { program: CLI, env });
        await using __ = client;
        doom.set(client.pid);
        const { code, signal, stderr } = await client.outcome;
        if (signal !== "SIGKILL") {
          assertEquals([code, signal], [0, null], stderr);
          continue;
        }
        deaths++;
        await using next = startDipc(["get", uri], { program: CLI, env });
        const { code: nextCode, stderr: nextStderr } = await next.outcome;
        assertEquals(nextCode, 0, nextStderr);
        assertEquals(server.ended, false);
      }
      assertEquals(deaths, DEATHS);
    },
  );
}
