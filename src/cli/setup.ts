/**
 * `dipc setup`: finds libucp, or fetches it; `dipc setup duckdb`: the same with libduckdb.
 *
 * @module
 */
import { type ParsedArgs, UsageError } from "./args.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { print, printError } from "./output.ts";

/** Runs `dipc setup`. @returns exit status */
export async function runSetup(args: ParsedArgs): Promise<number> {
  const [what, ...more] = args.positional;
  if ((what !== undefined && what !== "duckdb") || more.length > 0) {
    throw new UsageError(
      `cannot run dipc setup: it takes no argument but duckdb, and was given "${what === "duckdb" ? more[0] : what}"`,
    );
  }
  const json = args.flags.has("json");
  const { setup, setupDuckDb } = await import("../setup.ts");
  let written = Promise.resolve();
  const report = (line: string): void => {
    written = written.then(() => (json ? printError : print)(`${line}\n`));
  };
  try {
    const result = await (what === "duckdb" ? setupDuckDb : setup)({ report });
    await written;
    if (json) await print(`${JSON.stringify(result)}\n`);
  } finally {
    // What was tried comes before the error that it led to.
    await written;
  }
  return EXIT_OK;
}
