/**
 * Processes that share memory of a GPU with the test.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { cuda } from "../../support/cuda_sim.ts";
import { ROOT } from "../../support/paths.ts";
import { type Running, startDipc } from "../../support/processes.ts";
import type { IpcServerTask } from "./ipc_server.ts";

/** A server in another process. */
export class Server implements AsyncDisposable {
  readonly uris: Record<string, string>;
  readonly #program: Running;

  private constructor(program: Running, uris: Record<string, string>) {
    this.#program = program;
    this.uris = uris;
  }

  static async start(task: IpcServerTask, env: Record<string, string> = {}): Promise<Server> {
    const program = start("ipc_server.ts", JSON.stringify(task), env);
    const line = await program.firstLine;
    if (line === null) throw new Error((await program.outcome).stderr);
    return new Server(program, JSON.parse(line));
  }

  /** What clients have of it. */
  async sharing(): Promise<{ clients: number }> {
    return await this.#program.ask("") as { clients: number };
  }

  kill(): void {
    this.#program.kill("SIGKILL");
  }

  /** Ends it, and sees to it that its driver had nothing to complain of. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.closeStdin();
    const { code, signal, stderr } = await this.#program.outcome;
    if (signal === null) assertEquals([code, stderr], [0, ""], "the server");
  }
}

/** Starts a program of this folder on the driver that the tests run on. */
export function start(
  program: string,
  argument: string,
  env: Record<string, string> = {},
  ...more: readonly string[]
): Running {
  return startDipc([argument, ...more], {
    program: `${ROOT}/tests/device/support/${program}`,
    env: { ...cuda!.env, ...env },
    stdin: "piped",
    timeoutMs: 600_000,
  });
}
