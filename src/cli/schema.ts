/**
 * `dipc schema`: the columns of a dataset, without its rows.
 *
 * @module
 */
import { isFlightUri, parseFlightLocation } from "../flight/location.ts";
import type { MessageHeader } from "../ipc/message.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import { EXIT_INTERRUPTED, EXIT_OK } from "./exit_codes.ts";
import { asFailure } from "./failure.ts";
import { catchInterrupt } from "./interrupt.ts";
import { print } from "./output.ts";
import { connecting, requireForCommand } from "./permissions.ts";
import { schemaJson, schemaText } from "./schema_text.ts";
import { type Source, sourceOf } from "./source.ts";

/** Runs `dipc schema`. @returns exit status */
export async function runSchema(args: ParsedArgs): Promise<number> {
  const source = sourceOf(args, "schema");
  requireForCommand("schema", connecting(source.uri));
  using interrupt = catchInterrupt();
  const { describe } = await import("../ipc/describe.ts");
  try {
    const schema = describe(
      await (isFlightUri(source.uri) ? flightSchema : streamSchema)(source, interrupt.signal),
    );
    await print(args.flags.has("json") ? `${JSON.stringify(schemaJson(schema))}\n` : schemaText(schema));
    return EXIT_OK;
  } catch (error) {
    if (interrupt.caught === "SIGINT" && asFailure(error).code === "cancelled") return EXIT_INTERRUPTED;
    throw error;
  }
}

/** From the start of the stream. */
async function streamSchema({ uri, options }: Source, signal: AbortSignal): Promise<MessageHeader> {
  const { connect } = await import("../../mod.ts");
  await using stream = await connect(uri, { ...options, signal });
  return stream.schemaHeader;
}

/** By GetSchema, so that the server prepares no data; by GetFlightInfo if the server lacks that. */
async function flightSchema({ uri, options }: Source, signal: AbortSignal): Promise<MessageHeader> {
  const { path = parseFlightLocation(uri).path, command, ...call } = options.flight ?? {};
  if (command === undefined && path.length === 0) {
    throw new UsageError(`cannot show the schema: no flight is named; run dipc schema ${uri} NAME`);
  }
  const [{ FlightClient }, { readEncapsulatedSchema }] = await Promise.all([
    import("../../flight.ts"),
    import("../flight/schema_bytes.ts"),
  ]);
  await using client = await FlightClient.connect(uri, { ...call, timeoutMs: options.timeoutMs, signal });
  const descriptor = command === undefined ? { path } : { command };
  const bytes = await client.getSchema(descriptor, { signal }).catch(async (error) => {
    if (asFailure(error).code !== "unsupported") throw error;
    return (await client.getFlightInfo(descriptor, { signal })).schema;
  });
  return readEncapsulatedSchema(bytes);
}
