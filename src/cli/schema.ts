/**
 * `dipc schema`: the columns of a dataset, without its rows.
 *
 * @module
 */
import { parseFlightLocation } from "../flight/location.ts";
import { withPeerCheck } from "../routes/peer_check.ts";
import type { NeededPermission } from "../permissions.ts";
import type { MessageHeader } from "../ipc/message.ts";
import type { ParsedArgs } from "./args.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { asFailure, endedBy } from "./failure.ts";
import { filesOf, openFileSource } from "./file_source.ts";
import { namesNoFlight, noFlightNamed } from "./flight_names.ts";
import { catchInterrupt } from "./interrupt.ts";
import { print } from "./output.ts";
import { connecting, NATIVE, reading, requireForCommand } from "./permissions.ts";
import { schemaJson, schemaText } from "./schema_text.ts";
import { withSqlHint } from "./sql_hint.ts";
import { type FlightServerSource, type Source, sourceOf, type UcxSource } from "./source.ts";

/** Runs `dipc schema`. @returns exit status */
export async function runSchema(args: ParsedArgs): Promise<number> {
  const source = sourceOf(args, "schema");
  requireForCommand("schema", permissionsOf(source));
  using interrupt = catchInterrupt();
  const { describe } = await import("../ipc/describe.ts");
  try {
    const { header, footerMetadata } = await schemaOf(source, interrupt.signal);
    const schema = describe(header);
    const json = args.flags.has("json");
    await print(
      json ? `${JSON.stringify(schemaJson(schema, footerMetadata))}\n` : schemaText(schema, footerMetadata),
    );
    return EXIT_OK;
  } catch (error) {
    throw endedBy(interrupt.caught, error);
  }
}

function permissionsOf(source: Source): NeededPermission[] {
  if (source.kind !== "file") return connecting(source.uri);
  return [...reading(filesOf(source.path)), ...NATIVE];
}

/** A schema, and what else a file says about itself. */
interface FoundSchema {
  readonly header: MessageHeader;
  readonly footerMetadata?: ReadonlyMap<string, string>;
}

async function schemaOf(source: Source, signal: AbortSignal): Promise<FoundSchema> {
  if (source.kind === "flight") return { header: await flightSchema(source, signal) };
  if (source.kind === "ucx") return { header: await streamSchema(source, signal) };
  await using file = await openFileSource(source.path, signal, { limits: source.limits, engine: source.engine });
  return { header: file.schemaHeader, footerMetadata: file.footerMetadata };
}

/** From the start of the stream. */
async function streamSchema({ uri, options }: UcxSource, signal: AbortSignal): Promise<MessageHeader> {
  const { connect } = await import("../../mod.ts");
  await using stream = await connect(uri, { ...options, signal });
  return stream.schemaHeader;
}

/** By GetSchema, so that the server prepares no data; by GetFlightInfo if the server lacks that. */
async function flightSchema(source: FlightServerSource, signal: AbortSignal): Promise<MessageHeader> {
  if (namesNoFlight(source)) throw await noFlightNamed("schema", source, signal);
  const { uri, options } = source;
  const { timeoutMs, limits } = options;
  const { path = parseFlightLocation(uri).path, command, ...call } = options.flight;
  const [{ FlightClient }, { readEncapsulatedSchema }] = await Promise.all([
    import("../../flight.ts"),
    import("../flight/schema_bytes.ts"),
  ]);
  const descriptor = command === undefined ? { path } : { command };
  return await withPeerCheck(uri, { signal }, async (signal) => {
    await using client = await FlightClient.connect(uri, { ...call, timeoutMs, limits, signal });
    const bytes = await client.getSchema(descriptor, { signal }).catch(async (error) => {
      if (asFailure(error).code !== "unsupported") throw error;
      return (await client.getFlightInfo(descriptor, { signal })).schema;
    }).catch(async (error) => {
      throw await withSqlHint(error, uri, call);
    });
    return readEncapsulatedSchema(bytes, limits);
  });
}
