/**
 * The text of a query of a database on the command line: `SCHEME:NAME?option=value&query=SQL`.
 *
 * @module
 */
import { UsageError } from "./args.ts";

/** What the text says. */
export interface QueryText {
  /** What is before the question mark. */
  readonly name: string;
  /** Options before the query. */
  readonly options: Readonly<Record<string, string>>;
  /** The query. */
  readonly sql: string;
}

/**
 * Reads the text. `query` comes last: all that follows is SQL as it stands. The values before it are percent-decoded.
 *
 * @param text The text, which has a scheme
 * @param form How it is written, for the message
 * @throws {UsageError}
 */
export function parseQueryText(text: string, form: string): QueryText {
  const at = /[?&]query=/.exec(text);
  if (at === null) throw queryFault(text, form, "it has no query");
  const sql = text.slice(at.index + at[0].length);
  if (sql.trim() === "") throw queryFault(text, form, "its query is empty");
  return { ...parsed(text.slice(0, at.index), text, form), sql };
}

/** Reads a text without a query, which names a database. @throws {UsageError} */
export function parseDatabaseText(text: string, form: string): Omit<QueryText, "sql"> {
  return parsed(text, text, form);
}

function parsed(part: string, text: string, form: string): Omit<QueryText, "sql"> {
  const fail = (what: string): UsageError => queryFault(text, form, what);
  const [, name, rest = ""] = /^[a-z]+:([^?]*)(?:\?(.*))?$/is.exec(part)!;
  const options: Record<string, string> = Object.create(null);
  for (const option of rest.split("&").filter((option) => option !== "")) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(option) ?? [];
    if (key === undefined) throw fail(`"${option}" is not an option with its value`);
    options[decoded(key, fail)] = decoded(value, fail);
  }
  return { name: decoded(name, fail), options };
}

/** The error for a text that cannot be used. */
export function queryFault(text: string, form: string, what: string): UsageError {
  return new UsageError(`cannot use ${JSON.stringify(text)}: ${what}; write ${form}`);
}

function decoded(text: string, fail: (what: string) => UsageError): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw fail(`"${text}" has a "%" that is not followed by two digits`);
  }
}
