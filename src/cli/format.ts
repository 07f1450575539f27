/**
 * Output formats and how a file's name tells them.
 *
 * @module
 */
import { UsageError } from "./args.ts";
import { nearest } from "./nearest.ts";

/** An output format. */
export type Format = "arrows" | "arrow" | "parquet" | "csv" | "ndjson";

/** Every output format. */
export const FORMATS: readonly Format[] = ["arrows", "arrow", "parquet", "csv", "ndjson"];

/** Whether a format is nothing for a terminal. */
export function isBinary(format: Format): boolean {
  return format !== "csv" && format !== "ndjson";
}

const EXTENSIONS: Readonly<Record<string, Format>> = {
  arrows: "arrows",
  stream: "arrows",
  arrow: "arrow",
  arrow_file: "arrow",
  feather: "arrow",
  ipc: "arrow",
  parquet: "parquet",
  csv: "csv",
  ndjson: "ndjson",
  jsonl: "ndjson",
};

/**
 * The format of an output.
 *
 * @param output Path, or `-` for standard output, which is an Arrow stream unless `named` says otherwise
 * @param named Value of `--format`
 * @throws {UsageError} for an unknown format, or an extension that tells none
 */
export function formatOf(output: string, named: string | undefined): Format {
  if (named !== undefined) {
    const format = FORMATS.find((each) => each === named);
    if (format !== undefined) return format;
    const guess = nearest(named, FORMATS);
    throw new UsageError(
      `--format ${named} is not known: ${guess === undefined ? `use ${FORMATS.join(", ")}` : `did you mean ${guess}?`}`,
    );
  }
  if (output === "-") return "arrows";
  const extension = /\.([^./]+)$/.exec(output)?.[1].toLowerCase();
  const format = extension === undefined || !Object.hasOwn(EXTENSIONS, extension) ? undefined : EXTENSIONS[extension];
  if (format !== undefined) return format;
  throw new UsageError(
    `the name ${output} does not tell the format: give it one of the extensions .arrows, .arrow, .parquet, .csv, ` +
      `.ndjson, or say --format`,
  );
}
