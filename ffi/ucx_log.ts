/**
 * What UCX logs, kept in memory instead of on the terminal: it explains failures that its status codes do not.
 *
 * UCX writes to the file that `UCX_LOG_FILE` names when libucs is loaded. It is given a file in memory of a fixed size, so
 * that a UCX that logs without end costs neither disk nor memory. Only what ends the process is still printed, by UCX
 * itself. A user who sets `UCX_LOG_FILE` gets the log there, one who sets only `UCX_LOG_LEVEL` on standard error.
 *
 * @module
 */
import { cString, libc } from "./libc.ts";
import { F_SETFD, FD_CLOEXEC } from "./libc_symbols.ts";

const LOG_BYTES = 64 * 1024;
/** `MFD_CLOEXEC | MFD_ALLOW_SEALING` of memfd_create. */
const MFD_CLOEXEC_SEALABLE = 3;
/** `F_ADD_SEALS` of fcntl, with `F_SEAL_SHRINK | F_SEAL_GROW`. */
const F_ADD_SEALS = 1033, SEAL_SIZE = 2 | 4;
const SEEK_SET = 0, SEEK_CUR = 1;
/** Descriptors among which UCX's own of the log is looked for. */
const DESCRIPTORS_SEARCHED = 1024;
/** Most lines that {@linkcode recentUcxMessages} returns. */
const MAX_MESSAGES = 3;

/** Descriptors of a log that UCX has opened. */
export interface UcxLog {
  /** Our descriptor, to read with. */
  readonly descriptor: number;
  /** UCX's descriptor, whose position is the length of the log. */
  readonly writer: number;
}

/** A log that UCX has opened. */
interface Log extends UcxLog {
  /** Up to where it was read. */
  readUpTo: number;
}

const logs: Log[] = [];
let count = 0;
/** Whether another isolate of the process has loaded the libraries. */
let isLoadedElsewhere = false;

function isSet(name: string): boolean {
  return libc().getenv(cString(name)) !== 0n;
}

/** What a descriptor refers to, as the system names it. */
function targetOf(descriptor: number): string {
  const target = new Uint8Array(128);
  const length = Number(libc().readlink(cString(`/proc/self/fd/${descriptor}`), target, BigInt(target.byteLength)));
  return new TextDecoder().decode(target.subarray(0, Math.max(0, length)));
}

/** The descriptor other than `own` that refers to the same file; −1 if there is none. */
function otherDescriptor(own: number): number {
  const target = targetOf(own);
  if (target === "") return -1;
  for (let descriptor = 0; descriptor < DESCRIPTORS_SEARCHED; descriptor++) {
    if (descriptor !== own && targetOf(descriptor) === target) return descriptor;
  }
  return -1;
}

/** The logs of the libraries that this isolate has loaded, for another one of the process: {@linkcode adoptUcxLogs}. */
export function ucxLogs(): UcxLog[] {
  return logs.map(({ descriptor, writer }) => ({ descriptor, writer }));
}

/**
 * Takes over the logs of the isolate that has loaded the libraries of UCX. This one then leaves the environment alone when it
 * opens them, too: other threads of the process may be reading it.
 *
 * @param adopted Of {@linkcode ucxLogs} there; they stay open there
 */
export function adoptUcxLogs(adopted: readonly UcxLog[]): void {
  isLoadedElsewhere = true;
  // What was logged before is not about this isolate.
  for (const log of adopted) logs.push({ ...log, readUpTo: Number(libc().lseek(log.writer, 0n, SEEK_CUR)) });
}

/**
 * Loads a library of UCX so that it logs into memory, unless the user has said where it should log.
 *
 * @param load Opens the library; must not be asynchronous
 * @returns what `load` returned
 */
export function withUcxLog<T>(load: () => T): T {
  if (isLoadedElsewhere || isSet("UCX_LOG_FILE")) return load();
  if (isSet("UCX_LOG_LEVEL")) return withVariables({ UCX_LOG_FILE: "stderr" }, load);
  const descriptor = libc().memfd_create(cString(`dipc-ucx-log-${++count}`), MFD_CLOEXEC_SEALABLE);
  if (descriptor < 0) return withVariables({ UCX_LOG_FILE: "stderr", UCX_LOG_LEVEL: "error" }, load);
  try {
    return withVariables({ UCX_LOG_FILE: `/proc/self/fd/${descriptor}`, UCX_LOG_LEVEL: "warn" }, load);
  } finally {
    // A library that was loaded before keeps its own log.
    if (!keepLog(descriptor)) libc().close(descriptor);
  }
}

/** Runs `load` with variables in the environment, which a child of this process does not inherit. */
function withVariables<T>(variables: Record<string, string>, load: () => T): T {
  const c = libc();
  for (const [name, value] of Object.entries(variables)) c.setenv(cString(name), cString(value), 1);
  try {
    return load();
  } finally {
    for (const name of Object.keys(variables)) c.unsetenv(cString(name));
  }
}

/** Fixes the size of a log that UCX has opened. @returns whether it has */
function keepLog(descriptor: number): boolean {
  const c = libc();
  const writer = otherDescriptor(descriptor);
  if (writer >= 0) c.fcntl(writer, F_SETFD, FD_CLOEXEC);
  if (writer < 0 || c.ftruncate(descriptor, BigInt(LOG_BYTES)) !== 0) return false;
  if (c.fcntl(descriptor, F_ADD_SEALS, SEAL_SIZE) !== 0) return false;
  logs.push({ descriptor, writer, readUpTo: 0 });
  return true;
}

/** What a log holds beyond what was read. */
function readOn(log: Log): string {
  const c = libc();
  const end = Number(c.lseek(log.writer, 0n, SEEK_CUR));
  // Another isolate that reads the same log has let UCX go on at the start.
  if (end < log.readUpTo) log.readUpTo = 0;
  if (end === log.readUpTo) return "";
  const bytes = new Uint8Array(end - log.readUpTo);
  const length = Number(c.pread(log.descriptor, bytes, BigInt(bytes.byteLength), BigInt(log.readUpTo)));
  log.readUpTo = end;
  // UCX goes on at the start: what was read is not needed again, and a full log takes nothing more.
  if (end > LOG_BYTES / 2 && c.lseek(log.writer, 0n, SEEK_SET) === 0n) log.readUpTo = 0;
  return new TextDecoder().decode(bytes.subarray(0, Math.max(0, length)));
}

/**
 * The last warnings and errors of UCX since the last call, without time and place, each once.
 *
 * @returns Such as `["shmat(shmid=1) failed: Permission denied"]`; empty if UCX logs elsewhere
 */
export function recentUcxMessages(): string[] {
  const lines = logs.map(readOn).join("").matchAll(/UCX\s+(?:WARN|ERROR)\s+(.*)/g);
  return [...new Set(Array.from(lines, (match) => match[1].trim()))].slice(-MAX_MESSAGES);
}
