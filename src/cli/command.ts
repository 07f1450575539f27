/**
 * What a command of the command line is.
 *
 * @module
 */
import type { CommandSpec } from "./args.ts";

/** A command: its options, its help, and where its code is. */
export interface Command extends CommandSpec {
  /** One line for the list of commands. */
  readonly summary: string;
  /** Text of `--help`. */
  readonly help: string;
}
