/**
 * `dipc bench`: hands over to the benchmarks of the repository, which are not part of the published package.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type ParsedArgs, UsageError } from "./args.ts";

/** Path of the benchmarks, or `null` if this is not a clone of the repository. */
async function benchmarks(): Promise<string | null> {
  const url = new URL("../../bench/main.ts", import.meta.url);
  if (url.protocol !== "file:") return null;
  const path = decodeURIComponent(url.pathname);
  try {
    return (await Deno.stat(path)).isFile ? path : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Runs `dipc bench`. @returns exit status */
export async function runBench(args: ParsedArgs): Promise<number> {
  if (args.positional.length > 0) {
    throw new UsageError(`cannot run dipc bench: it takes no argument, but was given "${args.positional[0]}"`);
  }
  const path = await benchmarks();
  if (path === null) {
    throw new DipcError(
      "not_found",
      "cannot run the benchmarks: they are not part of the installed package, because they measure peers that it does not " +
        'bring; run "deno task bench" in a clone of the repository',
    );
  }
  const given = ["json", "quick"].filter((flag) => args.flags.has(flag)).map((flag) => `--${flag}`);
  // A process of its own and not an import, so that the package can be published and compiled without the benchmarks.
  const { code } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", path, ...given] }).spawn().status;
  return code;
}
