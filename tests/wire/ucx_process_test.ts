/** UCX in processes of their own: kills, what is printed, idle costs, garbage and too few descriptors. */
import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { ucxTransport } from "../../src/wire/ucx/transport.ts";
import { delay } from "../support/time.ts";
import { assertDipcError } from "../support/assert.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { processorSeconds } from "../support/proc.ts";
import { Running, startDipc } from "../support/processes.ts";
import { seededRandom } from "../support/random.ts";
import { Bench, LONG_MS, withoutLeaks } from "../support/ucx_pair.ts";
import { receiveForEver, sendForEver } from "./support/ucx_program.ts";

const PROGRAM = `${ROOT}/tests/wire/support/ucx_program.ts`;
/** Far below, around and far above the switch to rendezvous. */
const KILL_SIZES = [0, 512, 65_536, 300_000, 4 << 20];
const KILLS = 15;
const [main] = ucxVersions;

if (main.need.present) {
  await using bench = await Bench.open();
  const [client] = await bench.pair();
  await client.close();
}

function start(args: string[], env: Record<string, string> = {}): Running {
  const stdin = args[0] === "idle" ? "piped" : "null";
  return startDipc(args, { program: PROGRAM, stdin, env, timeoutMs: 60_000 });
}

testNeeding([main.need], "a sender killed at any moment fails its receiver soon, and nothing is left", async () => {
  const random = seededRandom();
  await withoutLeaks(async () => {
    const transport = await ucxTransport();
    for (let i = 0; i < KILLS; i++) {
      const size = KILL_SIZES[i % KILL_SIZES.length];
      const running = start(["sender", String(size)]);
      const address = { host: "127.0.0.1", port: Number(await running.firstLine) };
      const channel = await transport.connect(address, null, { timeoutMs: LONG_MS });
      const after = random.below(30);
      let killed = 0;
      await assertDipcError("connection_lost", "", () =>
        receiveForEver(channel, size, (count) => {
          if (count < after || killed !== 0) return;
          killed = performance.now();
          running.kill("SIGKILL");
        }));
      assertGreater(killed, 0, "the connection was lost before the kill");
      assertLess(performance.now() - killed, 10_000);
      await running.outcome;
    }
    await transport.close();
  });
});

testNeeding([main.need], "a receiver killed at any moment harms neither its sender nor the next receiver", async () => {
  const random = seededRandom(1);
  await withoutLeaks(async () => {
    const transport = await ucxTransport();
    let size = 0;
    const ends: Promise<unknown>[] = [];
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      onChannel: (channel) => ends.push(assertDipcError("connection_lost", "", () => sendForEver(channel, size))),
    });
    for (let i = 0; i < KILLS; i++) {
      size = KILL_SIZES[i % KILL_SIZES.length];
      const running = start(["receiver", String(listener.address.port), String(size)]);
      assertEquals(await running.firstLine, "connected");
      await delay(random.fraction() * 50); // to any moment
      running.kill("SIGKILL");
      await running.outcome;
      assertEquals(ends.length, i + 1);
      await ends[i];
    }
    await listener.close();
    await transport.close();
  });
});

for (const { label, need, env } of ucxVersions) {
  testNeeding([need], `nothing of UCX ${label} is written to standard output`, async () => {
    for (const level of ["info", "warn"]) {
      await using running = start(["whole"], { ...env, UCX_LOG_LEVEL: level, UCX_NO_SUCH_SETTING: "1" });
      const { code, stdout, stderr } = await running.outcome;
      assertEquals([code, stdout], [0, "done\n"], stderr);
      if (level === "info") assertStringIncludes(stderr, "UCX");
    }
  });

  testNeeding([need], `waiting connections of UCX ${label} use no processor time, and hold no process`, async () => {
    await using running = start(["idle", "8"], env);
    assertEquals(await running.firstLine, "waiting");
    await delay(500); // what comes after the connections
    const before = processorSeconds(running.pid);
    await delay(2000); // the time that is measured
    assertLess(processorSeconds(running.pid) - before, 0.1);
    await running.write(new TextEncoder().encode("\n"));
    await running.closeStdin();
    const { code, stderr } = await running.outcome;
    assertEquals(code, 0, stderr);
  });
}

testNeeding([main.need], "bytes that are not UCX at the listener's port harm nobody", async () => {
  const random = seededRandom(2);
  await withoutLeaks(async () => {
    await using bench = await Bench.open();
    const address = { hostname: "127.0.0.1", port: bench.listener.address.port };
    for (let i = 0; i < 40; i++) {
      const connection = await Deno.connect(address);
      const bytes = Uint8Array.from({ length: random.below(600) }, () => random.below(256));
      try {
        await connection.write(i % 4 === 0 ? new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n") : bytes);
        if (i % 2 === 0) await delay(5); // time for an answer
      } catch {
        // UCX hung up first
      }
      connection.close();
    }
    const [client] = await bench.pair();
    assert(client.failure === null, String(client.failure));
    await client.close();
  });
});

testNeeding([main.need], "a listener that runs out of file descriptors turns clients away and lives on", async () => {
  const child = new Deno.Command("bash", {
    args: ["-c", 'ulimit -n 120; exec "$@"', "bash", Deno.execPath(), "run", "-A", "--no-check", PROGRAM, "listener"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await using running = new Running(child, performance.now(), 60_000);
  const address = { host: "127.0.0.1", port: Number(await running.firstLine) };
  const transport = await ucxTransport();
  const connect = () => transport.connect(address, null, { timeoutMs: LONG_MS });
  for (let round = 0; round < 3; round++) {
    const results = await Promise.allSettled(Array.from({ length: 24 }, connect));
    const channels = results.flatMap((result) => result.status === "fulfilled" ? [result.value] : []);
    const codes = new Set(results.flatMap((result) => result.status === "rejected" ? [result.reason.code] : []));
    assert(channels.length > 0 && !running.ended, `${channels.length} connections, ${[...codes]}`);
    assertEquals([...codes], ["unreachable"]);
    for (const channel of channels) await channel.close();
    // The other side notices a moment later.
    await delay(300);
  }
  await transport.close();
  running.kill();
  const { stderr } = await running.outcome;
  assertStringIncludes(stderr, "io: cannot make a connection: it needs about");
  assertStringIncludes(stderr, "ulimit -n");
});
