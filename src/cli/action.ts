/**
 * `dipc action`: lists or runs the actions of a Flight server.
 *
 * @module
 */
import type { ActionType } from "../../flight.ts";
import { printable } from "../text.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import { flightUri } from "./flight_options.ts";
import { withFlightClient } from "./flight_session.ts";
import { print } from "./output.ts";
import { textOrBase64 } from "./wire_text.ts";

/** Runs `dipc action`. @returns exit status */
export async function runAction(args: ParsedArgs): Promise<number> {
  const [given, type, body = "", ...more] = args.positional;
  const uri = flightUri(given, "action");
  if (more.length > 0) {
    throw new UsageError(`cannot run dipc action: it takes a URI, a type and a body, but was also given "${more[0]}"`);
  }
  const isJson = args.flags.has("json");
  if (type === undefined) return await listActions(uri, args, isJson);
  return await withFlightClient("action", uri, args, async (client, signal) => {
    const results: ({ text: string } | { base64: string })[] = [];
    for await (const bytes of client.doAction(type, body, { signal })) {
      const result = textOrBase64(bytes);
      if (isJson) results.push(result);
      else await print(`${"text" in result ? lines(result.text) : result.base64}\n`);
    }
    if (isJson) await print(`${JSON.stringify({ results })}\n`);
  });
}

async function listActions(uri: string, args: ParsedArgs, isJson: boolean): Promise<number> {
  return await withFlightClient("action", uri, args, async (client, signal) => {
    const actions: ActionType[] = [];
    for await (const action of client.listActions({ signal })) {
      if (isJson) {
        actions.push(action);
        continue;
      }
      const line = `${printable(action.type)}  ${printable(action.description)}`;
      await print(`${line.trimEnd()}\n`); // a server need not describe its actions
    }
    if (isJson) await print(`${JSON.stringify({ actions })}\n`);
  });
}

/** Keeps line ends, but escapes whatever could move the cursor. */
function lines(text: string): string {
  return text.split("\n").map((line) => printable(line)).join("\n");
}
