/**
 * `dipc schema`: the columns of a dataset, without its rows.
 *
 * @module
 */
import type { ParsedArgs } from "./args.ts";
import { asFailure, EXIT_INTERRUPTED, EXIT_OK } from "./failure.ts";
import { catchInterrupt } from "./interrupt.ts";
import { print } from "./output.ts";
import { schemaJson, schemaText } from "./schema_text.ts";
import { sourceOf } from "./source.ts";

/** Runs `dipc schema`. @returns exit status */
export async function runSchema(args: ParsedArgs): Promise<number> {
  const source = sourceOf(args, "schema");
  using interrupt = catchInterrupt();
  const [{ connect }, { describe }] = await Promise.all([import("../../mod.ts"), import("../ipc/describe.ts")]);
  try {
    await using stream = await connect(source.uri, { ...source.options, signal: interrupt.signal });
    const schema = describe(stream.schemaHeader);
    await print(args.flags.has("json") ? `${JSON.stringify(schemaJson(schema))}\n` : schemaText(schema));
    await stream.cancel();
    return EXIT_OK;
  } catch (error) {
    if (interrupt.caught === "SIGINT" && asFailure(error).code === "cancelled") return EXIT_INTERRUPTED;
    throw error;
  }
}
