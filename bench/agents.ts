/**
 * The processes that a benchmark runs: ours and the peers'. Each answers JSON lines on its standard input with JSON
 * lines on its standard output and takes its own times.
 *
 * @module
 */

/** What an agent answers; the fields depend on the command. */
export type Answer = Record<string, unknown>;

/** How to start an agent. */
export interface AgentOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  /** The core that it is pinned to; not pinned where absent. */
  readonly core?: number;
}

/** One child process that takes commands. */
export class Agent {
  readonly name: string;
  /** What it said about itself when it was ready. */
  hello: Answer = {};
  #child: Deno.ChildProcess;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #lines: AsyncIterator<string>;
  #stderr: Promise<string>;
  #isOver = false;

  private constructor(options: AgentOptions) {
    this.name = options.name;
    const pinned = options.core !== undefined;
    this.#child = new Deno.Command(pinned ? "taskset" : options.command, {
      args: pinned ? ["-c", `${options.core}`, options.command, ...options.args] : [...options.args],
      env: options.env,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout)[Symbol.asyncIterator]();
    this.#stderr = tail(this.#child.stderr);
  }

  /** Starts the process and waits until it says that it is ready. */
  static async start(options: AgentOptions): Promise<Agent> {
    const agent = new Agent(options);
    try {
      agent.hello = await agent.#answer(60_000);
    } catch (error) {
      await agent.stop();
      throw error;
    }
    return agent;
  }

  /** Process id, for profilers. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Gives a command and waits for its answer.
   *
   * @throws {Error} if the agent reports an error, ends, or takes longer than `timeoutMs`
   */
  async call(command: Answer, timeoutMs = 120_000): Promise<Answer> {
    try {
      await this.#writer.write(new TextEncoder().encode(JSON.stringify(command) + "\n"));
    } catch (cause) {
      throw new Error(`${this.name} has ended: ${(await this.#stderr).trim() || "it said nothing"}`, { cause });
    }
    return await this.#answer(timeoutMs);
  }

  async #answer(timeoutMs: number): Promise<Answer> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`${this.name} did not answer within ${timeoutMs / 1000} s`)),
        timeoutMs,
      );
    });
    try {
      while (true) {
        const { value, done } = await Promise.race([this.#lines.next(), late]);
        if (done) throw new Error(`${this.name} ended early: ${(await this.#stderr).trim() || "it said nothing"}`);
        // Libraries may print lines of their own; answers start with a brace.
        if (!value.startsWith("{")) continue;
        const answer = JSON.parse(value) as Answer;
        if (answer.error !== undefined) throw new Error(`${this.name}: ${answer.error}`);
        return answer;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process: closes its input, then kills it if that is not enough. */
  async stop(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    await this.#writer.close().catch(() => {});
    const timer = setTimeout(() => {
      try {
        this.#child.kill("SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }, 2_000);
    await this.#lines.return?.();
    await this.#stderr;
    await this.#child.status;
    clearTimeout(timer);
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

/** The last 4,000 characters of a stream. */
async function tail(stream: ReadableStream<Uint8Array>): Promise<string> {
  let kept = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) kept = (kept + decoder.decode(chunk, { stream: true })).slice(-4_000);
  return kept;
}
