/**
 * `--trace FILE`: what a command does, as a file for Perfetto.
 *
 * @module
 */
import { writeError } from "../formats/atomic_file.ts";
import { requirePermissions } from "../permissions.ts";
import { ChromeTrace } from "../telemetry/chrome_trace.ts";
import { setTelemetry, startSpan } from "../telemetry/telemetry.ts";
import { textOf } from "../text.ts";
import { printError } from "./output.ts";
import { warningLine } from "./warnings.ts";

/** Characters that are written at once; fewer wait for more at most for so many milliseconds, in case the process is killed. */
const CHUNK = 64 * 1024, WAIT_MS = 200;

/**
 * Runs a command, and writes what it does into a file. If that fails half-way, the trace ends there with a line on standard error,
 * and the command goes on.
 *
 * @param path Path of the file; one that is there is replaced
 * @param name What the command is called
 * @param run The command
 * @throws {DipcError} `permission_denied`, `not_found`, `io` if the file cannot be made; what `run` throws
 */
export async function runTraced(path: string, name: string, run: () => Promise<number>): Promise<number> {
  requirePermissions(`write the trace "${path}"`, [{ descriptor: { name: "write", path } }]);
  const file = new TraceFile(path);
  const trace = new ChromeTrace((text) => file.write(text), name);
  setTelemetry(trace);
  const root = startSpan({ name, kind: "internal", attributes: {} })!;
  try {
    return await root.run(run);
  } finally {
    root.end();
    setTelemetry(null);
    trace.close();
    await file.close();
  }
}

class TraceFile {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #text = "";
  #timer: number | undefined;
  #failure: unknown = null;

  constructor(path: string) {
    this.#path = path;
    try {
      this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (error) {
      throw writeError(path, error);
    }
  }

  write(text: string): void {
    this.#text += text;
    if (this.#text.length >= CHUNK) return this.#flush();
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#flush(), WAIT_MS) as unknown as number;
    Deno.unrefTimer(this.#timer);
  }

  async close(): Promise<void> {
    this.#flush();
    this.#file.close();
    if (this.#failure === null) return;
    await printError(warningLine(`cannot write the trace "${this.#path}": ${textOf(this.#failure)}; it ends early`));
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const bytes = new TextEncoder().encode(this.#text);
    this.#text = "";
    if (this.#failure !== null) return;
    try {
      for (let at = 0; at < bytes.byteLength;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (error) {
      this.#failure = error;
    }
  }
}
