/**
 * A file, an Arrow stream on standard input, or a query of a database, as a source of `get` and `schema`: read without a server.
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { flightUriFor } from "../flight/location.ts";
import type { IpcMessage } from "../ipc/message.ts";
import { isGranted } from "../permissions.ts";
import type { Dataset } from "../sources/dataset.ts";
import type { OpenPathOptions } from "../sources/open_path.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import type { MessageSource, SourceStats } from "./device.ts";
import { openQuery, queryScheme } from "./query_source.ts";
import { LIMIT_VALUES } from "./reader_limits.ts";

/** Options that a file leaves with a use; all others are for a server. */
const FILE_OPTIONS: readonly string[] = [
  "output",
  "format",
  "limit",
  "engine",
  "json",
  "trace",
  "help",
  ...LIMIT_VALUES,
];

/**
 * Whether an argument is a path rather than a URI.
 *
 * @throws {DipcError} `invalid_uri` if it is neither a URI nor the path of something that exists
 */
export function isPath(text: string): boolean {
  if (text === "-" || queryScheme(text) !== null) return true;
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(text)) return /^file:/i.test(text);
  if (exists(text)) return true;
  if (flightUriFor(text) !== null) return false;
  throw new DipcError(
    "invalid_uri",
    `cannot use ${
      JSON.stringify(text)
    }: it is neither a URI nor a file that exists; give a file, or what "dipc serve" ` +
      "prints, such as ucx://HOST:PORT/NAME?want_data=N",
  );
}

/** The path of an argument that {@linkcode isPath}. */
export function pathOf(text: string): string {
  return /^file:\/\//i.test(text) ? decodeURIComponent(new URL(text).pathname) : text;
}

/** Files that a source of {@linkcode isPath} reads. */
export function filesOf(path: string): string[] {
  return path === "-" || queryScheme(path) !== null ? [] : [path];
}

/** True if that may not be looked at: then the permission is requested later, and the path opened. */
function exists(path: string): boolean {
  if (!isGranted({ name: "read", path })) return true;
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory);
  }
}

/** Rejects what a file leaves without use. @throws {UsageError} */
export function refuseServerOptions({ positional, values, lists, flags }: ParsedArgs): void {
  const [path, ticket] = positional;
  const given = [...values.keys(), ...lists.keys(), ...flags].find((name) => !FILE_OPTIONS.includes(name));
  if (ticket === undefined && given === undefined) return;
  const what = given === undefined ? `the ticket "${ticket}"` : `--${given}`;
  throw new UsageError(`cannot use ${what}: it is for a server, and ${path} is read as a file; leave it out`);
}

/**
 * Opens a file or a query as a source of messages.
 *
 * @param options Limits, the engine, and `onWarning`, which is called while a file is read
 * @throws {DipcError} as `openPath` and `openDatabase` do
 */
export async function openFileSource(
  path: string,
  signal: AbortSignal,
  options: OpenPathOptions,
): Promise<MessageSource> {
  if (queryScheme(path) !== null) return new FileSource(await openQuery(path), "read from a database", signal);
  const { openPath } = await import("../../mod.ts");
  const dataset = await openPath(path, { ...options, follow: false });
  const reader = dataset.engine?.name === "duckdb" ? " by DuckDB" : "";
  return new FileSource(dataset, `read from a file${reader}`, signal);
}

class FileSource implements MessageSource {
  readonly #dataset: Dataset;
  readonly #reason: string;
  readonly #signal: AbortSignal;
  readonly #startedMs = performance.now();
  #endedMs = 0;
  #firstBatchMs = 0;
  readonly #counts = { rows: 0, batches: 0, dictionaries: 0, bodyBytes: 0, metadataBytes: 0 };
  #isComplete = false;

  constructor(dataset: Dataset, reason: string, signal: AbortSignal) {
    this.#dataset = dataset;
    this.#reason = reason;
    this.#signal = signal;
  }

  get schemaHeader(): Dataset["schema"] {
    return this.#dataset.schema;
  }

  get footerMetadata(): Dataset["footerMetadata"] {
    return this.#dataset.footerMetadata;
  }

  get stats(): SourceStats {
    const seconds = ((this.#endedMs || performance.now()) - this.#startedMs) / 1000;
    return {
      ...this.#counts,
      seconds,
      bytesPerSecond: seconds > 0 ? this.#counts.bodyBytes / seconds : 0,
      firstBatchSeconds: this.#firstBatchMs === 0 ? null : (this.#firstBatchMs - this.#startedMs) / 1000,
      transports: [],
      transportsReason: "",
      route: null,
      routeReason: this.#reason,
      ...(this.#dataset.engine === undefined
        ? {}
        : { engine: this.#dataset.engine.name, engineReason: this.#dataset.engine.reason }),
      endpoints: [],
      sharedBytes: 0,
      sharingReason: null,
      complete: this.#isComplete,
    };
  }

  async *messages(): AsyncGenerator<IpcMessage, undefined> {
    const run = await this.#dataset.open({ signal: this.#signal });
    try {
      for (;;) {
        const message = await run.next();
        if (message === null) break;
        this.#count(message);
        yield message;
      }
      this.#isComplete = true;
    } finally {
      this.#endedMs ||= performance.now();
      await run.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#endedMs ||= performance.now();
    await this.#dataset.close();
  }

  #count({ header }: IpcMessage): void {
    this.#counts.bodyBytes += header.bodyLength;
    this.#counts.metadataBytes += header.bytes.byteLength;
    if (header.kind === "batch") {
      this.#counts.rows += header.rows;
      this.#counts.batches++;
      this.#firstBatchMs ||= performance.now();
    } else {
      this.#counts.dictionaries++;
    }
  }
}
