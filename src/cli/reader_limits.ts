/**
 * The options of the commands for the limits of what a peer or a file can make them do.
 *
 * @module
 */
import type { ReaderLimits } from "../limits.ts";
import { integerOption, type ParsedArgs, size } from "./args.ts";

/** Options with a value: largest metadata and body of one message, most rows of one batch. */
export const LIMIT_VALUES = ["max-metadata", "max-body", "max-rows"] as const;

/** Their part of `--help`. */
export const LIMIT_OPTIONS = `Options for data that is larger than usual
  --max-metadata SIZE     longest schema, or metadata of a batch, in bytes, or with K, M, G (default 16M, which is about
                          250,000 columns)
  --max-body SIZE         longest data of one batch (default 4G)
  --max-rows N            most rows of one batch (default 2147483647)`;

/** The option that raises each limit. */
const OPTIONS: Readonly<Record<string, (typeof LIMIT_VALUES)[number]>> = {
  maxMetadataBytes: "max-metadata",
  maxBodyBytes: "max-body",
  maxRows: "max-rows",
};

/** The limits that a command line changes. @throws {UsageError} */
export function readerLimitsOf({ values }: ParsedArgs): Partial<ReaderLimits> {
  const limits: Partial<ReaderLimits> = {};
  const [metadata, body, rows] = LIMIT_VALUES.map((name) => values.get(name));
  if (metadata !== undefined) limits.maxMetadataBytes = size("--max-metadata", metadata);
  if (body !== undefined) limits.maxBodyBytes = size("--max-body", body);
  if (rows !== undefined) limits.maxRows = integerOption("--max-rows", rows, 1, Number.MAX_SAFE_INTEGER);
  return limits;
}

/** The message of an error about a limit, with the option that raises it. */
export function withLimitOption(message: string): string {
  const limit = Object.keys(OPTIONS).find((name) => new RegExp(`\\b${name}\\b`).test(message));
  return limit === undefined ? message : `${message}; the option for ${limit} is --${OPTIONS[limit]}`;
}
