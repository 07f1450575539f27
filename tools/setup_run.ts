/**
 * Runs the commands that provide a peer, and says why one cannot be had.
 *
 * @module
 */

/** Called with each line that is worth telling the user. */
export type Report = (line: string) => void;

/** Thrown if a peer is not available; its message is the cause. */
export class Unavailable extends Error {}

/**
 * Runs a command to its end and returns what it printed.
 *
 * @param command Name or path
 * @param args Its arguments
 * @param options Folder and further environment
 * @throws {Unavailable} if it cannot be started or fails; with the last lines that it printed
 */
export async function run(
  command: string,
  args: string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env" | "signal"> = {},
): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(command, { args, stdin: "null", ...options }).output();
  } catch (error) {
    throw new Unavailable(`${command}: ${(error as Error).message}`);
  }
  const text = new TextDecoder().decode(output.stdout);
  if (output.success) return text;
  const all = new TextDecoder().decode(output.stderr) + text;
  const cause = options.signal?.aborted ? "it took too long: " : "";
  throw new Unavailable(`${[command, ...args].join(" ")}: ${cause}${all.trim().split("\n").slice(-3).join(" ")}`);
}
