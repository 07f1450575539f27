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

/**
 * Makes a folder aside, and puts it in its place once it is complete.
 *
 * @param parent Where folders are kept
 * @param target Path of the folder
 * @param fill Fills the folder `made`; `temporary`, in which that lies, is deleted afterwards
 */
export async function fillFolder(
  parent: string,
  target: string,
  fill: (temporary: string, made: string) => Promise<void>,
): Promise<void> {
  const temporary = await Deno.makeTempDir({ dir: parent, prefix: ".setup-" });
  try {
    const made = `${temporary}/made`;
    await Deno.mkdir(made);
    await fill(temporary, made);
    await Deno.remove(target, { recursive: true }).catch(() => {});
    await Deno.rename(made, target);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
