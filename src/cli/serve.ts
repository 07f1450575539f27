/**
 * `dipc serve`: files and standard input as datasets, until a signal arrives.
 *
 * @module
 */
import type { ReaderLimits } from "../limits.ts";
import type { NeededPermission } from "../permissions.ts";
import type { FlightPlaneOptions } from "../serving/flight_plane.ts";
import type { Server } from "../serving/server.ts";
import type { Dataset } from "../sources/dataset.ts";
import type { Servable } from "../serving/datasets.ts";
import { printable } from "../text.ts";
import { duration, integerOption, type ParsedArgs, UsageError } from "./args.ts";
import { deviceArgs, releaseAll } from "./device.ts";
import { EXIT_INTERRUPTED, EXIT_OK } from "./exit_codes.ts";
import { catchInterrupt, type EndSignal } from "./interrupt.ts";
import { filesOf } from "./file_source.ts";
import { checkUploadFolder, flightServingOf, refuseUcxPorts } from "./flight_serving.ts";
import { engineOf } from "./engine.ts";
import { countOf, formatBytes } from "./numbers.ts";
import { print, printError } from "./output.ts";
import { checkQuery, openQuery, queryScheme } from "./query_source.ts";
import { readerLimitsOf } from "./reader_limits.ts";
import { logFailures } from "./server_log.ts";
import { openSqlEngine, sqlServingOf } from "./sql_serving.ts";
import { warningLine } from "./warnings.ts";
import { parseUploadDatabase, UploadTables } from "./upload_table.ts";
import { keepingIn, listening, NATIVE, reading, requireForCommand } from "./permissions.ts";

/** How long running streams may go on after the first signal, in milliseconds. */
const DRAIN_MS = 10_000;
const MAX_PORT = 65_535;
const MAX_ISOLATES = 256;

/** One `[NAME=]PATH`, `NAME=adbc:…` or `NAME=duckdb:…` of the command line. */
export interface NamedPath {
  /** Name of the dataset. */
  readonly name: string;
  /** Path of the file, `-`, or a query of a database. */
  readonly path: string;
}

/** Splits `[NAME=]PATH`. A `=` after a `/` belongs to the path. @throws {UsageError} */
export function namedPath(text: string): NamedPath {
  const scheme = queryScheme(text);
  if (scheme !== null) {
    throw new UsageError(`cannot serve "${text}": a query has no name of its own; write NAME=${scheme}:…`);
  }
  const at = text.indexOf("=");
  const hasName = at >= 0 && !text.slice(0, at).includes("/");
  const path = hasName ? text.slice(at + 1) : text;
  const name = hasName ? text.slice(0, at) : defaultName(path);
  if (path === "") throw new UsageError(`cannot serve "${text}": it names no file; write NAME=PATH or PATH`);
  if (queryScheme(path) !== null) checkQuery(path);
  if (name === "") {
    throw new UsageError(`cannot serve "${text}": it has no name before the "="; write NAME=PATH or PATH`);
  }
  return { name, path };
}

/** The file's name without its extension; `stdin` for `-`. */
export function defaultName(path: string): string {
  if (path === "-") return "stdin";
  const file = path.replace(/\/+$/, "").replace(/^.*\//s, "");
  const dot = file.lastIndexOf(".");
  return dot > 0 ? file.slice(0, dot) : file;
}

/** @throws {UsageError} if there is none, or a name or standard input is given twice */
export function namedPaths(texts: readonly string[]): NamedPath[] {
  if (texts.length === 0) {
    throw new UsageError(`cannot run dipc serve: it needs a file to serve; give one: dipc serve [NAME=]PATH...`);
  }
  const list = texts.map(namedPath);
  const seen = new Map<string, NamedPath>();
  for (const each of list) {
    const other = seen.get(each.name);
    if (other !== undefined) {
      throw new UsageError(
        `cannot serve ${other.path} and ${each.path}: both have the name "${each.name}"; name one of them with NAME=PATH`,
      );
    }
    seen.set(each.name, each);
  }
  if (list.filter(({ path }) => path === "-").length > 1) {
    throw new UsageError(`cannot serve standard input ("-") twice: it can be read only once; give it once`);
  }
  return list;
}

/** Runs `dipc serve`. @returns exit status */
export async function runServe(args: ParsedArgs): Promise<number> {
  const limits = limitsOf(args);
  const flight = flightServingOf(args);
  const sizes = readerLimitsOf(args);
  if (flight !== undefined) flight.limits = { ...limits, ...uploadLimits(sizes) };
  const tablesText = args.values.get("put-into");
  if (tablesText !== undefined && flight?.allowPut !== undefined) {
    throw new UsageError("cannot use --put-into: it and --allow-put exclude each other; give one");
  }
  const uploads = tablesText === undefined ? undefined : parseUploadDatabase(tablesText);
  const mayBeEmpty = flight?.allowPut !== undefined || uploads !== undefined || args.values.has("sql-write");
  const paths = args.positional.length === 0 && mayBeEmpty ? [] : namedPaths(args.positional);
  const sql = sqlServingOf(args, paths);
  refuseUcxPorts(args);
  if (paths.length === 0) refuseForDatasets(args, sql !== null);
  const port = (option: string): number | undefined => {
    const text = args.values.get(option);
    return text === undefined ? undefined : integerOption(`--${option}`, text, 0, MAX_PORT);
  };
  const isolatesText = args.values.get("isolates");
  const options = {
    address: args.values.get("address"),
    port: port("port"),
    metadataPort: port("metadata-port"),
    advertise: args.values.get("advertise"),
    isolates: isolatesText === undefined ? undefined : integerOption("--isolates", isolatesText, 1, MAX_ISOLATES),
    ...limits,
  };
  const batchRowsText = args.values.get("batch-rows");
  const batchRows = batchRowsText === undefined
    ? undefined
    : integerOption("--batch-rows", batchRowsText, 1, 2 ** 31 - 1);

  const reader = engineOf(args);
  const { memory, staging } = deviceArgs(args);
  const share = args.flags.has("share");
  const remoteKeys = args.flags.has("remote-keys");
  const clash = ["metadata-port", "no-ucx"].find((name) => args.values.has(name) || args.flags.has(name));
  if (share && clash !== undefined) {
    throw new UsageError(`cannot use --share: it and --${clash} exclude each other; give one`);
  }
  if (remoteKeys && !share) {
    throw new UsageError("cannot use --remote-keys: it goes with --share; give both or neither");
  }
  requireForCommand("serve", [
    ...permissionsOf(paths, options.address, flight),
    ...sql?.write === undefined ? [] : keepingIn(sql.write),
  ]);
  if (flight !== undefined) checkUploadFolder(flight);
  using interrupt = catchInterrupt();
  await using tables = uploads === undefined ? null : await UploadTables.open(uploads);
  if (tables !== null) flight!.allowPut = tables;
  const { openPath, serve } = await import("../../mod.ts");
  const datasets: Record<string, Dataset> = Object.create(null);
  try {
    for (const { name, path } of paths) {
      const onWarning = (warning: string): void => void printError(warningLine(`dataset ${name}: ${warning}`));
      datasets[name] = queryScheme(path) !== null
        ? await openQuery(path)
        : await openPath(path, { batchRows, engine: reader, map: "guarded", limits: sizes, onWarning });
    }
    await using engine = sql === null ? null : await openSqlEngine(sql, paths, datasets);
    if (engine !== null) {
      flight!.sql = engine;
      flight!.sqlLimits = sql!.limits;
      flight!.sqlShare = share && (options.isolates ?? 1) === 1;
    }
    const served: Record<string, Servable> = Object.create(null);
    for (const [name, source] of Object.entries(datasets)) {
      served[name] = memory === undefined && !share ? source : { source, memory, share };
    }
    const server = await serve({ datasets: served, ...options, sharing: { remoteKeys }, staging, flight });
    try {
      logFailures(server);
      await announce(server, args.flags.has("json"));
      await new Promise<void>((resolve) => {
        if (interrupt.signal.aborted) resolve();
        else interrupt.signal.addEventListener("abort", () => resolve(), { once: true });
      });
    } finally {
      await stop(server, interrupt.caught);
    }
  } finally {
    for (const dataset of Object.values(datasets)) await dataset.close();
    if (memory !== undefined) await releaseAll();
  }
  return interrupt.caught === "SIGINT" ? EXIT_INTERRUPTED : EXIT_OK;
}

/** Rejects options that have no effect if no dataset is served. @throws {UsageError} */
function refuseForDatasets({ values, flags }: ParsedArgs, hasSql: boolean): void {
  const given = ["batch-rows", "engine", "memory", "staging"].find((name) => values.has(name)) ??
    (hasSql ? undefined : ["share", "remote-keys"].find((name) => flags.has(name)));
  if (given === undefined) return;
  throw new UsageError(`cannot use --${given}: it is for datasets, and none is served; name one, or leave it out`);
}

/** The limits that both sides of the server have. Only those that were given: each side has its own defaults. */
export function limitsOf(
  { values }: ParsedArgs,
): { maxConnections?: number; requestTimeoutMs?: number; idleTimeoutMs?: number } {
  const limits: ReturnType<typeof limitsOf> = {};
  const [connections, request, idle] = ["max-connections", "request-timeout", "idle-timeout"].map((it) =>
    values.get(it)
  );
  if (connections !== undefined) limits.maxConnections = integerOption("--max-connections", connections, 1, 65_536);
  if (request !== undefined) limits.requestTimeoutMs = duration("--request-timeout", request);
  if (idle !== undefined) limits.idleTimeoutMs = duration("--idle-timeout", idle);
  return limits;
}

/** The limits of uploads, which have no limit of rows. */
function uploadLimits({ maxMetadataBytes, maxBodyBytes }: Partial<ReaderLimits>): Partial<ReaderLimits> {
  return {
    ...(maxMetadataBytes === undefined ? {} : { maxMetadataBytes }),
    ...(maxBodyBytes === undefined ? {} : { maxBodyBytes }),
  };
}

/** Everything is requested before the server starts, what only uploads need as well. */
function permissionsOf(
  paths: readonly NamedPath[],
  address = "127.0.0.1",
  flight: FlightPlaneOptions | undefined,
): NeededPermission[] {
  const needed = [...NATIVE, ...reading(paths.flatMap(({ path }) => filesOf(path)))];
  if (flight !== undefined) needed.push(listening(address, flight.port ?? 0));
  if (typeof flight?.allowPut === "string") needed.push(...keepingIn(flight.allowPut));
  return needed;
}

async function announce(server: Server, json: boolean): Promise<void> {
  if (json) {
    const datasets = server.datasets.map(({ name, uris, rows, batches, bodyBytes, ...place }) => ({
      name,
      uris,
      rows,
      batches,
      bodyBytes,
      ...place,
    }));
    const { address, port } = server;
    const flight = server.flight?.location;
    await print(`${JSON.stringify({ pid: Deno.pid, address, port, datasets, flight })}\n`);
    return;
  }
  if (server.datasets.length > 0) await announceDatasets(server);
  if (server.flight !== undefined) await print(`${server.flight.location}\n`);
  if (Deno.stderr.isTerminal()) await printError(`serving on ${server.address}, Ctrl-C stops\n`);
}

async function announceDatasets(server: Server): Promise<void> {
  const rows = server.datasets.map(({ name, rows, batches, bodyBytes, uris }) => [
    printable(name),
    rows !== undefined
      ? countOf(rows, "row")
      : batches !== undefined
      ? countOf(batches, "batch", "batches")
      : "rows unknown",
    bodyBytes === undefined ? "size unknown" : formatBytes(bodyBytes),
    uris.join("  "),
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map(([name, count, bytes, uris]) =>
    `${name.padEnd(widths[0])}  ${count.padStart(widths[1])}  ${bytes.padStart(widths[2])}  ${uris}\n`
  );
  await print(lines.join(""));
  for (const { name, sharingReason } of server.datasets) {
    if (sharingReason) await printError(warningLine(`dataset ${name}: ${sharingReason}`));
  }
  const [{ memory, staged, stagingReason }] = server.datasets;
  if (memory !== undefined) await printError(`from ${memory}, ${staged ? "staged" : "direct"}: ${stagingReason}\n`);
}

async function stop(server: Server, caught: EndSignal | null): Promise<void> {
  const { activeConnections, idleConnections } = server.stats;
  if (caught !== null && activeConnections > 0) {
    const idle = idleConnections === 0 ? "" : ` and ${idleConnections} idle`;
    await printError(
      `stopping: ${countOf(activeConnections, "connection")} open${idle}, waiting up to ${DRAIN_MS / 1000} s ` +
        `(Ctrl-C stops at once)\n`,
    );
  }
  await server.shutdown({ timeoutMs: DRAIN_MS });
}
