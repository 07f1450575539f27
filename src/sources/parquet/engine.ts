/**
 * Which engine decodes a Parquet file: parquet-wasm, which is always there, or DuckDB, which is faster and may be installed. DuckDB's
 * side is given by whoever opens the file, because this part of the package does not know it.
 *
 * @module
 */
import { LocalError } from "../../errors.ts";
import type { VerifiedHeader } from "../../ipc/header.ts";
import { textOf } from "../../text.ts";
import type { DatasetEngine, MessageStream } from "../dataset.ts";
import type { ParquetInfo } from "./messages.ts";

/** The engines. `auto`: DuckDB if it is installed, gives the same as parquet-wasm for the file, and is worth its start. */
export const PARQUET_ENGINES = ["auto", "wasm", "duckdb"] as const;

/** Which engine reads or writes a file. */
export type ParquetEngine = (typeof PARQUET_ENGINES)[number];

/** A Parquet file, planned, for a native engine. */
export interface NativeFile {
  /** Path, for messages. */
  readonly path: string;
  /** Path by which this process can open what is open already, whatever is at `path` by now. */
  readonly source: string;
  /** The schema message that its batches must have. */
  readonly schema: VerifiedHeader;
  /** Why DuckDB would read it otherwise than parquet-wasm, as far as the footer says; else `null`. */
  readonly obstacle: string | null;
  /** Rows of each row group and of its batches. */
  readonly groups: ParquetInfo["groups"];
  /** @throws {DipcError} `io` if the file has changed */
  checkUnchanged(): void;
}

/** A file that a native engine can read. */
export interface NativeReader {
  /** Starts a run. */
  open(signal?: AbortSignal): MessageStream;
  /** Ends its runs and releases what it holds. Idempotent. */
  close(): Promise<void>;
}

/** A native engine. */
export interface NativeParquet {
  /** Why it cannot be used in this process without asking anybody for anything, `null` if it can. */
  findObstacle(): string | null;
  /**
   * Opens a file.
   *
   * @throws {DipcError} `unsupported` if it would give other types or values than parquet-wasm; what the engine reports
   */
  open(file: NativeFile): Promise<NativeReader>;
}

/** Loads the native engine. */
export type LoadNative = () => Promise<NativeParquet>;

/** Size of a file in bytes from which on DuckDB is worth its start. */
const WORTH_BYTES = 4 * 2 ** 20;

/** What was chosen. */
export interface EngineChoice {
  readonly engine: DatasetEngine;
  /** The native engine's reader if it was chosen. */
  readonly native: NativeReader | null;
}

/**
 * Chooses the engine of a file.
 *
 * @param wanted What the user chose
 * @param load The native engine, if there is one
 * @param file The file, and its size in bytes
 * @throws {DipcError} if `duckdb` was chosen and cannot read it
 */
export async function chooseEngine(
  wanted: ParquetEngine,
  load: LoadNative | undefined,
  file: NativeFile & { readonly size: number },
): Promise<EngineChoice> {
  if (wanted === "wasm") return byWasm("it was chosen");
  if (load === undefined) {
    if (wanted === "auto") return byWasm("DuckDB was not offered");
    throw new LocalError(
      "unsupported",
      `cannot read "${file.path}" by DuckDB: it was not offered; open it by openPath`,
    );
  }
  if (wanted === "duckdb") {
    return { engine: { name: "duckdb", reason: "it was chosen" }, native: await (await load()).open(file) };
  }
  if (file.size < WORTH_BYTES) return byWasm("the file is small");
  try {
    const engine = await load();
    const obstacle = engine.findObstacle();
    if (obstacle !== null) return byWasm(obstacle);
    return { engine: { name: "duckdb", reason: "it gives the same, faster" }, native: await engine.open(file) };
  } catch (error) {
    return byWasm(textOf(error));
  }
}

function byWasm(reason: string): EngineChoice {
  return { engine: { name: "wasm", reason }, native: null };
}
