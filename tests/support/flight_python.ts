/**
 * pyarrow's Flight server and client as processes: `tests/python/flight_server.py` and `flight_client.py`.
 *
 * @module
 */
import { Running } from "./processes.ts";
import { needsPython, python, runPython } from "./python.ts";
import { ROOT } from "./paths.ts";

/** Longest life of a server, in milliseconds. */
const TIMEOUT_MS = 120_000;

/** What the server holds and asks for; see `flight_server.py`. */
export interface PythonServerOptions {
  files?: Record<string, string>;
  generated?: Record<string, { batches: number; bytes: number; numbered?: boolean }>;
  locations?: Record<string, readonly string[]>;
  app_metadata?: boolean;
  basic?: { user: string; password: string; token: string };
  bearer?: string;
  tls?: { cert: string; key: string; client_ca?: string };
}

/** What the server counts; its action `state` tells. */
export interface PythonServerState {
  /** Generated batches that were handed to gRPC. */
  yielded: number;
  /** Generated streams that ended, in whatever way. */
  ended: number;
  /** Generated streams that ended as the client had cancelled. */
  cancelled: number;
  /** Messages that came in by DoExchange. */
  exchanged: number;
  /** Calls of DoGet. */
  gets: number;
}

/** A running Flight server of pyarrow. */
export class PythonServer implements AsyncDisposable {
  readonly running: Running;
  readonly port: number;
  /** URI to connect to. */
  readonly location: string;

  constructor(running: Running, port: number, scheme: string) {
    this.running = running;
    this.port = port;
    this.location = `${scheme}://127.0.0.1:${port}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.running[Symbol.asyncDispose]();
  }
}

/** Starts pyarrow's server and waits until it listens. */
export async function startPythonServer(options: PythonServerOptions = {}): Promise<PythonServer> {
  if (python === null) throw new Error(`${needsPython.what} is missing; ${needsPython.how}`);
  const child = new Deno.Command(python, {
    args: [`${ROOT}/tests/python/flight_server.py`, JSON.stringify(options)],
    env: { PYTHONDONTWRITEBYTECODE: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const running = new Running(child, performance.now(), TIMEOUT_MS, true);
  const line = await running.firstLine;
  if (line === null) throw new Error(`flight_server.py did not start:\n${(await running.outcome).stderr}`);
  return new PythonServer(running, JSON.parse(line).port, options.tls ? "grpc+tls" : "grpc");
}

/** A step of the client: the name of a method of `flight_client.py` and its arguments. */
export type PythonStep = readonly [name: string, ...args: unknown[]];

/** What a step came to. */
export interface PythonResult {
  // deno-lint-ignore no-explicit-any
  value?: any;
  /** Class of the exception. */
  error?: string;
  message?: string;
}

/** How the client connects. */
export interface PythonClientOptions {
  location: string;
  steps: readonly PythonStep[];
  /** Authority to trust, PEM. */
  ca?: string;
  /** Its own certificate and key, PEM. */
  cert?: string;
  key?: string;
  bearer?: string;
  /** Keep cookies. */
  cookies?: boolean;
  /** Seconds for each call. Default 30. */
  timeout?: number;
}

/** Runs pyarrow's client through some steps, in a process of its own. */
export async function pythonClient(options: PythonClientOptions): Promise<PythonResult[]> {
  return await runPython("flight_client.py", [], options) as PythonResult[];
}
