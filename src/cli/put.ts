/**
 * `dipc put`: uploads a file to a Flight server.
 *
 * @module
 */
import type { FlightDescriptorInit } from "../../flight.ts";
import { parseFlightLocation } from "../flight/location.ts";
import type { Dataset, MessageStream } from "../sources/dataset.ts";
import { printable } from "../text.ts";
import { engineOf } from "./engine.ts";
import { integerOption, type ParsedArgs, UsageError } from "./args.ts";
import { flightUri } from "./flight_options.ts";
import { withFlightClient } from "./flight_session.ts";
import { countOf, formatBytes, formatRate, formatSeconds } from "./numbers.ts";
import { print } from "./output.ts";
import { readerLimitsOf } from "./reader_limits.ts";
import { connecting, NATIVE, reading, requireForCommand } from "./permissions.ts";
import { defaultName } from "./serve.ts";
import { Warnings } from "./warnings.ts";
import { textOrBase64 } from "./wire_text.ts";

/** Runs `dipc put`. @returns exit status */
export async function runPut(args: ParsedArgs): Promise<number> {
  const [file, given, name, ...more] = args.positional;
  if (file === undefined) {
    throw new UsageError(
      "cannot run dipc put: it needs a file and the URI of a Flight server; give both: dipc put FILE URI",
    );
  }
  const uri = flightUri(given, "put");
  if (more.length > 0) {
    throw new UsageError(`cannot run dipc put: it takes a file, a URI and a name, but was also given "${more[0]}"`);
  }
  const descriptor = descriptorOf(args, uri, name, file);
  const rowsText = args.values.get("batch-rows");
  const batchRows = rowsText === undefined ? undefined : integerOption("--batch-rows", rowsText, 1, 2 ** 31 - 1);
  const engine = engineOf(args);
  requireForCommand("put", [...NATIVE, ...reading(file === "-" ? [] : [file]), ...connecting(uri)]);
  const { openPath } = await import("../../mod.ts");
  const warnings = new Warnings();
  const { onWarning } = warnings;
  const dataset = await openPath(file, { batchRows, engine, follow: false, limits: readerLimitsOf(args), onWarning });
  try {
    return await withFlightClient("put", uri, args, async (client, signal) => {
      const started = performance.now();
      const totals = { rows: 0, batches: 0, bodyBytes: 0 };
      const results = await client.put(descriptor, counted(dataset, totals), { signal });
      await warnings.print();
      const seconds = (performance.now() - started) / 1000;
      const bytesPerSecond = seconds > 0 ? totals.bodyBytes / seconds : 0;
      if (args.flags.has("json")) {
        const answers = results.filter(({ byteLength }) => byteLength > 0).map(textOrBase64);
        await print(
          `${JSON.stringify({ ...totals, seconds, bytesPerSecond, warnings: warnings.texts, results: answers })}\n`,
        );
      } else {
        const what = `${countOf(totals.rows, "row")} in ${countOf(totals.batches, "batch", "batches")}`;
        const rate = `${formatSeconds(seconds)}, ${formatRate(bytesPerSecond)}`;
        await print(`${printable(file)}: ${what}, ${formatBytes(totals.bodyBytes)} in ${rate}\n`);
      }
    });
  } finally {
    await dataset.close();
  }
}

function descriptorOf(args: ParsedArgs, uri: string, name: string | undefined, file: string): FlightDescriptorInit {
  const command = args.values.get("command");
  if (command !== undefined) {
    if (name !== undefined) {
      throw new UsageError(`cannot use --command: it and the name "${name}" exclude each other; give one`);
    }
    return { command };
  }
  if (name !== undefined) return { path: name };
  const { path } = parseFlightLocation(uri);
  return { path: path.length > 0 ? path : defaultName(file) };
}

/** The dataset, with what is sent of it counted. */
function counted(dataset: Dataset, totals: { rows: number; batches: number; bodyBytes: number }): Dataset {
  return {
    get schema() {
      return dataset.schema;
    },
    readOnce: dataset.readOnce,
    hasFreeBatches: dataset.hasFreeBatches,
    bodyBytes: dataset.bodyBytes,
    largestBodyBytes: dataset.largestBodyBytes,
    async open(options): Promise<MessageStream> {
      const run = await dataset.open(options);
      // What was read before, only to look at it, was not sent.
      Object.assign(totals, { rows: 0, batches: 0, bodyBytes: 0 });
      return {
        schema: run.schema,
        async next() {
          const message = await run.next();
          if (message?.header.kind === "batch") {
            totals.rows += message.header.rows;
            totals.batches++;
          }
          totals.bodyBytes += message?.header.bodyLength ?? 0;
          return message;
        },
        close: () => run.close(),
      };
    },
    close: () => dataset.close(),
  };
}
