/**
 * Writing to standard output and standard error: whole texts, and silently if the reader has gone (`dipc get … | head`).
 *
 * @module
 */
import { DipcError } from "../errors.ts";
import { textOf } from "../text.ts";

/** Thrown when standard output has no reader any more. The command then ends without a message. */
export class OutputClosed extends Error {
  /** Always `"OutputClosed"`. */
  override readonly name = "OutputClosed";
  /** Made when standard output has no reader. */
  constructor() {
    super("standard output was closed by its reader");
  }
}

/** The part of `Deno.stdout` and `Deno.stderr` that is used here. */
export interface Sink {
  /** Writes some of the bytes and returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Whether a person reads it. */
  isTerminal(): boolean;
}

const encoder = new TextEncoder();

/**
 * Writes all of `bytes`.
 *
 * @throws {OutputClosed} if the other end of the pipe is closed
 * @throws {DipcError} `io` if it cannot be written, such as to a full disk
 */
export async function writeAll(sink: Sink, bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.byteLength;) at += await sink.write(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed();
    const which = sink === Deno.stdout ? "standard output" : "standard error";
    throw new DipcError("io", `cannot write to ${which}: ${textOf(error)}; write it elsewhere`, { cause: error });
  }
}

/** Writes a text to standard output. @throws {OutputClosed} */
export function print(text: string): Promise<void> {
  return writeAll(Deno.stdout, encoder.encode(text));
}

/** Writes a text to standard error. That it is closed, or on a full disk, is ignored: a server goes on without its log. */
export async function printError(text: string): Promise<void> {
  await writeAll(Deno.stderr, encoder.encode(text)).catch(() => {});
}

/** Rows of a table that are shown unless more are requested. */
export const SHOWN_ROWS = 10;

/** Columns of the terminal on standard output, or `otherwise` if it is not a terminal. */
export function terminalColumns(otherwise: number): number {
  try {
    // A terminal without a size, such as that of a container or an editor, reports 0.
    return Deno.stdout.isTerminal() ? Deno.consoleSize().columns || otherwise : otherwise;
  } catch {
    return otherwise;
  }
}
