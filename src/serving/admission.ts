/**
 * Decides who may fetch what: turns the ticket of a request into a dataset, or rejects it.
 *
 * @module
 */
import type { Entry } from "./entry.ts";
import { DipcError } from "../errors.ts";
import type { StreamRole } from "../protocol/role.ts";

/** Names that the error for an unknown one lists. */
const NAMED = 10;

/** Permission for one fetch of one dataset. */
export interface Grant {
  /** What may be fetched. */
  readonly entry: Entry;
  /** Whether `spend` does anything. */
  readonly mustSpend: boolean;
  /**
   * Called before the first body is sent; uses up a ticket that is good for one use.
   *
   * @throws {DipcError} `permission_denied` if another stream was faster; this one must end then
   */
  spend(): void;
}

/** Decides about requests. */
export interface Admission {
  /**
   * @param ticket The ticket as it came from the client
   * @param role Half of the stream that it requests
   * @throws {DipcError} `not_found`, `permission_denied`
   */
  admit(ticket: Uint8Array, role: StreamRole): Grant | Promise<Grant>;
}

/**
 * Everyone may fetch everything: the ticket is the dataset's name.
 *
 * @param entries Datasets that are served, by name
 */
export function admitByName(entries: ReadonlyMap<string, Entry>): Admission {
  return {
    admit(ticket) {
      const name = decodeName(ticket);
      const entry = entries.get(name);
      if (entry === undefined) {
        throw new DipcError(
          "not_found",
          `cannot fetch ${JSON.stringify(name)}: this server has no such dataset; ${listNames(entries)}`,
        );
      }
      return { entry, mustSpend: false, spend() {} };
    },
  };
}

function decodeName(ticket: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(ticket);
  } catch {
    throw new DipcError("not_found", "cannot find the dataset: the ticket is not a name, because it is not UTF-8");
  }
}

function listNames(entries: ReadonlyMap<string, Entry>): string {
  const names = [...entries.keys()];
  const some = names.slice(0, NAMED).map((name) => JSON.stringify(name)).join(", ");
  return `it has ${some}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ""}`;
}
