/**
 * The output formats: one row for each. Writers load when they are first needed.
 *
 * @module
 */
import type { MessageHeader } from "../ipc/message.ts";
import type { ByteSink } from "./sink.ts";
import type { MessageWriter, WriterOptions } from "./writer.ts";

/** One output format. */
export interface OutputFormat {
  /** Name for `--format`. */
  readonly name: string;
  /** What the name stands for; `null` if that is obvious. */
  readonly meaning: string | null;
  /** File extensions in lower case, the usual one first. */
  readonly extensions: readonly string[];
  /** Whether a terminal can show it. */
  readonly isText: boolean;
  /**
   * Loads what the writer needs, before data is fetched for it.
   *
   * @throws {DipcError} `permission_denied`, `unsupported` if it cannot be loaded
   */
  load?(): Promise<unknown>;
  /**
   * Makes a writer.
   *
   * @param schema Header of the schema message
   * @param sink Receives the bytes; finished or aborted with the writer
   * @param options For formats that have a use for them
   * @throws {DipcError} `unsupported` if the format cannot hold the schema
   */
  open(schema: MessageHeader, sink: ByteSink, options?: WriterOptions): Promise<MessageWriter>;
}

/** Every output format; the first one is that of standard output. */
export const OUTPUT_FORMATS: readonly OutputFormat[] = [
  {
    name: "arrows",
    meaning: "Arrow stream",
    extensions: ["arrows", "stream"],
    isText: false,
    open: async (schema, sink) => new (await import("./arrow_stream_writer.ts")).ArrowStreamWriter(schema, sink),
  },
  {
    name: "arrow",
    meaning: "Arrow file",
    extensions: ["arrow", "arrow_file", "feather", "ipc"],
    isText: false,
    open: async (schema, sink, options) =>
      new (await import("./arrow_file_writer.ts")).ArrowFileWriter(schema, sink, options),
  },
  {
    name: "parquet",
    meaning: null,
    extensions: ["parquet"],
    isText: false,
    load: async () => {
      // Evaluated while the source is opened; a failure comes with the writer.
      import("./parquet_writer.ts").catch(() => {});
      await (await import("./parquet/footer.ts")).loadFooterReader();
    },
    open: async (schema, sink, options) =>
      options?.isByDuckDb
        ? await (await import("./parquet/by_duckdb.ts")).parquetByDuckDb(schema, sink)
        : await (await import("./parquet_writer.ts")).ParquetWriter.create(schema, sink),
  },
  {
    name: "csv",
    meaning: null,
    extensions: ["csv"],
    isText: true,
    open: async (schema, sink) => new (await import("./csv_writer.ts")).CsvWriter(schema, sink),
  },
  {
    name: "ndjson",
    meaning: null,
    extensions: ["ndjson", "jsonl"],
    isText: true,
    open: async (schema, sink) => new (await import("./ndjson_writer.ts")).NdjsonWriter(schema, sink),
  },
];
