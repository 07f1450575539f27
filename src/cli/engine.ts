/**
 * The option `--engine`: what decodes a Parquet file.
 *
 * @module
 */
import { PARQUET_ENGINES, type ParquetEngine } from "../sources/parquet/engine.ts";
import { choice, type ParsedArgs } from "./args.ts";

/** The engine that was given. @throws {UsageError} if there is no such engine */
export function engineOf(args: ParsedArgs): ParquetEngine | undefined {
  return choice(args, "engine", PARQUET_ENGINES);
}
