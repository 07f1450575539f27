/**
 * Errors whose texts must stay on the server, datasets that throw them, and a search through everything that a client receives.
 *
 * @module
 */
import { assert } from "@std/assert";
import {
  type Dataset,
  DipcError,
  type DipcErrorCode,
  type DipcErrorOptions,
  type MessageStream,
} from "../../../mod.ts";
import { ROOT } from "../../support/paths.ts";

/** A text about the server's inside. */
export const SECRET = "secret /srv/data/private.arrow at 10.1.2.3:4711 0x7f12ab34cd56";

/** Parts of it, none of which a client may see. */
const PARTS = ["secret", "/srv", "private", "10.1.2.3", "4711", "0x7f12"];

/** Every code of dipc, as its source lists them: a code that is added there is tested without a change here. */
export const CODES: readonly DipcErrorCode[] = readCodes();

function readCodes(): DipcErrorCode[] {
  const source = Deno.readTextFileSync(`${ROOT}/src/errors.ts`);
  const list = /export type DipcErrorCode =([^;]+);/.exec(source)![1];
  const codes = [...list.matchAll(/"(\w+)"/g)].map(([, code]) => code as DipcErrorCode);
  assert(codes.length >= 21, "the list of codes in src/errors.ts was not found");
  return codes;
}

/** What another system said, with a text that must stay here. */
export const FOREIGN: Required<Pick<DipcErrorOptions, "cause" | "foreign">> = {
  cause: new Error("secret cause"),
  foreign: { system: "errno", status: 2, text: SECRET },
};

/** The same as a Flight server elsewhere would be quoted. */
export const QUOTED: typeof FOREIGN = {
  cause: new Error("secret cause"),
  foreign: { system: "grpc", status: 5, text: SECRET },
};

/** Everything that an error says: its own text, those of other systems, and those of its causes. */
export function textsOf(error: unknown): string {
  const texts: string[] = [];
  for (let each = error; each instanceof Error; each = each.cause) {
    texts.push(each.message);
    if (each instanceof DipcError) texts.push(JSON.stringify(each.foreign ?? null), each.code);
  }
  return texts.join("\n");
}

/** Fails if a text has any part of a secret. */
export function assertSaysNothing(text: string, what: string, more: readonly string[] = []): void {
  for (const part of [...PARTS, ...more]) {
    assert(!text.includes(part), `${what}: the client sees "${part}" in: ${text}`);
  }
}

/** Point at which a dataset fails. */
export const POINTS = ["open", "open later", "first", "first later", "next", "next later"] as const;

/** Points at which a dataset fails: in `open()`, in the first `next()`, or in one after it; at once, or by a promise. */
export type Point = typeof POINTS[number];

/**
 * A dataset that throws.
 *
 * @param good Gives the schema, and the batches before the failure; left open
 * @param point Where it throws
 * @param thrown Makes what is thrown
 */
export function failingDataset(good: Dataset, point: Point, thrown: () => unknown): Dataset {
  const [where, isLate] = [point.split(" ")[0], point.endsWith("later")];
  const fail = (): never | Promise<never> => {
    if (!isLate) throw thrown();
    // Not a timer, which would be late in the virtual time of a loopback.
    return Promise.resolve().then(() => {
      throw thrown();
    });
  };
  return {
    schema: good.schema,
    readOnce: false,
    close() {},
    open: (options) => where === "open" ? fail() : openFailing(good, where === "first" ? 0 : 1, fail, options),
  };
}

async function openFailing(
  good: Dataset,
  batches: number,
  fail: () => never | Promise<never>,
  options?: { signal?: AbortSignal },
): Promise<MessageStream> {
  const run = await good.open(options);
  let given = 0;
  return { next: () => given++ < batches ? run.next() : fail(), close: () => run.close() };
}
