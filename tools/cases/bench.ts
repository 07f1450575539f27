/**
 * What the cases of the field share: how they are run, and what they are given.
 *
 * @module
 */
import { findPeers } from "../peers.ts";

/** What the cases are given. */
export interface Bench {
  /** Folder of the cases. */
  readonly cases: string;
  /** A folder that is removed afterwards. */
  readonly folder: string;
  /** A program that runs `dipc` from this checkout. */
  readonly command: string;
  /** A small Arrow stream. */
  readonly stream: string;
}

/** What a case found. */
export interface Found {
  readonly ok: boolean;
  readonly seen: string;
}

/** One case. */
export type Case = (bench: Bench) => Promise<Found>;

/** Root of the repository, with a slash at its end. */
export const ROOT: string = new URL("../..", import.meta.url).pathname;
/** Python with pyarrow. */
export const python: string = findPeers().python ?? "python3";

/** Runs a program to its end. @returns both of its outputs */
export async function run(
  program: string,
  args: readonly string[],
  options: Deno.CommandOptions = {},
): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(program, { ...options, args: [...args] }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout) + decoder.decode(stderr);
}
