/**
 * `dipc get`: fetches a dataset, shows it or writes it; `dipc query`: the same with the result of a query over it.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { OutputFormat } from "../formats/registry.ts";
import { outputPermissions } from "../formats/atomic_file.ts";
import type { NeededPermission } from "../permissions.ts";
import { printable } from "../text.ts";
import { copiedBack, type DeviceArgs, deviceArgs, type MessageSource, releaseAll } from "./device.ts";
import { integerOption, type ParsedArgs, UsageError } from "./args.ts";
import { engineOf } from "./engine.ts";
import { EXIT_INTERRUPTED, EXIT_OK, EXIT_OUTPUT_CLOSED } from "./exit_codes.ts";
import { asFailure, failureLine } from "./failure.ts";
import { filesOf, openFileSource } from "./file_source.ts";
import { namesNoFlight, noFlightNamed } from "./flight_names.ts";
import { formatOf, TEXT_FORMAT_OPTIONS } from "./format.ts";
import { catchInterrupt, endText, type Interrupt } from "./interrupt.ts";
import { countOf, formatBytes, formatRate, formatSeconds } from "./numbers.ts";
import { OutputClosed, print, printError, SHOWN_ROWS } from "./output.ts";
import { connecting, NATIVE, reading, requireForCommand } from "./permissions.ts";
import { Warnings } from "./warnings.ts";
import { startProgress } from "./progress.ts";
import { type FlightServerSource, type Source, sourceOf, uselessEngine } from "./source.ts";
import { withSqlHint } from "./sql_hint.ts";
import { noTotals, takeStats, type TotalsJson } from "./totals.ts";
import type { Target } from "./target.ts";

/** How what is fetched is made, if not by `connect` alone. */
export interface Fetching {
  /** The query that reads the source. */
  readonly sql?: string;
  /** Opens the source in another way. */
  readonly open?: (source: FlightServerSource, signal: AbortSignal) => Promise<MessageSource>;
}

/** What the command has to do. */
interface Plan extends Fetching {
  readonly command: "get" | "query" | "sql";
  readonly source: Source;
  /** Memory that receives the bodies. */
  readonly device: DeviceArgs;
  /** File, `-`, or undefined to show the data. */
  readonly output: string | undefined;
  readonly format: OutputFormat | undefined;
  /** Whether DuckDB writes the output. */
  readonly isByDuckDb: boolean;
  readonly limit: number;
  /** Whether no more is fetched than the screen shows. */
  readonly isShownAlone: boolean;
  readonly json: boolean;
}

function planOf(command: Plan["command"], args: ParsedArgs, fetching: Fetching): Plan {
  const source = sourceOf(args, command);
  const output = args.values.get("output");
  const named = args.values.get("format");
  if (named !== undefined && output === undefined) {
    throw new UsageError(
      `cannot use --format ${named}: there is no output; give -o FILE, or "-o -" for standard output`,
    );
  }
  const format = output === undefined ? undefined : formatOf(output, named);
  if (output === "-" && format !== undefined && !format.isText && Deno.stdout.isTerminal()) {
    throw new UsageError(
      `cannot write ${format.name} to standard output: it is a terminal, and the format is binary; redirect it, or use ` +
        TEXT_FORMAT_OPTIONS,
    );
  }
  const limit = args.values.get("limit");
  const engine = engineOf(args);
  if (engine !== undefined && source.kind !== "file" && format?.name !== "parquet") throw uselessEngine(source.uri);
  const json = args.flags.has("json");
  const isShownAlone = command === "sql" && output === undefined && limit === undefined && !json &&
    Deno.stdout.isTerminal();
  return {
    ...fetching,
    command,
    source,
    isByDuckDb: engine === "duckdb" && format?.name === "parquet",
    device: deviceArgs(args),
    output,
    format,
    limit: isShownAlone
      ? SHOWN_ROWS
      : limit === undefined
      ? Infinity
      : integerOption("--limit", limit, 0, Number.MAX_SAFE_INTEGER),
    isShownAlone,
    json,
  };
}

/** Runs `dipc get`. @returns exit status */
export function runGet(args: ParsedArgs): Promise<number> {
  return runFetch("get", args);
}

/**
 * Fetches, and shows or writes what was fetched.
 *
 * @param fetching How what is fetched is made
 * @returns exit status
 */
export async function runFetch(command: Plan["command"], args: ParsedArgs, fetching: Fetching = {}): Promise<number> {
  const plan = planOf(command, args, fetching);
  requireForCommand(command, permissionsOf(plan));
  using interrupt = catchInterrupt();
  const warnings = new Warnings();
  const totals = { ...noTotals(), warnings: warnings.texts };
  let failure: unknown;
  let isOutputClosed = false;
  try {
    await fetchInto(plan, interrupt, totals, warnings.onWarning);
  } catch (error) {
    if (error instanceof OutputClosed) isOutputClosed = true;
    failure = error;
  }
  if (isOutputClosed) return EXIT_OUTPUT_CLOSED;
  if (!(plan.json && plan.output === "-")) await warnings.print();
  return await report(plan, interrupt, totals, failure);
}

/** Everything is requested before the transfer begins. */
function permissionsOf({ source, device, output, sql }: Plan): NeededPermission[] {
  const isNative = sql !== undefined || source.kind === "file" || device.memory !== undefined ||
    source.options.route === "ucx";
  return [
    ...(source.kind === "file" ? reading(filesOf(source.path)) : connecting(source.uri)),
    ...(isNative ? NATIVE : []),
    ...(output === undefined || output === "-" ? [] : outputPermissions(output)),
  ];
}

/** Fetches, and fills in the totals even if it fails. */
async function fetchInto(
  plan: Plan,
  interrupt: Interrupt,
  totals: TotalsJson,
  onWarning: (warning: string) => void,
): Promise<void> {
  const { limit } = plan;
  const { signal } = interrupt;
  const start = performance.now();
  const { openTarget } = await import("./target.ts");
  await plan.format?.load?.();
  let stream: MessageSource | undefined;
  let target: Target | undefined;
  try {
    stream = await openSource(plan, signal, onWarning);
    target = await openTarget({ ...plan, footerMetadata: stream.footerMetadata, signal }, stream.schemaHeader);
    for (const warning of target.warnings ?? []) onWarning(warning);
    interrupt.beforeForcedExit = () => target?.abort();
    const reader = stream;
    const progress = plan.output !== undefined && !plan.json ? startProgress(() => reader.stats) : null;
    try {
      await copyRows(reader, target, limit, signal, totals);
    } finally {
      await progress?.stop();
    }
    await target.finish();
    if (plan.output !== undefined && plan.output !== "-") totals.output = plan.output;
    if (plan.format !== undefined) totals.format = plan.format.name;
    if (plan.isByDuckDb) totals.outputEngine = "duckdb";
  } catch (error) {
    await target?.abort();
    throw error;
  } finally {
    if (stream !== undefined) {
      takeStats(stream.stats, totals);
      await stream[Symbol.asyncDispose]();
    } else {
      totals.seconds = (performance.now() - start) / 1000;
    }
    if (plan.device.memory !== undefined) await releaseAll();
  }
}

async function openSource(
  plan: Plan,
  signal: AbortSignal,
  onWarning: (warning: string) => void,
): Promise<MessageSource> {
  const source = await openPlainSource(plan, signal, onWarning);
  if (plan.sql === undefined) return source;
  const { openSqlSource } = await import("./sql_source.ts");
  return await openSqlSource(source, plan.sql, signal);
}

async function openPlainSource(
  { command, source, device, output, json, open }: Plan,
  signal: AbortSignal,
  onWarning: (warning: string) => void,
): Promise<MessageSource> {
  if (source.kind === "file") {
    return await openFileSource(source.path, signal, { limits: source.limits, engine: source.engine, onWarning });
  }
  if (open !== undefined) return await open(source as FlightServerSource, signal);
  if (source.kind === "flight" && namesNoFlight(source)) {
    throw await noFlightNamed(command as "get" | "query", source, signal);
  }
  const { memory, staging } = device;
  if (memory === undefined) {
    const { connect } = await import("../../mod.ts");
    return await connect(source.uri, { ...source.options, signal }).catch(async (error) => {
      if (source.kind !== "flight") throw error;
      const { path: _, command: __, ...call } = source.options.flight;
      throw await withSqlHint(error, source.uri, call);
    });
  }
  const { connectCuda } = await import("../connect_cuda.ts");
  const reader = await connectCuda(source.uri, { ...source.options, signal, memory, staging });
  // Bodies that are only counted stay on the GPU.
  return output === undefined && json ? reader : copiedBack(reader);
}

/** Writes messages to the target until the end or the limit. */
async function copyRows(
  stream: MessageSource,
  target: Target,
  limit: number,
  signal: AbortSignal,
  totals: TotalsJson,
): Promise<void> {
  let rows = 0;
  if (limit > 0) {
    for await (const message of stream.messages()) {
      if (message.header.kind === "schema") continue;
      if (signal.aborted) {
        message.body?.release();
        throw new DipcError("cancelled", "cannot fetch the rest: the command was interrupted");
      }
      const left = limit - rows;
      if (message.header.kind === "batch") rows += Math.min(left, message.header.rows);
      totals.rows = rows;
      const pending = message.header.kind === "batch" && message.header.rows > left
        ? target.writeFirst(message, left)
        : target.write(message);
      if (pending !== undefined) await pending;
      if (rows >= limit) break;
    }
  }
  if (rows >= limit) totals.limited = true;
  else totals.complete = true;
}

async function report(plan: Plan, interrupt: Interrupt, totals: TotalsJson, thrown: unknown): Promise<number> {
  const dataOnStandardOutput = plan.output === "-";
  let status = EXIT_OK;
  if (thrown !== undefined) {
    const failure = asFailure(thrown);
    status = failure.status;
    totals.complete = false;
    let { code, message } = failure;
    if (interrupt.caught !== null) {
      if (interrupt.caught === "SIGINT") status = EXIT_INTERRUPTED;
      code = "cancelled";
      message = `${endText(interrupt.caught)} after ${countOf(totals.batches, "batch", "batches")}`;
      if (plan.output !== undefined && !dataOnStandardOutput) message += `; ${plan.output} was not written`;
    }
    totals.error = { code, message };
    if (!(plan.json && dataOnStandardOutput)) await printError(failureLine(totals.error));
  }
  if (plan.json) {
    const line = `${JSON.stringify(totals)}\n`;
    await (dataOnStandardOutput ? printError(line) : print(line));
  } else if (thrown === undefined) {
    const line = `${summary(plan, totals)}\n`;
    await (dataOnStandardOutput ? printError(line) : print(line));
  }
  return status;
}

function because(reason: string): string {
  return reason === "" ? "" : ` (${printable(reason)})`;
}

/** One line of totals and rate. */
function summary(plan: Plan, totals: TotalsJson): string {
  const { rows, batches, bodyBytes, seconds, bytesPerSecond, transports } = totals;
  const what = `${countOf(rows, "row")} in ${countOf(batches, "batch", "batches")}, ${formatBytes(bodyBytes)}`;
  const rate = `${formatSeconds(seconds)}, ${formatRate(bytesPerSecond)}`;
  const over = plan.source.kind === "file"
    ? ` ${totals.routeReason?.replace(/^read /, "") ?? ""}`
    : totals.route === "flight"
    ? ` by Flight (${printable(totals.routeReason ?? "")})`
    : transports.length > 0
    ? ` over ${transports.join(", ")}${because(totals.transportsReason)}${inPlace(totals)}`
    : "";
  const limited = !totals.limited
    ? ""
    : plan.isShownAlone
    ? " (no more was fetched than is shown; see --limit and -o)"
    : " (stopped by --limit)";
  const written = plan.output !== undefined && plan.output !== "-" ? `${printable(plan.output)}: ` : "";
  const device = totals.memory === undefined
    ? ""
    : ` into ${totals.memory}${limited}\n${totals.staged ? "staged" : "direct"}: ${
      printable(totals.stagingReason ?? "")
    }`;
  return `${written}${what} in ${rate}${over}${device || limited}`;
}

/** How much was read in the server's memory, and why not more; empty if the server does not offer it. */
function inPlace({ sharedBytes, bodyBytes, sharingReason }: TotalsJson): string {
  if (sharingReason === null) return "";
  const reason = printable(sharingReason);
  if (sharedBytes === 0) return reason === "" ? "" : ` (not in shared memory: ${reason})`;
  const share = sharedBytes === bodyBytes ? "all" : formatBytes(sharedBytes);
  return ` (${share} in shared memory${reason === "" ? "" : `; ${reason}`})`;
}
