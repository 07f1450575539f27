/**
 * Loads parquet-wasm when it is first needed.
 *
 * @module
 */
import type * as ParquetWasm from "parquet-wasm";
import { LocalError } from "../errors.ts";
import { textOf } from "../text.ts";

let parquetWasm: Promise<typeof ParquetWasm> | null = null;

/**
 * The module parquet-wasm, loaded on first use.
 *
 * @throws {DipcError} `permission_denied`, `unsupported`
 */
export function loadParquetWasm(): Promise<typeof ParquetWasm> {
  return parquetWasm ??= import("parquet-wasm").catch((cause) => {
    parquetWasm = null;
    const text = textOf(cause);
    const what = "load npm:parquet-wasm@0.8.0, which reads Parquet";
    if (cause instanceof Deno.errors.NotCapable) {
      // Deno names the file that was imported; the program needs the folder of all packages.
      const folder = /"([^"]*\/npm)\/[^"]*"/.exec(text)?.[1];
      const flag = folder === undefined ? "--allow-read" : `--allow-read=${folder}`;
      throw new LocalError(
        "permission_denied",
        `cannot ${what}: Deno may not read its own folder of npm packages; run again with ${flag}`,
        { cause },
      );
    }
    throw new LocalError(
      "unsupported",
      `cannot ${what}: ${text}; unless it is cached (deno cache npm:parquet-wasm@0.8.0), it needs network access`,
      { cause },
    );
  });
}
