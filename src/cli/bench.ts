/**
 * `dipc bench`: hands over to the benchmarks of the repository, which are no part of the published package.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { type ParsedArgs, UsageError } from "./args.ts";

/** Runs `dipc bench`. @returns exit status */
export async function runBench(args: ParsedArgs): Promise<number> {
  if (args.positional.length > 0) {
    throw new UsageError(`dipc bench takes no argument, but there is "${args.positional[0]}"`);
  }
  // Not a literal, so that the package can be published and compiled without the benchmarks and their peers.
  const location = new URL("../../bench/main.ts", import.meta.url).href;
  let module: { runBench(args: string[]): Promise<number | void> };
  try {
    module = await import(location);
  } catch (cause) {
    if (
      cause instanceof Error && /Module not found|Cannot find module|NotFound/.test(`${cause.name} ${cause.message}`)
    ) {
      throw new DipcError(
        "not_found",
        "the benchmarks are not part of the installed package, because they measure peers that it does not bring: " +
          'run "deno task bench" in a clone of the repository',
        { cause },
      );
    }
    throw cause;
  }
  const given = ["json", "quick"].filter((flag) => args.flags.has(flag)).map((flag) => `--${flag}`);
  return (await module.runBench(given)) ?? 0;
}
