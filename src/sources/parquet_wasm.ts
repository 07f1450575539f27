/**
 * Loads parquet-wasm when it is first needed.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import { DipcError } from "../errors.ts";

let parquetWasm: Promise<typeof ParquetWasm> | null = null;

/**
 * The module parquet-wasm, loaded on first use.
 *
 * @throws {DipcError} `permission_denied`, `unsupported`
 */
export function loadParquetWasm(): Promise<typeof ParquetWasm> {
  return parquetWasm ??= import("parquet-wasm").catch((cause) => {
    parquetWasm = null;
    const text = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof Deno.errors.NotCapable ? "permission_denied" : "unsupported";
    throw new DipcError(
      code,
      `cannot load npm:parquet-wasm@0.8.0, which reads and writes Parquet: ${text}; it needs --allow-read, and network ` +
        `access where it is not cached yet (deno cache npm:parquet-wasm@0.8.0)`,
      { cause },
    );
  });
}
