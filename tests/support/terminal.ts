/**
 * Runs commands on a terminal, as a person does; Python's `pty` makes it.
 *
 * @module
 */
import { ROOT } from "./paths.ts";
import { python } from "./python.ts";

/** What a command showed. */
export interface Shown {
  /** Exit status. */
  code: number;
  /** Everything on the terminal, without colours and other control sequences. */
  text: string;
}

/** Options of {@linkcode onTerminal}. */
export interface TerminalOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Width in characters. Default 80. */
  columns?: number;
  /** Longest life in seconds. Default 60. */
  seconds?: number;
  /** What to type once a text has been shown, in order. */
  answers?: readonly (readonly [text: string, answer: string])[];
}

// deno-lint-ignore no-control-regex -- sequences that set colours and move the cursor
const CONTROL = /\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x07/g;

/** Runs a command on a terminal to its end. */
export async function onTerminal(command: readonly string[], options: TerminalOptions = {}): Promise<Shown> {
  const { cwd, env, columns = 80, seconds = 60, answers = [] } = options;
  const program = [`${ROOT}/tests/python/terminal.py`, `${columns}`, `${seconds}`, JSON.stringify(answers)];
  const { code, stdout, stderr } = await new Deno.Command(python!, {
    args: [...program, ...command],
    cwd,
    env: { TERM: "xterm", PYTHONDONTWRITEBYTECODE: "1", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (code !== 0) throw new Error(`terminal.py ended with status ${code}: ${decoder.decode(stderr)}`);
  const shown = JSON.parse(decoder.decode(stdout)) as Shown;
  return { code: shown.code, text: shown.text.replace(CONTROL, "") };
}
