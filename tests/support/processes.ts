/**
 * Starts `dipc` commands as processes of their own, the way a user does, and watches them.
 *
 * @module
 */
import { fromFileUrl, ROOT } from "./paths.ts";

/** The command's program. */
export const CLI = fromFileUrl(new URL("../../cli.ts", import.meta.url));

/** What a finished process left. */
export interface Outcome {
  /** Exit status; 128 + number after a signal. */
  code: number;
  /** The signal that ended it, if one did. */
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
  /** From start to end, in milliseconds. */
  milliseconds: number;
}

/** Options of {@linkcode startDipc}. */
export interface StartOptions {
  env?: Record<string, string>;
  /** Longest life; after it the process is killed, and `outcome` says so by its signal. Default 60,000. */
  timeoutMs?: number;
  /** Program to run instead of `cli.ts`. */
  program?: string;
  /** Options of Deno itself, such as `--v8-flags=--expose-gc`. */
  flags?: readonly string[];
  /** Words before the command, such as `["unshare", "--ipc"]`, which then run it. */
  within?: readonly string[];
  /** Standard input. Default none. */
  stdin?: "piped" | "null";
}

/** A running process. */
export class Running implements AsyncDisposable {
  readonly pid: number;
  /** Settles when the process has ended and all its output was read. */
  readonly outcome: Promise<Outcome>;
  /** Settles with the first line of standard output, or null if it ended without one. */
  readonly firstLine: Promise<string | null>;
  readonly #child: Deno.ChildProcess;
  readonly #lines: string[] = [];
  #waiting: ((line: string | null) => void) | null = null;
  readonly #hasStdin: boolean;
  #ended = false;

  constructor(child: Deno.ChildProcess, started: number, timeoutMs: number, hasStdin = false) {
    this.#child = child;
    this.#hasStdin = hasStdin;
    this.pid = child.pid;
    const stdout = readText(child.stdout, (line) => this.#onLine(line));
    const stderr = readText(child.stderr);
    this.firstLine = this.nextLine();
    const timer = setTimeout(() => this.kill("SIGKILL"), timeoutMs);
    this.outcome = (async () => {
      const status = await child.status;
      this.#ended = true;
      clearTimeout(timer);
      const milliseconds = performance.now() - started;
      return { code: status.code, signal: status.signal, stdout: await stdout, stderr: await stderr, milliseconds };
    })();
  }

  #onLine(line: string | null): void {
    if (this.#waiting === null) {
      if (line !== null) this.#lines.push(line);
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting(line);
  }

  /** The next line of standard output, or null once there are no more. One call at a time. */
  nextLine(): Promise<string | null> {
    const line = this.#lines.shift();
    if (line !== undefined || this.#ended) return Promise.resolve(line ?? null);
    return new Promise((resolve) => this.#waiting = resolve);
  }

  /** Writes a line to standard input and answers with the next line of standard output, as JSON. */
  async ask(question: string): Promise<unknown> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(question + "\n"));
    writer.releaseLock();
    const line = await this.nextLine();
    if (line === null) throw new Error(`the process ended instead of answering "${question}"`);
    return JSON.parse(line);
  }

  /** Writes bytes to standard input, which stays open. */
  async write(bytes: Uint8Array): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(bytes);
    writer.releaseLock();
  }

  /** Ends standard input. */
  async closeStdin(): Promise<void> {
    await this.#child.stdin.close();
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Sends a signal, unless it has ended already. */
  kill(signal: Deno.Signal = "SIGTERM"): void {
    try {
      if (!this.#ended) this.#child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Ends it and waits for that. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.outcome;
    if (this.#hasStdin) await this.#child.stdin.close().catch(() => {});
  }
}

async function readText(stream: ReadableStream<Uint8Array>, onLine?: (line: string | null) => void): Promise<string> {
  let text = "";
  let start = 0;
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf("\n", start); onLine && end >= 0; end = text.indexOf("\n", start)) {
      onLine(text.slice(start, end));
      start = end + 1;
    }
  }
  onLine?.(null);
  return text;
}

/** Starts a program of this repository with Deno, by default the `dipc` command. */
export function startDipc(args: readonly string[], options: StartOptions = {}): Running {
  const started = performance.now();
  const [program, ...rest] = [...(options.within ?? []), Deno.execPath()];
  const command = new Deno.Command(program, {
    args: [...rest, "run", "-A", "--quiet", ...(options.flags ?? []), options.program ?? CLI, ...args],
    env: { NO_COLOR: "1", ...options.env },
    stdin: options.stdin ?? "null",
    stdout: "piped",
    stderr: "piped",
  });
  return new Running(command.spawn(), started, options.timeoutMs ?? 60_000, options.stdin === "piped");
}

/**
 * Starts `dipc` with these flags of Deno and no others, so with no other permissions.
 *
 * @param flags Such as `"--allow-ffi"`; `"--no-prompt"` unless a page says otherwise
 * @param args Arguments of the command
 * @param cwd Working directory
 */
export function startWithFlags(flags: readonly string[], args: readonly string[], cwd: string): Running {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--config", `${ROOT}/deno.json`, ...flags, CLI, ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child, performance.now(), 60_000);
}

/** Runs `dipc` to its end. */
export async function dipc(args: readonly string[], options: StartOptions = {}): Promise<Outcome> {
  return await startDipc(args, options).outcome;
}

/** The first line of `dipc serve --json`. */
export interface ServeInfo {
  pid: number;
  address: string;
  port: number;
  datasets: { name: string; uris: string[] }[];
  /** Where Flight is served, if it is. */
  flight?: string;
}

/** A running `dipc serve`. */
export class ServeProcess implements AsyncDisposable {
  constructor(readonly running: Running, readonly info: ServeInfo) {}

  get pid(): number {
    return this.running.pid;
  }

  /** The URIs of a dataset. */
  uris(name: string): string[] {
    const dataset = this.info.datasets.find((each) => each.name === name);
    if (dataset === undefined) throw new Error(`the server has no dataset "${name}"`);
    return dataset.uris;
  }

  /** Its only URI. */
  uri(name: string): string {
    const uris = this.uris(name);
    if (uris.length !== 1) throw new Error(`dataset "${name}" has ${uris.length} URIs`);
    return uris[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.running[Symbol.asyncDispose]();
  }
}

/** Starts `dipc serve --json` and waits for its first line. */
export async function serve(args: readonly string[], options: StartOptions = {}): Promise<ServeProcess> {
  const running = startDipc(["serve", ...args, "--json"], { timeoutMs: 600_000, ...options });
  const line = await running.firstLine;
  if (line === null || !line.startsWith('{"pid"')) {
    running.kill("SIGKILL");
    const outcome = await running.outcome;
    throw new Error(`dipc serve did not start (exit status ${outcome.code}): ${line ?? ""}\n${outcome.stderr}`);
  }
  return new ServeProcess(running, JSON.parse(line));
}

/** Options of `dipc get` for the URIs of a dataset: the body URI has an option of its own. */
export function getArguments(uris: readonly string[]): string[] {
  return uris.length === 2 ? ["get", uris[0], "--body-uri", uris[1]] : ["get", uris[0]];
}
