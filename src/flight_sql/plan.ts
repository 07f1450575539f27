/**
 * Plans of Substrait.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import type { SqlStatement, SubstraitPlan } from "./options.ts";

/**
 * A plan as Flight SQL's message has it.
 *
 * @throws {DipcError} `invalid_argument` for what is neither a text nor a plan
 */
export function planOf(statement: Exclude<SqlStatement, string>): Required<SubstraitPlan> {
  if (statement?.plan instanceof Uint8Array) return { plan: statement.plan, version: statement.version ?? "" };
  throw new DipcError(
    "invalid_argument",
    `cannot execute ${typeof statement}: give the text of a statement, or { plan, version } with the bytes of a plan`,
  );
}
