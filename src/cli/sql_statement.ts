/**
 * The statement of `dipc sql` and the values of its parameters, as the command line has them.
 *
 * @module
 */
import type { SqlValue } from "../flight_sql/parameters.ts";
import { openError } from "../sources/paths.ts";
import { type ParsedArgs, UsageError } from "./args.ts";

/** What begins a statement that changes something, and gives no rows. */
const CHANGES =
  /^(?:insert|update|delete|merge|create|drop|alter|truncate|replace|grant|revoke|begin|start|commit|rollback|savepoint|release|vacuum|attach|detach)\b/i;
/** What makes it give rows after all. */
const RETURNS = /\breturning\b/i;
/** Comments before a statement. */
const COMMENTS = /^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/;

/**
 * The statement: an argument, or the content of a file or of standard input.
 *
 * @throws {UsageError} if there is none, or more than one
 * @throws {DipcError} If a file cannot be read
 */
export async function statementOf({ positional, values, flags }: ParsedArgs): Promise<string> {
  const [, given, ...more] = positional;
  const file = values.get("file");
  if (more.length > 0) {
    throw new UsageError(
      `cannot run dipc sql: it takes a URI and a statement, but was also given "${more[0]}"; quote the statement`,
    );
  }
  if (given !== undefined && file !== undefined) {
    throw new UsageError("cannot use --file: it and a statement exclude each other; give one");
  }
  const source = file ?? (given === "-" ? "-" : undefined);
  const text = source === undefined ? given : source === "-" ? await standardInput() : await textOf(source);
  if (text === undefined || text.trim() === "") {
    const what = text === undefined ? "it needs a statement" : "the statement is empty";
    throw new UsageError(
      `cannot run dipc sql: ${what}; write dipc sql URI 'select …', or give --file, --tables, --describe or --ingest`,
    );
  }
  return flags.has("explain") ? `explain ${text}` : text;
}

/** Whether a statement is one that changes rows instead of giving some, by its first word. */
export function isChange(statement: string): boolean {
  const text = statement.replace(COMMENTS, "");
  return CHANGES.test(text) && !RETURNS.test(text);
}

/** The values of `--param`. */
export function parametersOf({ lists }: ParsedArgs): SqlValue[] | undefined {
  return lists.get("param")?.map(valueOf);
}

function valueOf(text: string): SqlValue {
  const [, quoted] = /^'(.*)'$/s.exec(text) ?? [];
  if (quoted !== undefined) return quoted.replaceAll("''", "'");
  if (/^null$/i.test(text)) return null;
  if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (/^[+-]?\d{1,19}$/.test(text)) {
    const integer = BigInt(text);
    if (BigInt.asIntN(64, integer) === integer) return integer;
  }
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) return Number(text);
  return text;
}

async function standardInput(): Promise<string> {
  return await new Response(Deno.stdin.readable).text();
}

async function textOf(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw openError(path, error);
  }
}
