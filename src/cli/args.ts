/**
 * Parses command lines strictly: the options of a command are listed once, everything else is a usage error that suggests
 * what was probably meant.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { DipcError } from "../errors.ts";
import { MAX_TIMER_MS } from "../limits.ts";
import { choiceRefusal, integerRefusal, refusal } from "../options.ts";
import { plural } from "../text.ts";
import { nearest } from "./nearest.ts";

/** A mistake in the command line: exit status 2. */
export class UsageError extends DipcError {
  /** @param message What is wrong and what to write instead */
  constructor(message: string) {
    super("invalid_argument", message);
  }
}

/** The options that one command accepts. */
export interface CommandSpec {
  /** Its name, for messages. */
  readonly name: string;
  /** Options without a value, without dashes. `help` and `json` belong here like any other. */
  readonly flags: readonly string[];
  /** Options with a value, without dashes. */
  readonly values: readonly string[];
  /** Options with a value under a former name: accepted, but neither shown nor suggested. */
  readonly former?: readonly string[];
  /** Options with a value that may be given several times, without dashes. */
  readonly lists?: readonly string[];
  /** One-letter names of options. */
  readonly short?: Readonly<Record<string, string>>;
}

/** A command: its options, its help, and where its code is. */
export interface Command extends CommandSpec {
  /** One line for the list of commands. */
  readonly summary: string;
  /** Text of `--help`. */
  readonly help: string;
}

/** A parsed command line. */
export interface ParsedArgs {
  /** Arguments that are not options, as they were written. */
  readonly positional: readonly string[];
  /** Options without a value that were given. */
  readonly flags: ReadonlySet<string>;
  /** Options with a value that were given. */
  readonly values: ReadonlyMap<string, string>;
  /** Options that may be given several times, if they were given. */
  readonly lists: ReadonlyMap<string, readonly string[]>;
}

/**
 * Parses the arguments of one command. An option may be given once; an option with a value needs one.
 *
 * @throws {UsageError} for an unknown option, a missing value, a repeated option
 */
export function parseCommand(spec: CommandSpec, args: readonly string[]): ParsedArgs {
  const short = spec.short ?? {};
  const lists = spec.lists ?? [];
  const taken = [...spec.values, ...spec.former ?? []];
  const shown = (name: string): string => name.length === 1 ? `-${name}` : `--${name}`;
  const parsed = parseArgs([...args], {
    boolean: spec.flags,
    string: [...taken, ...lists, "_"],
    collect: [...taken, ...lists],
    alias: Object.fromEntries(Object.entries(short).map(([letter, name]) => [name, letter])),
    unknown(arg, key) {
      if (key === undefined) return true;
      const known = [...spec.flags, ...spec.values, ...lists];
      const guess = nearest(key, known);
      const hint = guess === undefined ? `"dipc ${spec.name} --help" lists the options` : `did you mean --${guess}?`;
      throw new UsageError(`cannot run dipc ${spec.name}: it has no option ${arg.split("=")[0]}; ${hint}`);
    },
  });
  const values = new Map<string, string>();
  for (const name of taken) {
    const given = parsed[name] as string[];
    if (given.length === 0) continue;
    const letter = Object.keys(short).find((each) => short[each] === name);
    const label = letter === undefined ? shown(name) : `-${letter} (--${name})`;
    if (given.length > 1) {
      throw new UsageError(`cannot use option ${label}: it is given ${given.length} times; give it once`);
    }
    if (given[0] === "") throw new UsageError(`cannot use option ${label}: it needs a value`);
    values.set(name, given[0]);
  }
  const repeated = new Map<string, readonly string[]>();
  for (const name of lists) {
    const given = parsed[name] as string[];
    if (given.includes("")) throw new UsageError(`cannot use option ${shown(name)}: it needs a value`);
    if (given.length > 0) repeated.set(name, given);
  }
  const flags = new Set<string>(spec.flags.filter((name) => parsed[name] === true));
  return { positional: parsed._.map(String), flags, values, lists: repeated };
}

/** The name of an option in an earlier version, accepted for one more version and not shown in the help. */
export interface FormerOption<T extends string> {
  /** Its name, without dashes. */
  readonly option: string;
  /** Its values that are spelt differently now. */
  readonly values?: Readonly<Record<string, T>>;
}

/**
 * The value of an option that accepts one of a few words.
 *
 * @param args The parsed command line
 * @param option Its name, without dashes
 * @param choices Words that the option accepts
 * @param former Its name of an earlier version
 * @throws {UsageError} for another word, or when both names are given
 */
export function choice<const T extends string>(
  { values }: ParsedArgs,
  option: string,
  choices: readonly T[],
  former?: FormerOption<T>,
): T | undefined {
  const old = former === undefined ? undefined : values.get(former.option);
  if (old !== undefined && values.has(option)) {
    throw new UsageError(
      `cannot use --${former!.option}: it is the former name of --${option}; give --${option} alone`,
    );
  }
  const value = old === undefined ? values.get(option) : former!.values?.[old] ?? old;
  if (value === undefined) return undefined;
  const found = choices.find((each) => each === value);
  if (found !== undefined) return found;
  throw new UsageError(choiceRefusal(`--${option}`, value, choices));
}

/** @throws {UsageError} if `text` is not an integer from `least` to `most` */
export function integerOption(option: string, text: string, least: number, most: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= most)) {
    throw new UsageError(integerRefusal(option, text, least, most));
  }
  return value;
}

const BYTES: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Reads a size such as `4194304`, `64M`, `1G`.
 *
 * @param least Smallest size
 * @returns bytes
 * @throws {UsageError} if the text is not a size, or it is less
 */
export function size(option: string, text: string, least: number = 1): number {
  const [, number, unit] = /^(\d{1,15})([KMG]?)$/.exec(text) ?? [];
  const bytes = number === undefined ? NaN : Number(number) * BYTES[unit];
  if (!(bytes >= least && bytes <= Number.MAX_SAFE_INTEGER)) {
    throw new UsageError(
      refusal(option, text, `${plural(least, "byte")} or more, or a number with K, M or G such as 64M`),
    );
  }
  return bytes;
}

const MILLISECONDS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

/**
 * Reads a length of time such as `30s`, `500ms`, `1.5m`, `1h`; a bare number counts seconds.
 *
 * @returns milliseconds
 * @throws {UsageError} if the text is not a length of time, or it is zero or longer than 24 days
 */
export function duration(option: string, text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|min|h)?$/.exec(text);
  const value = match === null ? NaN : Math.round(Number(match[1]) * MILLISECONDS[match[2] ?? "s"]);
  if (!(value >= 1 && value <= MAX_TIMER_MS)) {
    throw new UsageError(refusal(option, text, "a length of time such as 500ms, 30s or 2m"));
  }
  return value;
}
