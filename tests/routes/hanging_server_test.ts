/**
 * `timeoutMs` is the longest wait for a server that stands still, whatever it was doing: for the connection, the answer and the
 * schema together, and for each message after it. A server is stopped at every step, by both routes; the error comes within the
 * time-out and half a second.
 *
 * UCX has a keepalive of its own, every 20 s, which the system of a stopped process still answers: taken for news of the stream, it
 * made time-outs longer than that, as the default of 30 s, endless. And each wait had its own time-out: 8.3 s were seen of 4.
 *
 * `DIPC_TIMEOUTS=1,5,25,40,600` tries these seconds, all at the same time, instead of the one that the tests try.
 */
import { assert, assertEquals } from "@std/assert";
import { connect, releaseTransports } from "../../mod.ts";
import { cString, libc } from "../../ffi/libc.ts";
import { DipcError } from "../../src/errors.ts";
import { tripsBytes } from "../support/cli_data.ts";
import { testNeeding, ucxVersions } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { startDipc } from "../support/processes.ts";
import { delay } from "../support/time.ts";
import { type Step, STEPS } from "./support/hanging_server.ts";

const [main] = ucxVersions;
const timeouts = (Deno.env.get("DIPC_TIMEOUTS") ?? "5").split(",").map(Number);
/** How late the error may be: half a second, and on a busy machine less than a second time-out. */
const LATE_MS = Deno.env.has("DIPC_TIMEOUTS") ? 500 : 4000;

const ROUTES = ["ucx", "flight"] as const;

interface Case {
  readonly route: typeof ROUTES[number];
  readonly step: Step | "before";
  readonly seconds: number;
}

/** What became of a wait. */
interface Outcome extends Case {
  /** From the last thing that arrived to the error. */
  readonly waitedMs: number;
  readonly code: string;
}

/** A server that will stop, and its URIs by route. */
async function startHanging(file: string, { step, seconds }: Case) {
  const server = startDipc([file, step], {
    program: `${ROOT}/tests/routes/support/hanging_server.ts`,
    timeoutMs: seconds * 1000 + 200_000,
  });
  const uris = JSON.parse((await server.firstLine)!) as Record<Case["route"], string>;
  if (step === "before") server.kill("SIGSTOP");
  return { server, uris };
}

async function hang({ route, step, seconds }: Case, uris: Record<Case["route"], string>): Promise<Outcome> {
  let newsMs = performance.now();
  try {
    await using reader = await connect(uris[route], {
      timeoutMs: seconds * 1000,
      ...(route === "flight" ? { route } : {}),
    });
    newsMs = performance.now();
    for await (using _batch of reader) newsMs = performance.now();
    return { route, step, seconds, waitedMs: performance.now() - newsMs, code: "arrived whole" };
  } catch (error) {
    const code = error instanceof DipcError ? error.code : String(error);
    return { route, step, seconds, waitedMs: performance.now() - newsMs, code };
  }
}

async function withFile(use: (file: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/x.arrow`;
    await Deno.writeFile(file, tripsBytes("file", 40));
    await use(file);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function check({ route, step, seconds, waitedMs, code }: Outcome): void {
  const what = `${route}, ${step}, ${seconds} s: ${code} after ${waitedMs} ms`;
  assertEquals(code, "timeout", what);
  assert(waitedMs < seconds * 1000 + LATE_MS, what);
}

testNeeding([main.need], "a server that stands still at any step costs one time-out, by each route", async () => {
  await withFile(async (file) => {
    const cases: Case[] = ROUTES.flatMap((route) =>
      timeouts.flatMap((seconds) => (["before", ...STEPS] as const).map((step) => ({ route, step, seconds })))
    ).filter(({ route, step }) => route === "flight" ? step !== "connection" : step !== "info");
    // No wait begins before all servers run: it is not their start that is measured.
    await using stack = new AsyncDisposableStack();
    const started: { it: Case; uris: Record<Case["route"], string> }[] = [];
    const waiting = [...cases];
    await Promise.all(Array.from({ length: 4 }, async () => {
      for (let it; (it = waiting.shift()) !== undefined;) {
        const { server, uris } = await startHanging(file, it);
        stack.use(server);
        started.push({ it, uris });
      }
    }));
    const outcomes = await Promise.all(started.map(async ({ it, uris }, index) => {
      await delay(index * 300);
      return await hang(it, uris);
    }));
    const place = (it: Case): number => cases.findIndex((each) => isSame(each, it));
    outcomes.sort((a, b) => place(a) - place(b));
    console.log("route   stopped at    time-out    error after");
    for (const { route, step, seconds, waitedMs, code } of outcomes) {
      const columns = [route.padEnd(8), step.padEnd(14), `${seconds} s`.padEnd(12), (waitedMs / 1000).toFixed(2)];
      console.log(`${columns.join("")} s ${code}`);
    }
    assertEquals(outcomes.length, cases.length);
    outcomes.forEach(check);
  });
});

testNeeding([main.need], "what UCX asks by itself does not extend the wait", async () => {
  await releaseTransports();
  libc().setenv(cString("UCX_KEEPALIVE_INTERVAL"), cString("1s"), 1);
  try {
    await withFile(async (file) => {
      const it: Case = { route: "ucx", step: "middle", seconds: 5 };
      const { server, uris } = await startHanging(file, it);
      await using _ = server;
      check(await hang(it, uris));
    });
  } finally {
    libc().unsetenv(cString("UCX_KEEPALIVE_INTERVAL"));
    await releaseTransports();
  }
});

function isSame(a: Case, b: Case): boolean {
  return a.route === b.route && a.step === b.step && a.seconds === b.seconds;
}
