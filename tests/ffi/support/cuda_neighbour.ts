/**
 * A process that owns device memory and an event and hands them to others, as a test uses it.
 *
 * @module
 */
import { cuda } from "../../support/cuda_sim.ts";
import { ROOT } from "../../support/paths.ts";
import type { NeighbourHandles, NeighbourTask } from "./cuda_neighbour_program.ts";

/** Another process with device memory. */
export class Neighbour implements AsyncDisposable {
  readonly #child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", `${ROOT}/tests/ffi/support/cuda_neighbour_program.ts`],
    ...{ env: cuda!.env, stdin: "piped", stdout: "piped", stderr: "piped" } as const,
  }).spawn();
  readonly #writer = this.#child.stdin.getWriter();
  readonly #answers = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  readonly #errors = new Response(this.#child.stderr).text();

  async tell(task: NeighbourTask): Promise<NeighbourHandles> {
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify(task)}\n`));
    let text = "";
    while (!text.endsWith("\n")) {
      const { value, done } = await this.#answers.read();
      if (done) throw new Error(await this.#errors);
      text += value;
    }
    return JSON.parse(text);
  }

  async share(fill: number, delay = 0, byteLength = 2 << 20): Promise<{ memory: Uint8Array; event: Uint8Array }> {
    const { memory, event } = await this.tell({ what: "share", fill, delay, byteLength });
    return { memory: Uint8Array.from(memory), event: Uint8Array.from(event) };
  }

  kill(): Promise<unknown> {
    this.#child.kill("SIGKILL");
    return this.#child.status;
  }

  /** Ends it. @returns its exit status, and what it said on standard error */
  async end(): Promise<{ code: number; errors: string }> {
    await this.#writer.close();
    return { code: (await this.#child.status).code, errors: await this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#writer.close().catch(() => {});
    await this.#answers.cancel();
    await this.#child.status;
    await this.#errors;
  }
}
