/**
 * The `dipc` command: serve, fetch and inspect Arrow data over UCX. Run it with `deno run`, install it with
 * `deno install`, or make one binary of it with `deno compile`.
 *
 * @example Run a command line from a program
 * ```ts
 * import { runCli } from "@arrow-ucx/dipc/cli";
 *
 * const status = await runCli(["--version"]);
 * console.log(status); // 0
 * ```
 *
 * @module
 */
import { runCli } from "./src/cli/main.ts";

export { runCli };

if (import.meta.main) Deno.exit(await runCli(Deno.args));
