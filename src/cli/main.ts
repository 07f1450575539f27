/**
 * The `dipc` command: finds the command, runs it, and turns what it throws into a message and an exit status.
 *
 * @module
 */
import { checkDeno } from "../runtime.ts";
import { type Command, parseCommand, type ParsedArgs, UsageError } from "./args.ts";
import { commands, overview } from "./commands.ts";
import { EXIT_OK, EXIT_OUTPUT_CLOSED, EXIT_USAGE } from "./exit_codes.ts";
import { asFailure, failureLine } from "./failure.ts";
import { nearest } from "./nearest.ts";
import { OutputClosed, print, printError } from "./output.ts";
import { noTotals } from "./totals.ts";
import { version } from "./version.ts";

type Run = (args: ParsedArgs) => Promise<number>;

/** Loads the code of a command only when it runs. */
const loaders: Record<string, () => Promise<Run>> = {
  serve: async () => (await import("./serve.ts")).runServe,
  gateway: async () => (await import("./gateway.ts")).runGateway,
  get: async () => (await import("./get.ts")).runGet,
  query: async () => (await import("./query.ts")).runQuery,
  sql: async () => (await import("./sql.ts")).runSql,
  schema: async () => (await import("./schema.ts")).runSchema,
  ls: async () => (await import("./ls.ts")).runLs,
  put: async () => (await import("./put.ts")).runPut,
  action: async () => (await import("./action.ts")).runAction,
  setup: async () => (await import("./setup.ts")).runSetup,
  doctor: async () => (await import("./doctor.ts")).runDoctor,
  bench: async () => (await import("./bench.ts")).runBench,
};

/**
 * Runs one command line.
 *
 * @param args Arguments without the program's name, such as `Deno.args`
 * @returns exit status: 0 done, 1 failed, 2 usage, 130 Ctrl-C, 141 the reader of standard output went away
 */
export async function runCli(args: readonly string[]): Promise<number> {
  let command: Command | undefined;
  try {
    const [first, ...rest] = args;
    if (first === undefined) {
      await printError(overview);
      return EXIT_USAGE;
    }
    if (first === "--help" || first === "-h" || first === "help") return await showHelp(rest[0]);
    if (first === "--version" || first === "-V") {
      await print(`dipc ${version} (deno ${Deno.version.deno})\n`);
      return EXIT_OK;
    }
    command = findCommand(first);
    checkDeno();
    const parsed = parseCommand(command, rest);
    if (parsed.flags.has("help")) {
      await print(command.help);
      return EXIT_OK;
    }
    const run = await loaders[command.name]();
    const trace = parsed.values.get("trace");
    if (trace === undefined) return await run(parsed);
    const { runTraced } = await import("./trace.ts");
    return await runTraced(trace, `dipc ${command.name}`, () => run(parsed));
  } catch (error) {
    return await reportFailure(error, command, args);
  }
}

async function showHelp(name: string | undefined): Promise<number> {
  await print(name === undefined ? overview : findCommand(name).help);
  return EXIT_OK;
}

function findCommand(name: string): Command {
  const command = commands.find((each) => each.name === name);
  if (command !== undefined) return command;
  const guess = nearest(name, commands.map((each) => each.name));
  const hint = guess === undefined ? `"dipc --help" lists the commands` : `did you mean ${guess}?`;
  throw new UsageError(`cannot run dipc ${name}: there is no such command; ${hint}`);
}

/** Reports what a command threw, as a line on standard error and, with `--json`, as an object too. */
async function reportFailure(error: unknown, command: Command | undefined, args: readonly string[]): Promise<number> {
  if (error instanceof OutputClosed) return EXIT_OUTPUT_CLOSED;
  const { status, code, message } = asFailure(error);
  if (!args.includes("--json")) {
    await printError(failureLine({ code, message }));
    return status;
  }
  const fetches = ["get", "query", "sql"].includes(command?.name ?? "");
  const totals = fetches ? noTotals() : {};
  const line = `${JSON.stringify({ ...totals, error: { code, message } })}\n`;
  if (fetches && namesStandardOutput(args)) {
    // Standard output is for data, and standard error for one object alone.
    await printError(line);
    return status;
  }
  await printError(failureLine({ code, message }));
  await print(line).catch(() => {});
  return status;
}

/** Whether `-o -` is among arguments that could not be parsed. */
function namesStandardOutput(args: readonly string[]): boolean {
  return args.some((arg, i) =>
    arg === "-o-" || arg === "--output=-" || ((arg === "-o" || arg === "--output") && args[i + 1] === "-")
  );
}
