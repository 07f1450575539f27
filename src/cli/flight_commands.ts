/**
 * The options and `--help` texts of the commands for Flight servers.
 *
 * @module
 */
import type { Command } from "./args.ts";
import { EXIT_CODES } from "./exit_codes.ts";
import { LIMIT_OPTIONS, LIMIT_VALUES } from "./reader_limits.ts";

/** Options with a value that every command with a Flight server has. */
export const FLIGHT_VALUES = [
  ...["token-file", "user", "tls-ca", "tls-cert", "tls-key", "tls-server-name", "max-message"],
] as const;
/** Those that may be given several times. */
export const FLIGHT_LISTS = ["header"] as const;
/** Those without a value. */
export const FLIGHT_FLAGS = ["tls-skip-verify", "no-cookies"] as const;

/** Options with a value for the locations of a flight, which `dipc get` alone follows. */
export const LOCATION_VALUES = ["parallel-endpoints", "ucx-timeout", "location-timeout"] as const;
/** Those without a value. */
export const LOCATION_FLAGS = ["trust-locations"] as const;

/** Their part of `--help`. */
export const FLIGHT_OPTIONS = `Options for a Flight server
  --header K=V            a header of every call; may be given several times
  --token-file FILE       a bearer token, the content of FILE
  --user NAME:PASS        basic authentication; without ":PASS" the variable DIPC_PASSWORD has the password
  --no-cookies            does not send the server's cookies back
  --tls-ca FILE           authorities that the server's certificate is checked against (PEM), with grpc+tls:
  --tls-cert FILE         certificate of this client (PEM), for servers that require one
  --tls-key FILE          the key of that certificate (PEM)
  --tls-server-name NAME  name that the server's certificate must have (default: the host of the URI)
  --tls-skip-verify       accepts any certificate, and therefore any server
  --max-message SIZE      longest answer that is not Arrow data, in bytes, or with K, M, G (default 2G)`;

/** The part of `--help` about the locations of a flight. */
export const LOCATION_OPTIONS = `Options for the locations that a Flight server names
  --trust-locations       sends headers, cookies and credentials to other hosts too, and without TLS if so named
  --location-timeout TIME longest wait for the connection to one, before the next is tried (default 5s)
  --ucx-timeout TIME      longest wait for those of UCX, before gRPC is used (default 1500ms)
  --parallel-endpoints N  parts of a flight that are read concurrently (default 4)`;

/** `dipc ls`. */
export const ls: Command = {
  name: "ls",
  summary: "list the flights of a Flight server",
  flags: ["json", "help", ...FLIGHT_FLAGS],
  values: ["timeout", ...FLIGHT_VALUES],
  lists: FLIGHT_LISTS,
  short: { h: "help" },
  help: `dipc ls URI [CRITERIA] [options]

Lists the flights of a Flight server, one per line: name, rows, bytes, endpoints. CRITERIA is an expression of the
server's own form.

Options
  --timeout TIME     longest wait for the server (default 30s); seconds without a unit; ms, s, m, h
  --json             one JSON object: {"flights":[{"path","rows","bytes","endpoints":[{"locations",...}],...}]}
  -h, --help         this text

${FLIGHT_OPTIONS}

Examples
  dipc ls grpc://127.0.0.1:8815
  dipc ls grpc+tls://flights.example:443 --tls-ca ca.pem --token-file token --json

${EXIT_CODES}
`,
};

/** `dipc put`. */
export const put: Command = {
  name: "put",
  summary: "upload a file to a Flight server",
  flags: ["json", "help", ...FLIGHT_FLAGS],
  values: ["command", "batch-rows", "engine", "max-batch", "timeout", "trace", ...FLIGHT_VALUES, ...LIMIT_VALUES],
  lists: FLIGHT_LISTS,
  short: { h: "help" },
  help: `dipc put FILE URI [NAME] [options]

Uploads an Arrow file, an Arrow stream, a Feather V2 or a Parquet file to a Flight server. "-" is an Arrow stream on
standard input. NAME is the name of the flight there (default: the path of the URI, or the file's name without its
extension).

Options
  --command TEXT     uploads to a command of the server's own form instead of a path
  --batch-rows N     rows of a batch of a Parquet file (default 65536)
  --engine ENGINE    reader of a Parquet file: auto, wasm, duckdb (default auto: DuckDB for a large file if installed)
  --max-batch SIZE   cuts longer batches, so that the server takes them; "none" leaves them as they are
                     (default 4M for a Parquet file without --batch-rows, 2G for others)
  --timeout TIME     longest wait for the server, not the total (default 30s); seconds without a unit; ms, s, m, h
  --trace FILE       write a trace of what happens when, for Perfetto
  --json             one JSON object: {"rows","batches","bodyBytes","seconds","bytesPerSecond","warnings",
                     "results":[...]}
  -h, --help         this text

${FLIGHT_OPTIONS}

${LIMIT_OPTIONS}

Examples
  dipc put trips.parquet grpc://127.0.0.1:8815
  arrow-producer | dipc put - grpc://127.0.0.1:8815 live --json

${EXIT_CODES}
`,
};

/** `dipc action`. */
export const action: Command = {
  name: "action",
  summary: "list or run the actions of a Flight server",
  flags: ["json", "help", ...FLIGHT_FLAGS],
  values: ["timeout", ...FLIGHT_VALUES],
  lists: FLIGHT_LISTS,
  short: { h: "help" },
  help: `dipc action URI [TYPE [BODY]] [options]

Runs an action of a Flight server and prints its results, one per line: text as it is, other bytes as base64. Without
TYPE it lists the actions that the server offers.

Options
  --timeout TIME     longest wait for the server (default 30s); seconds without a unit; ms, s, m, h
  --json             one JSON object: {"results":[{"text"} or {"base64"},...]} or {"actions":[{"type","description"}]}
  -h, --help         this text

${FLIGHT_OPTIONS}

Examples
  dipc action grpc://127.0.0.1:8815
  dipc action grpc://127.0.0.1:8815 healthcheck

${EXIT_CODES}
`,
};
