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
  const fail = (what: string): UsageError => queryFault(text, form, what);
  const [, name, rest = ""] = /^[a-z]+:([^?]*)(?:\?(.*))?$/is.exec(text)!;
  const at = /(?:^|&)query=/.exec(rest);
  if (at === null) throw fail("it has no query");
  const sql = rest.slice(at.index + at[0].length);
  if (sql.trim() === "") throw fail("its query is empty");
  const options: Record<string, string> = Object.create(null);
  for (const part of rest.slice(0, at.index).split("&").filter((part) => part !== "")) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(part) ?? [];
    if (key === undefined) throw fail(`"${part}" is not an option with its value`);
    options[decoded(key, fail)] = decoded(value, fail);
  }
  return { name: decoded(name, fail), options, sql };
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
