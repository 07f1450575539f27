/**
 * `dipc sql`: statements at a Flight SQL server, and what it says of its tables.
 *
 * @module
 */
import type { FlightSqlClient } from "../flight_sql/client.ts";
import { isUnimplemented } from "../flight_sql/unimplemented.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { choiceRefusal } from "../options.ts";
import { printable } from "../text.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import type { MessageSource } from "./device.ts";
import { flightUri } from "./flight_options.ts";
import { runFetch } from "./get.ts";
import { countOf } from "./numbers.ts";
import { print } from "./output.ts";
import { connecting, NATIVE, reading, requireForCommand } from "./permissions.ts";
import { startQueryProgress } from "./progress.ts";
import { schemaJson, schemaText } from "./schema_text.ts";
import type { FlightServerSource } from "./source.ts";
import { connectSql, refused, withSqlClient } from "./sql_session.ts";
import { isChange, parametersOf, statementOf } from "./sql_statement.ts";
import { Warnings } from "./warnings.ts";
import { readerLimitsOf } from "./reader_limits.ts";

const MODES = ["create", "append", "replace", "create_append"] as const;

/** Runs `dipc sql`. @returns exit status */
export async function runSql(args: ParsedArgs): Promise<number> {
  const uri = flightUri(args.positional[0], "sql");
  const ways = ["tables", "describe", "ingest"].filter((name) => args.flags.has(name) || args.values.has(name));
  const hasStatement = args.positional.length > 1 || args.values.has("file");
  if (ways.length + Number(hasStatement) > 1) {
    const all = [...ways.map((name) => `--${name}`), ...(hasStatement ? ["a statement"] : [])];
    throw new UsageError(`cannot run dipc sql: ${all.join(" and ")} exclude each other; give one`);
  }
  for (const name of ["table", "mode", "max-batch"]) {
    if (args.values.has(name) && !args.values.has("ingest")) {
      throw new UsageError(`cannot use --${name}: it is for --ingest FILE; give both`);
    }
  }
  refuseOptions(args, ways[0]);
  if (ways[0] === "tables") return await listTables(uri, args);
  if (ways[0] === "describe") return await describeTable(uri, args.values.get("describe")!, args);
  if (ways[0] === "ingest") return await ingestFile(uri, args.values.get("ingest")!, args);
  return await execute(uri, args);
}

/** Refuses options that would have no effect, or one that would be ignored by another. */
function refuseOptions({ flags, values, lists }: ParsedArgs, way: string | undefined): void {
  const isGiven = (name: string): boolean => flags.has(name) || values.has(name) || lists.has(name);
  if (way !== undefined) {
    const idle = ["output", "format", "limit", "param", "update", "explain"].find(isGiven);
    if (idle === undefined) return;
    throw new UsageError(`cannot use --${idle}: it is for a statement, and there is --${way} instead; leave it out`);
  }
  const other = ["explain", "output"].find(isGiven);
  if (other === undefined || !isGiven("update")) return;
  throw new UsageError(`cannot use --update: it and --${other} exclude each other; give one`);
}

async function execute(uri: string, args: ParsedArgs): Promise<number> {
  requireForCommand("sql", [...connecting(uri), ...fileOf(args)]);
  const statement = await statementOf(args);
  const parameters = parametersOf(args);
  const isUpdate = args.flags.has("update") || (!args.flags.has("explain") && isChange(statement));
  if (isUpdate && !args.values.has("output")) {
    const idle = ["limit", "format"].find((name) => args.values.has(name));
    if (idle !== undefined) {
      throw new UsageError(`cannot use --${idle}: the statement changes rows, and shows none; leave it out`);
    }
    let isDone = true;
    const status = await withSqlClient(uri, args, async (client, signal) => {
      try {
        const rows = await client.update(statement, { parameters, signal });
        await print(args.flags.has("json") ? `${JSON.stringify({ rows })}\n` : `${changed(rows)}\n`);
      } catch (error) {
        // Some servers execute everything as a query.
        if (!isUnimplemented(error) || args.flags.has("update")) throw error;
        isDone = false;
      }
    });
    if (isDone || status !== 0) return status;
  }
  if (args.flags.has("explain") && !args.values.has("output") && !args.flags.has("json")) {
    return await withSqlClient(uri, args, (client, signal) => showPlan(client, statement, parameters, signal));
  }
  return await runFetch("sql", { ...args, positional: [uri] }, {
    open: (_source: FlightServerSource, signal: AbortSignal) => openQuery(uri, args, statement, parameters, signal),
  });
}

/** Prints a plan as the text that it is, which is too long for cells of a table. */
async function showPlan(
  client: FlightSqlClient,
  statement: string,
  parameters: ReturnType<typeof parametersOf>,
  signal: AbortSignal,
): Promise<void> {
  const table = await (await client.query(statement, { parameters, signal })).toTable();
  for (const row of table) {
    const cells = row.toArray().map((cell: unknown) => printableLines(String(cell)));
    await print(`${cells.join(cells.some((cell: string) => cell.includes("\n")) ? "\n" : "  ")}\n`);
  }
}

/** Text of a server, whose line breaks are kept. */
function printableLines(text: string): string {
  return text.trimEnd().split("\n").map((line) => printable(line)).join("\n");
}

function fileOf({ values }: ParsedArgs): ReturnType<typeof reading> {
  const file = values.get("file");
  return file === undefined || file === "-" ? [] : reading([file]);
}

function changed(rows: number | null): string {
  return rows === null ? "done; the server does not say how many rows were changed" : `${countOf(rows, "row")} changed`;
}

/** The rows of a query; the connection is closed with them. */
async function openQuery(
  uri: string,
  args: ParsedArgs,
  statement: string,
  parameters: ReturnType<typeof parametersOf>,
  signal: AbortSignal,
): Promise<MessageSource> {
  const client = await connectSql(uri, args, signal);
  const progress = args.flags.has("json") ? null : startQueryProgress();
  try {
    const reader = await client.query(statement, { parameters, signal, onProgress: progress?.onProgress }).catch((
      error,
    ) => refused(client, error));
    return {
      schemaHeader: reader.schemaHeader,
      get stats() {
        return reader.stats;
      },
      messages: () => reader.messages(),
      async [Symbol.asyncDispose]() {
        await reader[Symbol.asyncDispose]();
        await client.close();
      },
    };
  } catch (error) {
    await client.close();
    throw error;
  } finally {
    await progress?.stop();
  }
}

async function listTables(uri: string, args: ParsedArgs): Promise<number> {
  requireForCommand("sql", connecting(uri));
  let isKnown = true;
  const status = await withSqlClient(uri, args, async (client, signal) => {
    const tables = await client.tables({}, { signal }).catch((error) => {
      if (!isUnimplemented(error)) throw error;
      isKnown = false;
      return [];
    });
    if (!isKnown) return;
    if (args.flags.has("json")) {
      const all = tables.map(({ catalog, dbSchema, name, type }) => ({ catalog, dbSchema, name, type }));
      await print(`${JSON.stringify({ tables: all })}\n`);
      return;
    }
    for (const { catalog, dbSchema, name, type } of tables) {
      const full = [catalog, dbSchema, name].filter((part) => part !== null && part !== "").join(".");
      await print(`${printable(full)}  ${printable(type.toLowerCase())}\n`);
    }
  });
  if (isKnown || status !== 0) return status;
  // A server without this call may know the statement.
  return await runFetch("sql", { ...args, positional: [uri] }, {
    open: (_source: FlightServerSource, signal: AbortSignal) => openQuery(uri, args, "show tables", undefined, signal),
  });
}

async function describeTable(uri: string, table: string, args: ParsedArgs): Promise<number> {
  requireForCommand("sql", connecting(uri));
  const { describe } = await import("../ipc/describe.ts");
  return await withSqlClient(uri, args, async (client, signal) => {
    const schema = describe(await schemaOfTable(client, table, signal));
    await print(args.flags.has("json") ? `${JSON.stringify(schemaJson(schema))}\n` : schemaText(schema));
  });
}

/** By GetTables, or by a query without rows if the server lacks that, or does not give schemas. */
async function schemaOfTable(client: FlightSqlClient, table: string, signal: AbortSignal): Promise<MessageHeader> {
  const [name, dbSchema, catalog] = table.split(".").toReversed();
  // The name is a pattern there: what it matches beside the name is left out below.
  const tables = await client.tables({ table: name, catalog, dbSchema, includeSchema: true }, { signal }).catch(
    (error) => {
      if (!isUnimplemented(error)) throw error;
      return [];
    },
  );
  const found = tables.filter((each) => each.name === name && each.schema !== null);
  if (found.length === 1) return found[0].schema!;
  if (found.length > 1) {
    const places = found.map(({ catalog, dbSchema }) => [catalog, dbSchema, name].filter(Boolean).join("."));
    throw new UsageError(`cannot describe ${table}: there are ${places.join(" and ")}; give one of them`);
  }
  await using reader = await client.query(`select * from ${table} where 1 = 0`, { signal });
  return reader.schemaHeader;
}

async function ingestFile(uri: string, file: string, args: ParsedArgs): Promise<number> {
  const table = args.values.get("table");
  if (table === undefined) throw new UsageError("cannot use --ingest: it needs a table; give --table TABLE too");
  const mode = args.values.get("mode") ?? "create";
  const known = MODES.find((each) => each === mode);
  if (known === undefined) throw new UsageError(choiceRefusal("--mode", mode, MODES));
  requireForCommand("sql", [...NATIVE, ...reading(file === "-" ? [] : [file]), ...connecting(uri)]);
  const { openPath } = await import("../../mod.ts");
  const warnings = new Warnings();
  const { onWarning } = warnings;
  const dataset = await openPath(file, { follow: false, limits: readerLimitsOf(args), onWarning });
  try {
    return await withSqlClient(uri, args, async (client, signal) => {
      const rows = await client.ingest(table, dataset, { mode: known, signal });
      await warnings.print();
      const line = rows === null ? "done; the server does not say how many rows" : countOf(rows, "row");
      await print(
        args.flags.has("json")
          ? `${JSON.stringify({ rows, warnings: warnings.texts })}\n`
          : `${printable(file)}: ${line} written to ${printable(table)}\n`,
      );
    });
  } finally {
    await dataset.close();
  }
}
