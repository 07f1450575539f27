/**
 * Many `dipc` commands in one process, one after the other, because a process for each would take too long. The one argument
 * is a list of argument lists as JSON; each command must print one line, as most do with `--json`.
 *
 * @module
 */
import { runCli } from "../../../src/cli/main.ts";

for (const args of JSON.parse(Deno.args[0]) as string[][]) await runCli(args);
