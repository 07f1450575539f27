/**
 * Flight SQL servers by others as processes: arrow-go's with SQLite, ROAPI (DataFusion), and Sail (Spark's dialect).
 *
 * @module
 */
import type { Sail } from "../../../tools/peers.ts";
import { unusedPort } from "../../support/ports.ts";
import { Running } from "../../support/processes.ts";
import { delay } from "../../support/time.ts";

/** Longest life of a server, and longest time until it listens, in milliseconds. */
const LIFE_MS = 120_000, START_MS = 30_000;

/** A running server. */
export interface SqlServer extends AsyncDisposable {
  readonly location: string;
}

/** Sail prints the port that it has chosen, and serves until it is ended. */
const SAIL = `
import threading
from pysail.flight import FlightSqlServer
server = FlightSqlServer("127.0.0.1", 0)
server.start(background=True)
print(server.listening_address[1], flush=True)
threading.Event().wait()
`;

/** Starts arrow-go's server; it has the tables intTable and foreignTable. */
export async function startSqlite(path: string): Promise<SqlServer> {
  const running = start(path, ["-port", "0"]);
  return await listening(running, /:(\d+)/);
}

/** Starts Sail. @param workers Workers of its own cluster; without them it works in one process */
export async function startSail({ python, packages }: Sail, workers = 0): Promise<SqlServer> {
  const cluster = {
    SAIL_MODE: "local-cluster",
    SAIL_CLUSTER__WORKER_INITIAL_COUNT: String(workers),
    SAIL_CLUSTER__WORKER_MAX_COUNT: String(workers),
  };
  const env = { PYTHONPATH: packages, ...(workers === 0 ? {} : cluster) };
  return await listening(start(python, ["-c", SAIL], env), /^(\d+)$/);
}

/** Starts ROAPI with a file as its only table. */
export async function startRoapi(path: string, table: string, file: string): Promise<SqlServer> {
  // It cannot choose ports itself.
  const [flight, http, postgres] = [unusedPort(), unusedPort(), unusedPort()];
  const running = start(path, [
    ...["--addr-flight-sql", `127.0.0.1:${flight}`, "--addr-http", `127.0.0.1:${http}`],
    ...["--addr-postgres", `127.0.0.1:${postgres}`, "--table", `${table}=${file}`],
  ]);
  const until = performance.now() + START_MS;
  for (;;) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: flight }).catch(() => null);
    connection?.close();
    if (connection !== null) break;
    if (running.ended || performance.now() > until) {
      running.kill("SIGKILL");
      throw new Error(`ROAPI does not listen: ${(await running.outcome).stderr}`);
    }
    await delay(50);
  }
  return serverOf(running, flight);
}

function start(path: string, args: readonly string[], env: Record<string, string> = {}): Running {
  const child = new Deno.Command(path, {
    args: [...args],
    env: { RUST_LOG: "error", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child, performance.now(), LIFE_MS);
}

async function listening(running: Running, pattern: RegExp): Promise<SqlServer> {
  const line = await running.firstLine;
  const port = Number(pattern.exec(line ?? "")?.[1]);
  if (port > 0) return serverOf(running, port);
  running.kill("SIGKILL");
  throw new Error(`the server does not listen: ${line ?? (await running.outcome).stderr}`);
}

function serverOf(running: Running, port: number): SqlServer {
  return { location: `grpc://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}
