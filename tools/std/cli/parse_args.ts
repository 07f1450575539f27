/**
 * Local stand-in for `parseArgs` of `jsr:@std/cli`, so that dipc runs from its repository even if the JSR registry cannot
 * be reached. It has the options that dipc uses, with the same names, defaults and types; remove the `links` entry of
 * `deno.json` to use the real package.
 *
 * @module
 */

/** Options of {@linkcode parseArgs}. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
> {
  /** Names that take no value. */
  boolean?: ReadonlyArray<B>;
  /** Names whose value stays a text. */
  string?: ReadonlyArray<S>;
  /** Names that may be given more than once; their value is a list. */
  collect?: ReadonlyArray<C>;
  /** Boolean names that `--no-NAME` sets to false. */
  negatable?: ReadonlyArray<string>;
  /** Other names of a name. */
  alias?: Record<string, string | ReadonlyArray<string>>;
  /** Values of names that are not given. */
  default?: Record<string, unknown>;
  /** Ends at the first argument that is not an option. */
  stopEarly?: boolean;
  /** Puts what follows `--` into `"--"` instead of `_`. */
  "--"?: boolean;
  /** Called for every argument that no option names; `false` leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Result of {@linkcode parseArgs}. */
export type Args<B extends string = never, S extends string = never, C extends string = never> =
  & { _: Array<string | number> }
  & { [K in Exclude<B, C>]: boolean }
  & { [K in Exclude<S, C | "_">]?: string }
  & { [K in C]: K extends S ? string[] : K extends B ? boolean[] : unknown[] }
  // deno-lint-ignore no-explicit-any
  & { [name: string]: any };

const NUMBER = /^[-+]?(?:0x[0-9a-f]+|(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)$/i;

/**
 * Parses command line arguments.
 *
 * @param args Arguments, such as `Deno.args`
 * @param options Which names take a value, which do not
 */
export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
>(
  args: string[],
  options: ParseOptions<B, S, C> = {},
): Args<B, S, C> {
  const booleans = new Set<string>(options.boolean);
  const strings = new Set<string>(options.string);
  const collects = new Set<string>(options.collect);
  const negatables = new Set<string>(options.negatable);
  const names = new Map<string, string[]>();
  for (const [key, value] of Object.entries(options.alias ?? {})) {
    const group = [key, ...(typeof value === "string" ? [value] : value)];
    for (const name of group) names.set(name, group);
    for (const set of [booleans, strings, collects, negatables]) {
      if (group.some((name) => set.has(name))) { for (const name of group) set.add(name); }
    }
  }
  const groupOf = (name: string): string[] => names.get(name) ?? [name];
  const defaults = new Map<string, unknown>();
  for (const [key, value] of Object.entries(options.default ?? {})) {
    for (const name of groupOf(key)) defaults.set(name, value);
  }

  const found = new Map<string, unknown>();
  const positional: Array<string | number> = [];
  const isKnown = (name: string) =>
    booleans.has(name) || strings.has(name) || collects.has(name) || names.has(name) || defaults.has(name);

  const set = (name: string, raw: string | boolean, arg: string): void => {
    const value = typeof raw === "string" && !strings.has(name) && NUMBER.test(raw) ? Number(raw) : raw;
    if (!isKnown(name) && options.unknown?.(arg, name, value) === false) return;
    for (const each of groupOf(name)) {
      if (collects.has(each)) found.set(each, [...(found.get(each) as unknown[] ?? []), value]);
      else found.set(each, value);
    }
  };
  const bare = (name: string, arg: string, negative = false): void =>
    set(name, strings.has(name) ? "" : !negative, arg);
  const asBoolean = (text: string) => text !== "false";

  let rest: string[] = [];
  let list = args;
  const split = args.indexOf("--");
  if (split >= 0) {
    rest = args.slice(split + 1);
    list = args.slice(0, split);
  }

  for (let i = 0; i < list.length; i++) {
    const arg = list[i];
    const next = list[i + 1];
    const nextIsValue = next !== undefined && !(next.startsWith("-") && next !== "-" && !NUMBER.test(next));
    let match: RegExpMatchArray | null;
    if ((match = arg.match(/^--([^=]+)=([\s\S]*)$/))) {
      const [, name, value] = match;
      set(name, booleans.has(name) ? asBoolean(value) : value, arg);
    } else if ((match = arg.match(/^--no-(.+)$/)) && negatables.has(match[1])) {
      bare(match[1], arg, true);
    } else if ((match = arg.match(/^--(.+)$/))) {
      const name = match[1];
      if (!booleans.has(name) && nextIsValue) {
        set(name, next, arg);
        i++;
      } else if (booleans.has(name) && (next === "true" || next === "false")) {
        set(name, next === "true", arg);
        i++;
      } else bare(name, arg);
    } else if (/^-[^-]/.test(arg) && !NUMBER.test(arg)) {
      const letters = arg.slice(1);
      for (let at = 0; at < letters.length; at++) {
        const name = letters[at];
        const tail = letters.slice(at + 1);
        if (tail.startsWith("=")) {
          set(name, booleans.has(name) ? asBoolean(tail.slice(1)) : tail.slice(1), arg);
          break;
        }
        if (tail !== "" && !booleans.has(name)) {
          // `-ofile` for a name that takes a value, else a bundle of flags.
          if (strings.has(name) || NUMBER.test(tail)) {
            set(name, tail, arg);
            break;
          }
        }
        if (tail === "" && !booleans.has(name) && nextIsValue) {
          set(name, next, arg);
          i++;
        } else if (tail === "" && booleans.has(name) && (next === "true" || next === "false")) {
          set(name, next === "true", arg);
          i++;
        } else bare(name, arg);
      }
    } else {
      if (options.unknown?.(arg) !== false) {
        positional.push(strings.has("_") || !NUMBER.test(arg) ? arg : Number(arg));
      }
      if (options.stopEarly) {
        positional.push(...list.slice(i + 1));
        break;
      }
    }
  }

  const result: Record<string, unknown> = { _: positional };
  for (const name of booleans) result[name] = collects.has(name) ? [] : false;
  for (const name of collects) result[name] = [];
  for (const [name, value] of defaults) result[name] = value;
  for (const [name, value] of found) result[name] = value;
  if (options["--"]) result["--"] = rest;
  else positional.push(...rest);
  return result as Args<B, S, C>;
}
