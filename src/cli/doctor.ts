/**
 * `dipc doctor`: what was found, what is allowed, and whether data arrives.
 *
 * @module
 */
import { attemptLines, rankLibucp } from "../../ffi/find.ts";
import { printable } from "../text.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import { type CudaFacts, cudaFacts, cudaLines } from "./device_facts.ts";
import { EXIT_FAILURE, EXIT_OK } from "./exit_codes.ts";
import { type DuckDbFacts, duckDbFacts, duckDbLines } from "./duckdb_facts.ts";
import { asFailure, type FailureJson, failureLine } from "./failure.ts";
import { type LoopbackResult, loopbackTransfer } from "./loopback_transfer.ts";
import { type NetworkFacts, networkFacts, networkLines } from "./network_facts.ts";
import { formatBytes, formatRate, formatSeconds } from "./numbers.ts";
import { print, printError } from "./output.ts";
import { type SharingFacts, sharingFacts, sharingLines } from "./sharing_facts.ts";
import { type SystemFacts, systemFacts } from "./system_facts.ts";
import { version } from "./version.ts";

/** The library as `dipc doctor` reports it. */
interface LibraryJson {
  readonly path: string;
  readonly version: string;
  readonly origin: string;
  readonly notes: readonly string[];
}

/** The object that `dipc doctor --json` prints. */
interface DoctorJson extends SystemFacts {
  /** Whether data arrived. */
  readonly ok: boolean;
  /** Versions of dipc and Deno. */
  readonly version: string;
  readonly deno: string;
  /** The libucp in use, `null` if none could be loaded. */
  readonly library: LibraryJson | null;
  /** Candidates that were looked at and rejected. */
  readonly attempts: readonly { readonly path: string; readonly cause: string }[];
  /** The transfer inside this process, `null` if it failed. */
  readonly loopback: LoopbackResult | null;
  /** Whether bodies can be read in a server's memory, `null` if nothing can be transferred at all. */
  readonly sharing: SharingFacts | null;
  /** Interfaces, and which of them UCX uses. */
  readonly network: NetworkFacts;
  /** Driver, GPUs, and whether bodies in their memory are staged. */
  readonly cuda: CudaFacts;
  /** The libduckdb that duckdb: sources and queries use. */
  readonly duckdb: DuckDbFacts;
  readonly error?: FailureJson;
}

/** Runs `dipc doctor`. @returns exit status */
export async function runDoctor(args: ParsedArgs): Promise<number> {
  if (args.positional.length > 0) {
    throw new UsageError(`cannot run dipc doctor: it takes no argument, but was given "${args.positional[0]}"`);
  }
  const result = await examine();
  await print(args.flags.has("json") ? `${JSON.stringify(result)}\n` : doctorText(result));
  if (result.error !== undefined) await printError(failureLine(result.error));
  return result.ok ? EXIT_OK : EXIT_FAILURE;
}

async function examine(): Promise<DoctorJson> {
  // Before UCX is loaded, because dipc then adds its own settings to the environment.
  const facts = systemFacts();
  const { attempts } = rankLibucp();
  let library: LibraryJson | null = null;
  let loopback: LoopbackResult | null = null;
  let error: FailureJson | undefined;
  try {
    loopback = await loopbackTransfer();
  } catch (thrown) {
    const { code, message } = asFailure(thrown);
    error = { code, message };
  }
  try {
    // The transfer has loaded it, with dipc's settings; this only asks which one it was.
    const { findLibucp } = await import("../../ffi/find.ts");
    const { path, version, origin, notes } = findLibucp();
    library = { path, version, origin, notes };
  } catch (thrown) {
    const { code, message } = asFailure(thrown);
    error ??= { code, message };
  }
  // After the transfer: if UCX is broken, that must be read first.
  const cuda = await cudaFacts();
  return {
    ok: error === undefined,
    version,
    deno: Deno.version.deno,
    library,
    attempts,
    loopback,
    sharing: loopback === null ? null : await sharingFacts(),
    network: networkFacts(),
    cuda,
    duckdb: await duckDbFacts(),
    ...facts,
    ...(error === undefined ? {} : { error }),
  };
}

function doctorText(result: DoctorJson): string {
  const lines: string[] = [];
  const line = (label: string, text: string): void => void lines.push(`${label.padEnd(12)} ${printable(text)}`);
  const more = (text: string): void => line("", text);
  line("dipc", `${result.version}, deno ${result.deno}, ${result.platform}`);
  if (result.library === null) {
    line("libucp", "none could be loaded");
  } else {
    line("libucp", `${result.library.version} at ${result.library.path}`);
    result.library.notes.forEach(more);
  }
  if (result.library === null) attemptLines(result.attempts).forEach(more);
  const permissions = Object.entries(result.permissions);
  line("permissions", permissions.map(([name, state]) => `${name} ${state}`).join(", "));
  const settings = Object.entries(result.settings);
  line("settings", settings.length === 0 ? "no DIPC_* or UCX_* variable is set" : `${settings.length} set by you`);
  for (const [name, value] of settings) more(`${name}=${value}`);
  result.warnings.forEach((text, i) => line(i === 0 ? "warning" : "", text));
  line("hardware", result.hardware.join(", "));
  networkLines(result.network).forEach((text, i) => line(i === 0 ? "network" : "", text));
  if (result.loopback === null) {
    line("transfer", "failed");
  } else {
    const { bytes, seconds, bytesPerSecond, transports, transportsReason, connectSeconds } = result.loopback;
    line(
      "transfer",
      `${formatBytes(bytes)} inside this process in ${formatSeconds(seconds)}, ${formatRate(bytesPerSecond)} over ` +
        `${transports.join(", ") || "unknown transports"}; connected in ${formatSeconds(connectSeconds)}`,
    );
    if (transportsReason !== "") more(transportsReason);
  }
  if (result.sharing !== null) sharingLines(result.sharing).forEach((text, i) => line(i === 0 ? "sharing" : "", text));
  for (const [label, text] of cudaLines(result.cuda)) line(label, text);
  duckDbLines(result.duckdb).forEach((text, i) => line(i === 0 ? "duckdb" : "", text));
  lines.push("", result.ok ? "All is well." : "Something is broken:");
  return `${lines.join("\n")}\n`;
}
