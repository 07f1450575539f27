/**
 * The agent's end of the control channel: JSON commands in, JSON answers out, a line each.
 *
 * @module
 */
import { textOf } from "../src/text.ts";

/** A command: `do` names it, the other fields are its own. */
export type Command = Record<string, unknown>;

/** Says that the process is ready, then answers commands one after another until its input ends. */
export async function answerCommands(
  handlers: Record<string, (command: Command) => Promise<unknown>>,
): Promise<void> {
  const encoder = new TextEncoder();
  const say = async (answer: unknown) => {
    const bytes = encoder.encode(JSON.stringify(answer) + "\n");
    for (let written = 0; written < bytes.length;) written += await Deno.stdout.write(bytes.subarray(written));
  };
  await say({ ready: true, pid: Deno.pid, deno: Deno.version.deno });
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      try {
        const command = JSON.parse(line) as Command;
        const handler = handlers[command.do as string];
        if (!handler) throw new Error(`unknown command ${command.do}`);
        await say(await handler(command));
      } catch (error) {
        await say({ error: textOf(error) });
      }
    }
  }
}
