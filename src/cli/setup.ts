/**
 * `dipc setup`: finds libucp, or fetches it.
 *
 * @module
 */
import { type ParsedArgs, UsageError } from "./args.ts";
import { EXIT_OK } from "./failure.ts";
import { print, printError } from "./output.ts";

/** Runs `dipc setup`. @returns exit status */
export async function runSetup(args: ParsedArgs): Promise<number> {
  if (args.positional.length > 0) {
    throw new UsageError(`dipc setup takes no argument, but there is "${args.positional[0]}"`);
  }
  const json = args.flags.has("json");
  const { setup } = await import("../setup.ts");
  const lines: Promise<void>[] = [];
  const report = (line: string): void => void lines.push((json ? printError : print)(`${line}\n`));
  const result = await setup({ report });
  await Promise.all(lines);
  if (json) await print(`${JSON.stringify(result)}\n`);
  return EXIT_OK;
}
