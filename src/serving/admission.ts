/**
 * Who may fetch what: turns the ticket of a request into a dataset, or refuses it.
 *
 * @module
 */
import type { Entry } from "./entry.ts";
import { DipcError } from "../errors.ts";
import type { StreamRole } from "../protocol/role.ts";

/** Names that a refusal lists. */
const NAMED = 10;

/** Leave to fetch one dataset once. */
export interface Grant {
  /** What may be fetched. */
  readonly entry: Entry;
  /**
   * Called before the first body is sent; uses up a ticket that is good for one time.
   *
   * @throws {DipcError} `permission_denied` where another stream was faster; this one must end then
   */
  spend(): void;
}

/** Decides about requests. */
export interface Admission {
  /**
   * @param ticket The ticket as it came from the client
   * @param role Which half of the stream it asks for
   * @throws {DipcError} `not_found`, `permission_denied`
   */
  admit(ticket: Uint8Array, role: StreamRole): Grant | Promise<Grant>;
}

/**
 * Everyone may fetch everything: the ticket is the dataset's name.
 *
 * @param entries What is served
 */
export function admitByName(entries: ReadonlyMap<string, Entry>): Admission {
  return {
    admit(ticket) {
      const name = decodeName(ticket);
      const entry = entries.get(name);
      if (entry === undefined) {
        throw new DipcError("not_found", `there is no dataset ${JSON.stringify(name)} here; ${listNames(entries)}`);
      }
      return { entry, spend() {} };
    },
  };
}

function decodeName(ticket: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(ticket);
  } catch {
    throw new DipcError("not_found", "the ticket is not the name of a dataset: it is not UTF-8");
  }
}

function listNames(entries: ReadonlyMap<string, Entry>): string {
  const names = [...entries.keys()];
  const some = names.slice(0, NAMED).map((name) => JSON.stringify(name)).join(", ");
  return `it has ${some}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ""}`;
}
