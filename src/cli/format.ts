/**
 * Finds the output format from `--format` or the name of a file.
 *
 * @module
 */
import { OUTPUT_FORMATS, type OutputFormat } from "../formats/registry.ts";
import { UsageError } from "./args.ts";
import { nearest } from "./nearest.ts";

/** The choices of `--format`, as the help lists them. */
export const FORMAT_CHOICES: string = joined(
  OUTPUT_FORMATS.map(({ name, meaning }) => meaning === null ? name : `${name} (${meaning})`),
);

/** The formats that a terminal can show, as options. */
export const TEXT_FORMAT_OPTIONS: string = joined(
  OUTPUT_FORMATS.filter(({ isText }) => isText).map(({ name }) => `--format ${name}`),
);

function joined(choices: readonly string[]): string {
  return `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}

/**
 * The format of an output.
 *
 * @param output Path, or `-` for standard output, which is an Arrow stream unless `named` says otherwise
 * @param named Value of `--format`
 * @throws {UsageError} for an unknown format, or an extension that belongs to none
 */
export function formatOf(output: string, named: string | undefined): OutputFormat {
  if (named !== undefined) {
    const format = OUTPUT_FORMATS.find(({ name }) => name === named);
    if (format !== undefined) return format;
    const names = OUTPUT_FORMATS.map(({ name }) => name);
    const guess = nearest(named, names);
    throw new UsageError(
      `cannot use --format ${named}: there is no such format; ${
        guess === undefined ? `use ${names.join(", ")}` : `did you mean ${guess}?`
      }`,
    );
  }
  if (output === "-") return OUTPUT_FORMATS[0];
  const extension = /\.([^./]+)$/.exec(output)?.[1].toLowerCase();
  const format = OUTPUT_FORMATS.find(({ extensions }) => extension !== undefined && extensions.includes(extension));
  if (format !== undefined) return format;
  const usual = OUTPUT_FORMATS.map(({ extensions }) => `.${extensions[0]}`);
  throw new UsageError(
    `cannot choose a format for ${output}: its name has no known extension; use one of ${
      usual.join(", ")
    }, or give --format`,
  );
}
