/**
 * The options and the `--help` text of `dipc sql`.
 *
 * @module
 */
import type { Command } from "./args.ts";
import { exitCodes } from "./exit_codes.ts";
import {
  FLIGHT_FLAGS,
  FLIGHT_LISTS,
  FLIGHT_OPTIONS,
  FLIGHT_VALUES,
  LOCATION_FLAGS,
  LOCATION_OPTIONS,
  LOCATION_VALUES,
} from "./flight_commands.ts";
import { FORMAT_CHOICES } from "./format.ts";
import { LIMIT_OPTIONS, LIMIT_VALUES } from "./reader_limits.ts";

/** `dipc sql`. */
export const sql: Command = {
  name: "sql",
  summary: "run SQL at a Flight SQL server",
  flags: ["json", "help", "tables", "explain", "update", ...FLIGHT_FLAGS, ...LOCATION_FLAGS],
  values: [
    ...["file", "output", "format", "limit", "timeout", "route", "describe", "ingest", "table", "mode", "max-batch"],
    ...FLIGHT_VALUES,
    ...LOCATION_VALUES,
    ...LIMIT_VALUES,
    "trace",
  ],
  lists: ["param", ...FLIGHT_LISTS],
  short: { o: "output", f: "file", h: "help" },
  help: `dipc sql URI STATEMENT [options]
dipc sql URI --file FILE [options]
dipc sql URI --tables | --describe TABLE | --ingest FILE --table TABLE [options]

Has a Flight SQL server execute a statement, and shows its rows, or writes them. On a terminal no more rows are fetched
than are shown (10, or those of --limit). A statement that changes rows, such as insert or create, prints how many.
STATEMENT "-" is read from standard input.

Options
  -f, --file FILE    the statement is the content of FILE; "-" is standard input
  --param V          value of the next parameter ("?" or "$1"); may be given several times. null is NULL; true, false
                     and numbers are such; everything else, and what is in 'single quotes', is text
  -o, --output FILE  write to FILE, which appears only when it is complete; "-" is standard output
  --format FORMAT    ${FORMAT_CHOICES}
                     (default: by the extension of FILE; arrows for "-")
  --limit N          stop after N rows
  --update           the statement changes rows, whatever it begins with
  --explain          show the server's plan of the statement instead, if the server explains
  --tables           list the tables
  --describe TABLE   show the columns of a table
  --ingest FILE      write the rows of an Arrow or Parquet file into a table; "-" is an Arrow stream on standard input
  --table TABLE      the table for --ingest
  --mode MODE        of --ingest: create (default), append, replace, create_append
  --max-batch SIZE   of --ingest: cuts longer batches, so that the server takes them (default 4M for a Parquet file)
  --route ROUTE      ucx, flight (gRPC), or auto: ucx if possible (default auto)
  --timeout TIME     longest wait for the server (default 30s to connect, 10m for a statement)
  --trace FILE       write a trace of what happens when, for Perfetto
  --json             one JSON object with the totals, on failure too (on standard error with "-o -"); for changes
                     {"rows"}, --ingest {"rows","warnings"}, --tables {"tables":[{"catalog","dbSchema","name","type"}]},
                     --describe as "dipc schema"
  -h, --help         this text

${FLIGHT_OPTIONS}

${LOCATION_OPTIONS}

${LIMIT_OPTIONS}

Examples
  dipc sql grpc://127.0.0.1:31337 'select * from trips where fare > 100'
  dipc sql grpc://127.0.0.1:31337 'select * from trips where city = ?' --param Lyon -o lyon.parquet
  dipc sql grpc://127.0.0.1:31337 --tables
  dipc sql grpc://127.0.0.1:31337 --ingest trips.parquet --table trips

${exitCodes("the whole result arrived, or --limit was reached")}
`,
};
