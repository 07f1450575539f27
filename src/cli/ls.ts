/**
 * `dipc ls`: the flights of a Flight server, printed as they arrive.
 *
 * @module
 */
import type { FlightDescriptor, FlightInfo } from "../../flight.ts";
import { printable } from "../text.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { asFailure, failureLine } from "./failure.ts";
import { flightUri } from "./flight_options.ts";
import { withFlightClient } from "./flight_session.ts";
import { countOf, formatBytes } from "./numbers.ts";
import { print, printError } from "./output.ts";
import { hinted, sqlHint } from "./sql_hint.ts";
import { jsonNumber, textOrBase64 } from "./wire_text.ts";

/** Runs `dipc ls`. @returns exit status */
export async function runLs(args: ParsedArgs): Promise<number> {
  const [given, criteria = "", ...more] = args.positional;
  const uri = flightUri(given, "ls");
  if (more.length > 0) {
    throw new UsageError(`cannot run dipc ls: it takes a URI and an expression, but was also given "${more[0]}"`);
  }
  return args.flags.has("json") ? await listJson(uri, criteria, args) : await listText(uri, criteria, args);
}

async function listText(uri: string, criteria: string, args: ParsedArgs): Promise<number> {
  return await withFlightClient("ls", uri, args, async (client, signal) => {
    let isEmpty = true;
    try {
      for await (const info of client.listFlights(criteria, { signal })) {
        isEmpty = false;
        await print(`${line(info)}\n`);
      }
    } catch (error) {
      // A server of Flight SQL need not list anything.
      throw asFailure(error).code === "unsupported" ? hinted(error, await sqlHint(client)) : error;
    }
    const hint = isEmpty ? await sqlHint(client) : null;
    if (hint !== null) await printError(`no flights are listed: ${hint}\n`);
  });
}

/** The object is written piece by piece: a server may have more flights than memory holds. */
async function listJson(uri: string, criteria: string, args: ParsedArgs): Promise<number> {
  let isFirst = true;
  let status = EXIT_OK;
  await print(`{"flights":[`);
  try {
    status = await withFlightClient("ls", uri, args, async (client, signal) => {
      for await (const info of client.listFlights(criteria, { signal })) {
        await print(`${isFirst ? "" : ","}${JSON.stringify(infoJson(info))}`);
        isFirst = false;
      }
    });
    await print("]}\n");
    return status;
  } catch (error) {
    const { code, message, status } = asFailure(error);
    await printError(failureLine({ code, message }));
    await print(`],"error":${JSON.stringify({ code, message })}}\n`);
    return status;
  }
}

/** A flight for `--json`. */
function infoJson(info: FlightInfo): Record<string, unknown> {
  const { descriptor, totalRecords, totalBytes, ordered, endpoints, appMetadata } = info;
  return {
    ...(descriptor === null
      ? {}
      : "path" in descriptor
      ? { path: descriptor.path }
      : { command: textOrBase64(descriptor.command) }),
    ...(isKnown(totalRecords, info) ? { rows: jsonNumber(totalRecords) } : {}),
    ...(isKnown(totalBytes, info) ? { bytes: jsonNumber(totalBytes) } : {}),
    ordered,
    endpoints: endpoints.map(({ locations, expirationTime, appMetadata }) => ({
      locations,
      ...(expirationTime === null ? {} : { expirationTime: expirationTime.toISOString() }),
      ...(appMetadata.byteLength === 0 ? {} : { appMetadata: textOrBase64(appMetadata) }),
    })),
    ...(appMetadata.byteLength === 0 ? {} : { appMetadata: textOrBase64(appMetadata) }),
  };
}

/** Whether a server says so much: one that sets neither total sends 0 for both. */
function isKnown(total: bigint, { totalRecords, totalBytes, endpoints }: FlightInfo): boolean {
  return total > 0n || (total === 0n && (totalRecords !== 0n || totalBytes !== 0n || endpoints.length === 0));
}

function line(info: FlightInfo): string {
  const { descriptor, totalRecords, totalBytes, endpoints } = info;
  const facts = [
    nameOf(descriptor),
    isKnown(totalRecords, info) ? countOf(totalRecords, "row") : "rows not known",
    isKnown(totalBytes, info) ? formatBytes(Number(totalBytes)) : "bytes not known",
    countOf(endpoints.length, "endpoint"),
  ];
  return facts.join("  ");
}

function nameOf(descriptor: FlightDescriptor | null): string {
  if (descriptor === null) return "(no name)";
  if ("path" in descriptor) return printable(descriptor.path.join("/"));
  const command = textOrBase64(descriptor.command);
  return `command ${"text" in command ? printable(command.text) : command.base64}`;
}
