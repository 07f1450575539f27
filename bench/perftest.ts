/**
 * Runs `ucx_perftest`, the measure of what UCX itself can carry.
 *
 * @module
 */

/** How to run it. */
export interface PerftestOptions {
  /** Path of `ucx_perftest`. */
  readonly path: string;
  /** Bytes of each message. */
  readonly bytes: number;
  /** Messages to send. */
  readonly count: number;
  /** UCX settings, `LD_LIBRARY_PATH` included. */
  readonly env: Record<string, string>;
  /** Cores to pin the two ends to, or null. */
  readonly cores: { server: number; client: number } | null;
  /** Send from and receive into memory of a GPU. */
  readonly memory?: "cuda";
}

let nextPort = 20_000 + Deno.pid % 20_000;

function command(options: PerftestOptions, core: number | undefined, args: string[]): Deno.Command {
  const pinned = core !== undefined;
  return new Deno.Command(pinned ? "taskset" : options.path, {
    args: pinned ? ["-c", `${core}`, options.path, ...args] : args,
    env: options.env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** The overall bandwidth in the result line of `ucx_perftest -f`, in bytes a second (it prints MiB/s). */
export function parseBandwidth(output: string): number | null {
  const lines = output.split("\n").map((line) => line.trim().split(/\s+/));
  const numbers = lines.findLast((fields) => fields.length === 8 && fields.every((field) => /^[\d.]+$/.test(field)));
  return numbers ? Number(numbers[5]) * 1_048_576 : null;
}

/**
 * One run of `tag_bw` with the error mode PEER (`-e`), the mode that we use.
 *
 * @returns bytes a second
 * @throws {Error} with its output if it fails
 */
export async function tagBandwidth(options: PerftestOptions): Promise<number> {
  let output = "";
  for (let attempt = 0; attempt < 5; attempt++) {
    const port = `${nextPort++}`;
    const server = command(options, options.cores?.server, ["-p", port]).spawn();
    const serverOutput = server.output();
    // Its server says when it listens, but a pipe keeps that back until it ends: try until it is there.
    for (let wait = 0; wait < 40; wait++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      const result = await command(options, options.cores?.client, [
        ...["127.0.0.1", "-p", port, "-t", "tag_bw", "-e", "-f"],
        ...(options.memory === undefined ? [] : ["-m", options.memory]),
        ...["-s", `${options.bytes}`, "-n", `${options.count}`],
        ...["-w", `${Math.min(1000, Math.max(10, options.count >> 3))}`],
      ]).output();
      output = new TextDecoder().decode(result.stdout) + new TextDecoder().decode(result.stderr);
      const bandwidth = result.success ? parseBandwidth(output) : null;
      if (bandwidth !== null) {
        await serverOutput;
        return bandwidth;
      }
      if (!/Connection refused|refused/i.test(output)) break;
    }
    try {
      server.kill("SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
    await serverOutput;
  }
  throw new Error(`ucx_perftest failed:\n${output.trim()}`);
}
