/**
 * The options and the `--help` text of each command. Nothing heavy is imported here, so that help is instant.
 *
 * @module
 */
import type { Command } from "./args.ts";
import { EXIT_CODES, exitCodes } from "./exit_codes.ts";
import { FORMAT_CHOICES } from "./format.ts";
import { FLIGHT_SERVE_VALUES, SQL_SERVE_VALUES } from "./flight_serving.ts";
import { LIMIT_OPTIONS, LIMIT_VALUES } from "./reader_limits.ts";
import {
  action,
  FLIGHT_FLAGS,
  FLIGHT_LISTS,
  FLIGHT_OPTIONS,
  FLIGHT_VALUES,
  LOCATION_FLAGS,
  LOCATION_OPTIONS,
  LOCATION_VALUES,
  ls,
  put,
} from "./flight_commands.ts";
import { gateway } from "./gateway_command.ts";
import { sql } from "./sql_command.ts";

const serve: Command = {
  name: "serve",
  summary: "serve files over UCX, and by Arrow Flight",
  flags: ["json", "help", "no-ucx", "share", "remote-keys", "sql"],
  values: [
    ...["address", "port", "metadata-port", "advertise", "isolates", "batch-rows", "engine", "memory", "staging"],
    ...["max-connections", "request-timeout", "idle-timeout"],
    ...FLIGHT_SERVE_VALUES,
    ...SQL_SERVE_VALUES,
    ...LIMIT_VALUES,
    "trace",
  ],
  former: ["road"],
  short: { h: "help" },
  help: `dipc serve [NAME=]PATH... [options]

Serves Arrow files, Arrow streams, Feather V2 and Parquet files, and prints one line per dataset with the URI to fetch
it by. "-" is an Arrow stream on standard input, which one client can fetch. The name of a dataset is the file's name
without its extension unless NAME= is given.

NAME='adbc:DRIVER?uri=URI&query=SQL' serves a query of a database by its ADBC driver, executed for each client;
NAME='duckdb:FILE?query=SQL' one of a database of DuckDB ("dipc setup duckdb"), read-only unless access_mode says
otherwise; without FILE one in memory. Other options of the database come before query, which is last and taken as it
stands; their values are percent-decoded.

Options
  --address ADDRESS    address to listen on (default 127.0.0.1, reachable from this machine only)
  --port PORT          port to listen on (default 0: any free one)
  --metadata-port P    a port of its own for metadata; every dataset then has two URIs
  --advertise HOST     host that the URIs name (default: the address)
  --isolates N         threads that hold the connections by UCX, each with a port of its own: P, P + 1, … (default 1);
                       every dataset then has N URIs, of which a client takes the first that can be used
  --batch-rows N       rows of a batch of a Parquet file (default 65536)
  --engine ENGINE      reader of Parquet files: auto, wasm, duckdb (default auto: DuckDB for large files if installed)
  --memory SPACE       host, or the memory of a GPU such as cuda:0: everything is read and copied there first
  --staging WHEN       copy bodies from a GPU through host memory: auto (only if needed), never, always (default auto)
  --share              let clients on this machine read the data in the server's memory instead of receiving it
  --remote-keys        with --share: also by UCX's remote keys, for clients that are not dipc; whoever reaches the port
                       can then read and write all memory of this process
  --max-connections N  clients at the same time, by UCX and by Flight each; others hear that it is busy (default 256)
  --request-timeout T  longest wait for the request of a client that has connected (default 5s, by Flight 4s)
  --idle-timeout T     ends a stream whose client accepts nothing for so long (default 10m, by Flight 5m)
  --flight-port P      serve by Arrow Flight too, which hands out the URIs (0: any free port)
  --tls-cert FILE      of Flight: the server's certificate in PEM, with --tls-key FILE; the scheme is grpc+tls then
  --client-ca FILE     of Flight: accepts only clients with a certificate of this authority
  --auth-file FILE     of Flight: who may connect, NAME:PASSWORD or "token NAME:TOKEN" per line; UCX then needs tickets
  --allow-put FOLDER   of Flight: accepts uploads into this folder and serves them
  --put-into DATABASE  of Flight: writes uploads into tables of a database, 'adbc:DRIVER?uri=URI', by their names; with
                       &mode=append, create or replace, otherwise into a table that is there or a new one
  --max-batch SIZE     of Flight: cuts longer batches, so that clients take them; "none" leaves them as they are
                       (default 4M for Parquet files without --batch-rows, 2G for others)
  --sql                of Flight: answers Flight SQL, with each dataset as a table; by DuckDB ("dipc setup duckdb")
  --sql-write FOLDER   of SQL: clients may create and change tables, which are kept in this folder
  --sql-memory SIZE    of SQL: most memory of all queries, such as 4G (default 80 % of the machine's)
  --sql-timeout TIME   of SQL: longest time of one statement (default 5m)
  --sql-rows N         of SQL: most rows of one result (default: as many as there are)
  --no-ucx             serve by Flight alone
  --trace FILE         write a trace of what happens when, for Perfetto
  --json               one JSON object as the first line: {"pid","address","port","datasets":[{"name","uris":[...]}]},
                       and "flight" with --flight-port
  -h, --help           this text

${LIMIT_OPTIONS}

Ctrl-C or SIGTERM stops the server once running streams have ended, after 10 s at the latest; a second Ctrl-C at once.
Exit status 0 after SIGTERM.

Examples
  dipc serve trips.arrow
  dipc serve trips=data/2024.parquet zones.arrows --port 13337
  arrow-producer | dipc serve live=- --json
  dipc serve q='adbc:adbc_driver_postgresql?uri=postgresql://localhost/db&query=select * from trips'
  dipc serve q='duckdb:trips.duckdb?query=from trips where fare > 100'
  dipc serve trips.arrow --flight-port 8815 --auth-file users.txt
  dipc serve trips.parquet flights.arrow --flight-port 8815 --sql

${EXIT_CODES}
`,
};

const get: Command = {
  name: "get",
  summary: "fetch a dataset or read a file, show it or write it to a file",
  flags: ["json", "help", "remote-keys", ...FLIGHT_FLAGS, ...LOCATION_FLAGS],
  values: [
    ...["body-uri", "output", "format", "limit", "timeout", "memory", "staging", "route", "command", "engine"],
    ...FLIGHT_VALUES,
    ...LOCATION_VALUES,
    ...LIMIT_VALUES,
    "trace",
  ],
  former: ["road", "via"],
  lists: FLIGHT_LISTS,
  short: { o: "output", h: "help" },
  help: `dipc get URI [TICKET] [options]
dipc get FILE [options]

Fetches a dataset, from a ucx: URI or from a Flight server (grpc:, grpc+tls:, grpc+unix:). Without -o it shows schema,
first rows (10, or those of --limit), totals and rate. TICKET says what to fetch if that is not the path of the URI; of
a Flight server it is the name of a flight, one step of a path. FILE is an Arrow file, an Arrow stream ("-" on standard
input), a Feather V2 or a Parquet file, which is read without a server; or a query of a database,
'adbc:DRIVER?uri=URI&query=SQL' or 'duckdb:FILE?query=SQL', as dipc serve takes it.

Options
  --body-uri URI     the server of the bodies, if URI is that of the metadata alone
  -o, --output FILE  write to FILE, which appears only when it is complete; "-" is standard output
  --format FORMAT    ${FORMAT_CHOICES}
                     (default: by the extension of FILE; arrows for "-")
  --limit N          stop after N rows
  --engine ENGINE    reader of a Parquet FILE: auto, wasm, duckdb (default auto: DuckDB for a large file if installed);
                     duckdb also writes -o FILE.parquet, if it writes the same
  --route ROUTE      of a Flight server: ucx, flight (gRPC), or auto: ucx if possible (default auto)
  --command TEXT     of a Flight server: a command of its own form instead of a path
  --timeout TIME     longest wait for the peer, not the total (default 30s); seconds without a unit; ms, s, m, h
  --remote-keys      read in the server's memory by UCX's remote keys if it lends that so; it can then read and write
                     all memory of this process
  --memory SPACE     host, or the memory of a GPU such as cuda:0; for FILE the data is copied back from there
  --staging WHEN     copy bodies to a GPU through host memory: auto (only if needed), never, always (default auto)
  --trace FILE       write a trace of what happens when, for Perfetto
  --json             one JSON object with the totals, on failure too (on standard error with "-o -")
  -h, --help         this text

${FLIGHT_OPTIONS}

${LOCATION_OPTIONS}

${LIMIT_OPTIONS}

Examples
  dipc get 'ucx://127.0.0.1:13337/trips?want_data=…'
  dipc get grpc://127.0.0.1:8815 trips -o trips.parquet
  dipc get "$URI" -o trips.parquet
  dipc get "$URI" -o - --format csv --limit 1000 | head
  dipc get "$METADATA_URI" --body-uri "$BODY_URI" -o trips.arrows --json
  dipc get trips.parquet -o trips.csv
  dipc get 'adbc:adbc_driver_sqlite?uri=trips.db&query=select * from trips' -o trips.parquet

${exitCodes("the whole stream arrived, or --limit was reached")}
`,
};

const query: Command = {
  name: "query",
  summary: "run SQL over a dataset or a file, as it arrives",
  flags: ["json", "help", "remote-keys", ...FLIGHT_FLAGS, ...LOCATION_FLAGS],
  values: [
    ...["body-uri", "output", "format", "limit", "timeout", "route", "command", "engine"],
    ...FLIGHT_VALUES,
    ...LOCATION_VALUES,
    ...LIMIT_VALUES,
    "trace",
  ],
  lists: FLIGHT_LISTS,
  short: { o: "output", h: "help" },
  help: `dipc query URI [TICKET] SQL [options]
dipc query FILE SQL [options]

Has DuckDB execute a query in this process over what "dipc get" would fetch, which is the table t. The data is read as
it arrives, once, and is not kept: memory stays bounded if the query allows it. To read it more than once, write it into
a table first: "create temp table x as from t; select …". Needs "dipc setup duckdb". URI, TICKET and FILE are those of
dipc get, queries of databases included.

Options
  --body-uri URI     the server of the bodies, if URI is that of the metadata alone
  -o, --output FILE  write to FILE, which appears only when it is complete; "-" is standard output
  --format FORMAT    ${FORMAT_CHOICES}
                     (default: by the extension of FILE; arrows for "-")
  --limit N          stop after N rows of the result
  --engine ENGINE    reader of a Parquet FILE: auto, wasm, duckdb; duckdb also writes -o FILE.parquet, if the same
  --route ROUTE      of a Flight server: ucx, flight (gRPC), or auto: ucx if possible (default auto)
  --command TEXT     of a Flight server: a command of its own form instead of a path
  --timeout TIME     longest wait for the peer, not the total (default 30s); seconds without a unit; ms, s, m, h
  --remote-keys      read in the server's memory by UCX's remote keys if it lends that so; it can then read and write
                     all memory of this process
  --trace FILE       write a trace of what happens when, for Perfetto
  --json             one JSON object with the totals of the result, on failure too (on standard error with "-o -")
  -h, --help         this text

${FLIGHT_OPTIONS}

${LOCATION_OPTIONS}

${LIMIT_OPTIONS}

Examples
  dipc query "$URI" 'select count(*) from t'
  dipc query grpc://127.0.0.1:8815 trips 'select city, sum(fare) from t group by city order by 2 desc'
  dipc query trips.parquet 'from t where fare > 100' -o expensive.parquet

${exitCodes("the whole result arrived, or --limit was reached")}
`,
};

const schema: Command = {
  name: "schema",
  summary: "show the schema of a dataset",
  flags: ["json", "help", ...FLIGHT_FLAGS],
  values: ["body-uri", "timeout", "command", "engine", ...FLIGHT_VALUES, ...LIMIT_VALUES],
  lists: FLIGHT_LISTS,
  short: { h: "help" },
  help: `dipc schema URI [TICKET] [options]
dipc schema FILE [options]

Shows the columns of a dataset without fetching its rows, or those of a file or of a query of a database.

Options
  --body-uri URI     the server of the bodies, if URI is that of the metadata alone
  --command TEXT     of a Flight server: a command of its own form instead of a path
  --timeout TIME     longest wait for the peer (default 30s); seconds without a unit; ms, s, m, h
  --engine ENGINE    reader of a Parquet FILE: auto, wasm, duckdb, which refuses what it would read otherwise
  --json             one JSON object: {"fields":[{"name","type","nullable",...}],"metadata":{...}}
  -h, --help         this text

${FLIGHT_OPTIONS}

${LIMIT_OPTIONS}

Examples
  dipc schema 'ucx://127.0.0.1:13337/trips?want_data=…'
  dipc schema grpc://127.0.0.1:8815 trips
  dipc schema trips.parquet
  dipc schema "$URI" --json | jq -r '.fields[].name'

${EXIT_CODES}
`,
};

const setup: Command = {
  name: "setup",
  summary: "find libucp or DuckDB, or fetch a copy into the user's cache",
  flags: ["json", "help"],
  values: [],
  short: { h: "help" },
  help: `dipc setup [--json]
dipc setup duckdb [--json]

Finds UCX, or fetches it: the PyPI package libucx-cu12 by the machine's own pip, checked by SHA-256, into the user's
cache folder. Needs no root. Says what it chose and why; does nothing if there is nothing to do.

"dipc setup duckdb" does the same with DuckDB, which only duckdb: sources and "dipc query" need: the package of npm that
has libduckdb.so, checked by SHA-512 (about 24 MB). DIPC_LIBDUCKDB names another libduckdb.so.

Options
  --json      one JSON object with what was found
  -h, --help  this text

Examples
  dipc setup
  dipc setup duckdb
  DIPC_LIBUCP=/opt/ucx/lib/libucp.so.0 dipc setup

${EXIT_CODES}
`,
};

const doctor: Command = {
  name: "doctor",
  summary: "check libucp, permissions and transports",
  flags: ["json", "help"],
  values: [],
  short: { h: "help" },
  help: `dipc doctor [--json]

Says which libucp was found and why, its version, the permissions and settings that matter, and moves data from this
process to itself: transports and GB/s, and whether clients can read in shared memory. For GPUs: driver, devices,
whether UCX sees their memory, whether bodies are staged through host memory, and speed of copies. Exit status 1 if
something is broken; having no GPU is not a fault, nor is having no libduckdb.

Options
  --json      one JSON object
  -h, --help  this text

Example
  dipc doctor

${EXIT_CODES}
`,
};

const bench: Command = {
  name: "bench",
  summary: "measure speed next to other tools",
  flags: ["json", "quick", "help"],
  values: [],
  short: { h: "help" },
  help: `dipc bench [--json] [--quick]

Measures dipc next to ucx_perftest, Arrow Flight and others in the same run. Works in a clone of the repository.

Options
  --quick     less data and fewer rounds: under 50 s
  --json      one JSON object: {"results":[{"name","unit","ours","peer","peerName","ratio","min","max"}]}
  -h, --help  this text

Example
  dipc bench --quick

${EXIT_CODES}
`,
};

/** Every command, in the order of the help. */
export const commands: readonly Command[] = [
  ...[serve, gateway, get, query, sql, schema, ls, put, action, setup, doctor, bench],
];

/** Text of `dipc --help`. */
export const overview = `dipc moves Apache Arrow data between processes over UCX, and by Arrow Flight.

Usage
  dipc COMMAND [options]

Commands
${commands.map(({ name, summary }) => `  ${name.padEnd(8)} ${summary}`).join("\n")}

Options
  -h, --help     this text; "dipc COMMAND --help" explains a command
  -V, --version  versions of dipc and Deno

Examples
  dipc serve trips.arrow          prints ucx://127.0.0.1:PORT/trips?want_data=...
  dipc get URI                    shows schema, first rows, totals and rate
  dipc get URI -o trips.parquet   writes a file

${EXIT_CODES}
`;
