/**
 * The options `catalog` and `schema` of a client's session, in which its statements look for names.
 *
 * @module
 */
import type { SessionOptionError, SessionValue } from "../../flight/model.ts";
import type { SessionChange } from "../../flight/service/options.ts";
import type { EnginePlace, SqlEngine } from "../engine.ts";
import { fromEngine } from "./failure.ts";

const PARTS = ["catalog", "schema"] as const satisfies readonly (keyof EnginePlace)[];

/** The place that the options of a session name; `undefined` for the default. */
export function placeOf(options: ReadonlyMap<string, unknown> | null): EnginePlace | undefined {
  const [catalog, schema] = PARTS.map((part) => options?.get(part) as string ?? null);
  return catalog === null && schema === null ? undefined : { catalog, schema };
}

/**
 * What is set of options that are set together. A place that there is not changes neither catalog nor schema. A catalog that is set alone,
 * and that has no schema of the name which was set before, takes that option away.
 *
 * @param changes What is to be set; `null`, or an empty name, gives the default back
 * @param current What is set
 */
export async function changePlace(
  engine: SqlEngine,
  changes: ReadonlyMap<string, SessionValue>,
  current: ReadonlyMap<string, SessionValue>,
): Promise<SessionChange> {
  const errors = new Map<string, SessionOptionError>();
  const named = PARTS.filter((part) => changes.has(part));
  if (engine.missingIn === undefined || named.length === 0) return { changes, errors };
  const next = new Map(changes);
  const refuse = (part: typeof PARTS[number]): SessionChange => {
    for (const each of named) {
      errors.set(each, each === part ? "invalid value" : "error");
      next.delete(each);
    }
    return { changes: next, errors };
  };
  for (const part of named) {
    if (changes.get(part) === "") next.set(part, null);
    const value = next.get(part);
    if (value !== null && typeof value !== "string") return refuse(part);
  }
  const missing = await missingPart(engine, new Map([...current, ...next]));
  if (missing === null) return { changes: next, errors };
  if (missing !== "schema" || next.has("schema")) return refuse(missing);
  next.set("schema", null);
  return { changes: next, errors };
}

async function missingPart(
  engine: SqlEngine,
  options: ReadonlyMap<string, SessionValue>,
): Promise<keyof EnginePlace | null> {
  const place = placeOf(options);
  return place === undefined ? null : await fromEngine(() => engine.missingIn!(place));
}
