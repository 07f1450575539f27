/**
 * The Flight integration testers as processes: ours, and Arrow's in Go.
 *
 * @module
 */
import { peers } from "../../support/peers.ts";
import { ROOT } from "../../support/paths.ts";
import { type Outcome, Running } from "../../support/processes.ts";

/** Longest life of a server, and of a client, in milliseconds. */
const SERVER_MS = 120_000, CLIENT_MS = 30_000;

/** Whose program it is. */
export type Tester = "dipc" | "arrow-go";

function command(tester: Tester, role: "client" | "server"): [path: string, args: string[]] {
  if (tester === "dipc") {
    return [Deno.execPath(), ["run", "-A", "-q", "--no-check", `${ROOT}/tools/flight_integration.ts`, role]];
  }
  return [peers.flightGo![role], []];
}

function start(tester: Tester, role: "client" | "server", args: readonly string[]): Running {
  const [path, first] = command(tester, role);
  const child = new Deno.Command(path, {
    args: [...first, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child, performance.now(), role === "server" ? SERVER_MS : CLIENT_MS);
}

/** A server of a scenario, and where it listens. */
export interface TesterServer extends AsyncDisposable {
  readonly port: number;
}

/** Starts a server and waits until it listens. */
export async function startTester(tester: Tester, scenario: string): Promise<TesterServer> {
  const running = start(tester, "server", ["-port", "0", "-scenario", scenario]);
  const line = await running.firstLine;
  const port = Number(/:(\d+)$/.exec(line ?? "")?.[1]);
  if (!(port > 0)) {
    running.kill("SIGKILL");
    throw new Error(`${tester} server, scenario "${scenario}": ${line ?? (await running.outcome).stderr}`);
  }
  return { port, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** Runs a client through a scenario. */
export async function runTester(tester: Tester, scenario: string, port: number, path = ""): Promise<Outcome> {
  const args = ["-host", "127.0.0.1", "-port", String(port), "-scenario", scenario];
  return await start(tester, "client", path === "" ? args : [...args, "-path", path]).outcome;
}
